"""Ticks of the one sensor, over real files and real commits."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from dativo_assets.assets import build_definitions

JOB = """
    group: shop
    source: {reader: csv, files: ["data/NAME/*.csv"], incremental: {strategy: file_modified_time}}
    target: {writer: parquet, path: warehouse/NAME}
    trigger: {files: {poll: 5s}}
"""


class Shop:
    """A project whose jobs watch folders. A tick has a process of its own, as it were: definitions are loaded anew."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        self.root, self.instance = root, instance

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def job(self, name: str, rows: str | None = "1\n") -> None:
        self.write(f"jobs/{name}.yaml", JOB.replace("NAME", name))
        if rows is not None:
            self.write(f"data/{name}/a.csv", f"n\n{rows}")

    def tick(self, cursor: str | None = None) -> dg.SensorResult:
        definitions = build_definitions(self.root)
        sensor = next(item for item in definitions.sensors or () if item.name == "dativo_triggers")
        assert isinstance(sensor, dg.SensorDefinition)
        with dg.build_sensor_context(instance=self.instance, cursor=cursor, definitions=definitions) as context:
            found = sensor(context)
        assert isinstance(found, dg.SensorResult)
        return found

    def run(self, name: str) -> None:
        assets = [item for item in build_definitions(self.root).assets or () if isinstance(item, dg.AssetsDefinition)]
        assert dg.materialize(assets, instance=self.instance, selection=[dg.AssetKey(["shop", name])]).success


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Shop(tmp_path, instance)


def test_new_files_ask_for_a_run_until_they_are_committed(shop: Shop) -> None:
    shop.job("orders")
    first = shop.tick()
    (request,) = first.run_requests
    assert request.asset_selection == [dg.AssetKey(["shop", "orders"])]
    assert request.run_key.startswith("orders:")
    assert [event.asset_key.path for event in first.asset_events] == [["source", "csv", "data", "orders"]]
    assert shop.tick().run_requests[0].run_key == request.run_key

    shop.run("orders")
    quiet = shop.tick()
    assert quiet.run_requests == []
    assert "1 watched" in quiet.skip_reason.skip_message

    shop.write("data/orders/b.csv", "n\n2\n")
    (later,) = shop.tick().run_requests
    assert later.run_key != request.run_key


def test_a_failing_probe_harms_only_its_job_and_says_why(shop: Shop) -> None:
    shop.job("orders")
    shop.job("gone", rows=None)
    text = (shop.root / "jobs/gone.yaml").read_text()
    shop.write("jobs/gone.yaml", text.replace("data/gone/*.csv", "data/gone/x.csv"))
    assert [request.run_key.split(":")[0] for request in shop.tick().run_requests] == ["orders"]
    shop.run("orders")
    assert "gone: the probe failed: file data/gone/x.csv does not exist" in shop.tick().skip_reason.skip_message


def test_a_probe_of_a_readers_own(shop: Shop) -> None:
    shop.write(
        "api.py",
        """
        from dativo_plugin_sdk import BaseReader
        class Api(BaseReader):
            def extract(self, state_manager=None):
                yield [{"n": 1}]
            def probe(self, cursor):
                return "version-7" * 100
        """,
    )
    shop.write(
        "jobs/api.yaml",
        "source: {reader: api.py:Api}\ntarget: {writer: parquet, path: w}\ntrigger: {probe: {poll: 5s}}\n",
    )
    (request,) = shop.tick().run_requests
    assert request.tags["dativo/trigger"] == "probe"
    assert len(request.run_key) < 160


def test_a_disabled_job_is_not_watched(shop: Shop) -> None:
    shop.job("orders")
    shop.job("off")
    shop.write("jobs/off.yaml", (shop.root / "jobs/off.yaml").read_text() + "enabled: false\n")
    assert len(shop.tick().run_requests) == 1


def test_a_secret_in_a_failing_probe_is_masked(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDING", "hidden-folder-name")
    shop.job("orders")
    text = (shop.root / "jobs/orders.yaml").read_text()
    shop.write("jobs/orders.yaml", text.replace("data/orders/*.csv", "${LANDING}/x.csv"))
    said = shop.tick().skip_reason.skip_message
    assert "probe failed" in said
    assert "hidden-folder-name" not in said
