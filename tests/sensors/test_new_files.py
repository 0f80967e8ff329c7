"""Files that are partitions: the sensor makes them known to Dagster and starts a run of each, once."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.dataset as ds
import pytest
from dagster import AssetKey

from dativo_assets.assets import build_definitions
from dativo_assets.sensors import sensor

JOB = """
    source: {reader: csv, files: ["in/*.csv"]}
    target: {writer: parquet, path: out}
    schema: [{name: id, type: int64}, {name: file, type: string}]
    partitions: {files: {column: file}}
    retry: {max_attempts: 1}
    trigger: {files: {poll: 5s}}
"""
SALES = AssetKey("sales")


class Shop:
    """A project with one job. A tick has a process of its own, as it were."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        self.root, self.instance = root, instance
        self.write("jobs/sales.yaml", JOB)

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def file(self, name: str, ids: str = "1") -> None:
        self.write(f"in/{name}.csv", f"id\n{ids}\n")

    def tick(self, cursor: str | None = None) -> dg.SensorResult:
        """As the daemon does it: partitions are added before runs are made."""
        definitions = build_definitions(self.root)
        (found,) = definitions.sensors or ()
        assert isinstance(found, dg.SensorDefinition)
        with dg.build_sensor_context(instance=self.instance, cursor=cursor, definitions=definitions) as context:
            result = found(context)
        assert isinstance(result, dg.SensorResult)
        for request in result.dynamic_partitions_requests or ():
            self.instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
        return result

    def run(self, request: dg.RunRequest) -> bool:
        assets = [item for item in build_definitions(self.root).assets or () if isinstance(item, dg.AssetsDefinition)]
        return dg.materialize(
            assets,
            selection=[SALES],
            instance=self.instance,
            partition_key=request.partition_key,
            tags={**request.tags, "dagster/run_key": str(request.run_key)},
            raise_on_error=False,
        ).success

    @property
    def partitions(self) -> set[str]:
        return set(self.instance.get_dynamic_partitions("sales"))

    @property
    def materialized(self) -> set[str]:
        return self.instance.get_materialized_partitions(SALES)

    def rows(self) -> list[tuple[Any, ...]]:
        files = [str(path) for path in (self.root / "out").resolve().rglob("*.parquet")]
        return sorted(tuple(row.values()) for row in ds.dataset(files, format="parquet").to_table().to_pylist())


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Shop(tmp_path, instance)


def asked(result: dg.SensorResult) -> list[str | None]:
    return sorted(str(request.partition_key) for request in result.run_requests or ())


def test_each_new_file_is_a_partition_with_a_run_of_its_own(shop: Shop) -> None:
    shop.file("a")
    shop.file("b", "2\n3")
    first = shop.tick()
    assert asked(first) == ["in/a.csv", "in/b.csv"]
    assert shop.partitions == {"in/a.csv", "in/b.csv"}
    assert all(shop.run(request) for request in first.run_requests or ())
    assert shop.materialized == shop.partitions
    assert shop.rows() == [(1, "in/a.csv"), (2, "in/b.csv"), (3, "in/b.csv")]
    landed = shop.instance.get_latest_materialization_event(SALES)
    assert landed is not None and landed.asset_materialization is not None
    lineage = landed.asset_materialization.metadata["dagster/column_lineage"].value
    assert set(lineage.deps_by_column) == {"id"}, "the run adds the file itself"
    assert asked(shop.tick()) == []
    shop.file("a", "10\n11")
    shop.file("c", "4")
    second = shop.tick()
    assert asked(second) == ["in/a.csv", "in/c.csv"]
    assert [list(request.partition_keys) for request in second.dynamic_partitions_requests or ()] == [["in/c.csv"]]
    assert all(shop.run(request) for request in second.run_requests or ())
    assert [row[0] for row in shop.rows()] == [2, 3, 4, 10, 11]


def test_a_file_that_fails_holds_up_no_other_and_is_tried_again_later(shop: Shop) -> None:
    shop.file("bad", "no number")
    shop.file("good")
    first = shop.tick()
    outcomes = {request.partition_key: shop.run(request) for request in first.run_requests or ()}
    assert outcomes == {"in/bad.csv": False, "in/good.csv": True}
    shop.file("late", "2")
    again = shop.tick(first.cursor)
    assert asked(again) == ["in/late.csv"]
    shop.file("bad", "7")
    assert asked(shop.tick(again.cursor)) == ["in/bad.csv", "in/late.csv"]


def test_a_run_on_its_way_is_not_asked_for_again(shop: Shop) -> None:
    shop.file("a")
    (request,) = shop.tick().run_requests or ()
    job = build_definitions(shop.root).resolve_implicit_global_asset_job_def()
    shop.instance.create_run_for_job(job, tags={**request.tags, "dagster/run_key": str(request.run_key)})
    result = shop.tick()
    assert asked(result) == []
    assert result.skip_reason is not None and "sales:in/a.csv: run" in str(result.skip_reason.skip_message)


def test_a_flood_of_files_is_spread_over_ticks(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensor, "_MAX_PARTITIONS", 2)
    for name in "abcde":
        shop.file(name)
    begun: list[str | None] = []
    cursor = None
    job = build_definitions(shop.root).resolve_implicit_global_asset_job_def()
    for _ in range(3):
        result = shop.tick(cursor)
        cursor = result.cursor
        for request in result.run_requests or ():
            shop.instance.create_run_for_job(job, tags={**request.tags})
            begun.append(request.partition_key)
    assert sorted(map(str, begun)) == [f"in/{name}.csv" for name in "abcde"]
    assert len(shop.partitions) == 5


def test_a_file_waits_out_its_own_debounce(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.write("jobs/sales.yaml", JOB.replace("poll: 5s", "poll: 5s, debounce: 1m"))
    now = sensor.time.time()
    shop.file("a")
    first = shop.tick()
    assert asked(first) == [] and shop.partitions == {"in/a.csv"}
    monkeypatch.setattr(sensor.time, "time", lambda: now + 50)
    shop.file("b")
    second = shop.tick(first.cursor)
    monkeypatch.setattr(sensor.time, "time", lambda: now + 70)
    assert asked(shop.tick(second.cursor)) == ["in/a.csv"]


def test_files_are_partitions_to_choose_even_where_nothing_starts_the_job(shop: Shop) -> None:
    shop.write("jobs/sales.yaml", JOB.replace("trigger: {files: {poll: 5s}}", ""))
    shop.file("a")
    result = shop.tick()
    assert asked(result) == [] and shop.partitions == {"in/a.csv"}
    assert "has no trigger" in str(result.skip_reason and result.skip_reason.skip_message)


def test_what_dativo_run_has_loaded_is_a_partition_too(shop: Shop) -> None:
    shop.file("a")
    (request,) = shop.tick().run_requests or ()
    assert shop.run(request)
    shop.instance.delete_dynamic_partition("sales", "in/a.csv")  # as if Dagster had never heard of it
    assert asked(shop.tick()) == [] and shop.partitions == {"in/a.csv"}


def test_a_name_that_dagster_takes_for_no_partition_is_told_and_harms_no_other(shop: Shop) -> None:
    shop.file("a...b")
    shop.file("c")
    result = shop.tick()
    assert asked(result) == ["in/c.csv"] and shop.partitions == {"in/c.csv"}
