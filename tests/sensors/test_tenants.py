"""Tenants that are partitions: the sensor finds them in the source, and starts a run of each whose rows changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dativo_plugin_sdk import Split

from dativo_assets.assets import build_definitions
from dativo_assets.config import load_project
from dativo_assets.pipeline import partition_values, run
from dativo_assets.plan import bind

from .test_new_files import Shop, asked

FILES = """
    source: {reader: csv, files: ["in/*.csv"]}
    target: {writer: parquet, path: out}
    partitions: {dynamic: {column: tenant}}
    trigger: {files: {poll: 5s}}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with dg.DagsterInstance.ephemeral() as instance:
        found = Shop(tmp_path, instance)
        found.write("jobs/sales.yaml", FILES)
        yield found


def offer(shop: Shop, file: str, *rows: str) -> None:
    shop.write(f"in/{file}.csv", "\n".join(("id,tenant", *rows, "")))


def lines(result: dg.SensorResult) -> str:
    return str(result.skip_reason and result.skip_reason.skip_message)


def test_each_tenant_is_a_partition_and_one_whose_files_changed_is_loaded_again(shop: Shop) -> None:
    offer(shop, "a", "1,acme", "2,globex", "3,")
    offer(shop, "b", "4,007")
    first = shop.tick()
    assert asked(first) == ["007", "acme", "globex"]
    assert shop.partitions == {"007", "acme", "globex"}
    assert all(shop.run(request) for request in first.run_requests or ())
    assert shop.rows() == [(1, "acme"), (2, "globex"), (4, "007")]
    assert asked(shop.tick()) == []
    offer(shop, "b", "5,007", "6,initech")
    second = shop.tick()
    assert asked(second) == ["007", "initech"], "no file of the others has changed"
    assert all(shop.run(request) for request in second.run_requests or ())
    assert [row[0] for row in shop.rows()] == [1, 2, 5, 6]
    assert asked(shop.tick()) == []


def test_only_files_that_changed_are_read_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    values = partition_values._values

    def spied(reader: Any, split: Split, *given: Any) -> Any:
        read.append(Path(split.payload["file"]).stem)
        return values(reader, split, *given)

    monkeypatch.setattr(partition_values, "_values", spied)
    shop.write("jobs/sales.yaml", FILES.replace("poll: 5s", "poll: 0s"))
    offer(shop, "a", "1,acme")
    offer(shop, "b", "2,acme")
    definitions = build_definitions(shop.root)
    (found,) = definitions.sensors or ()
    assert isinstance(found, dg.SensorDefinition)
    for _ in range(2):
        with dg.build_sensor_context(instance=shop.instance, definitions=definitions) as context:
            assert isinstance(found(context), dg.SensorResult)
        offer(shop, "b", "2,acme", "3,globex")
    assert read == ["a", "b", "b"]


def test_tenants_of_a_query_are_loaded_again_when_their_rows_change(shop: Shop) -> None:
    shop.write(
        "jobs/sales.yaml",
        """
        source: {reader: sql, query: "SELECT id + 0 AS id, tenant FROM orders"}
        target: {writer: parquet, path: out}
        partitions: {dynamic: {column: tenant}}
        trigger: {probe: {poll: 5s}}
        """,
    )
    orders = "source: {reader: csv, files: in/*.csv}\ntarget: {writer: parquet, path: orders, mode: overwrite}\n"
    shop.write("jobs/orders.yaml", orders)
    load(shop, "orders", "1,acme", "2,globex", "3,")
    first = shop.tick()
    assert asked(first) == ["acme", "globex"] and shop.partitions == {"acme", "globex"}
    assert all(shop.run(request) for request in first.run_requests or ())
    load(shop, "orders", "1,acme", "20,globex")
    second = shop.tick()
    assert asked(second) == ["globex"], "the table has a new version, and the rows of acme are as they were"
    assert all(shop.run(request) for request in second.run_requests or ())
    assert shop.rows() == [(1, "acme"), (20, "globex")]


def load(shop: Shop, job: str, *rows: str) -> None:
    offer(shop, "a", *rows)
    project = load_project(shop.root)
    assert run(bind(project.jobs[job], project)).error is None


READER = """
from pathlib import Path
from dativo_plugin_sdk import BaseReader

class Api(BaseReader):
    def extract(self, state_manager=None):
        yield [{"id": 1, "tenant": "acme"}, {"id": 2, "tenant": "globex"}]

    def probe(self, cursor):
        return Path(self.source_config.root, "version").read_text()

    def partition_values(self, column):
        return {"acme": "1", "globex": self.probe(None)} if column == "tenant" else None
"""


@pytest.mark.parametrize("isolation", ["", ", isolation: process"])
def test_a_reader_may_tell_its_tenants_itself(shop: Shop, isolation: str) -> None:
    shop.write("api.py", READER)
    source = f"{{reader: api.py:Api{isolation}}}"
    shop.write(
        "jobs/sales.yaml", FILES.replace('{reader: csv, files: ["in/*.csv"]}', source).replace("files:", "probe:")
    )
    shop.write("version", "1")
    first = shop.tick()
    assert asked(first) == ["acme", "globex"]
    assert all(shop.run(request) for request in first.run_requests or ())
    shop.write("version", "2")
    assert asked(shop.tick()) == ["globex"]


@pytest.mark.parametrize(
    "change",
    [
        ("writer: parquet", "writer: jsonl"),  # which replaces no partitions
        ('["in/*.csv"]}', '["in/*.csv"], incremental: {strategy: append, cursor_field: id}}'),
    ],
)
def test_a_job_that_can_not_be_loaded_by_tenant_is_started_whole_and_its_tenants_are_known(
    shop: Shop, change: tuple[str, str]
) -> None:
    shop.write("jobs/sales.yaml", FILES.replace(*change))
    offer(shop, "a", "1,acme")
    assert asked(shop.tick()) == ["None"]
    assert shop.partitions == {"acme"}


def test_tenants_are_known_where_nothing_starts_the_job_and_of_keys_of_two_parts(shop: Shop) -> None:
    offer(shop, "a", "1,acme")
    shop.write("jobs/sales.yaml", FILES.replace("trigger: {files: {poll: 5s}}", ""))
    assert asked(shop.tick()) == [] and shop.partitions == {"acme"}
    multi = "partitions: {multi: {day: {static: {values: [mon], column: day}}, who: {dynamic: {column: tenant}}}}"
    shop.write("jobs/sales.yaml", FILES.replace("partitions: {dynamic: {column: tenant}}", multi))
    offer(shop, "a", "1,acme", "2,a|b")
    assert asked(shop.tick()) == ["None"]
    assert shop.instance.get_dynamic_partitions("sales:who") == ["acme"], "a bar stands between the parts of a key"
    (asset,) = [item for item in build_definitions(shop.root).assets or () if isinstance(item, dg.AssetsDefinition)]
    assert asset.partitions_def is not None
    assert asset.partitions_def.get_partition_keys(dynamic_partitions_store=shop.instance) == ["mon|acme"]


def test_tenants_that_are_loaded_take_no_room_in_the_cursor_and_new_ones_are_told_first(shop: Shop) -> None:
    offer(shop, "a", *(f"{number},t{number:02}" for number in range(25)))
    job = build_definitions(shop.root).resolve_implicit_global_asset_job_def()
    for request in shop.tick().run_requests or ():
        made = shop.instance.create_run_for_job(job, tags=request.tags)
        shop.instance.report_run_canceled(made)
    offer(shop, "b", "26,zoo")
    result = shop.tick()
    assert asked(result) == ["zoo"] and json.loads(str(result.cursor))["waiting"] == {}
    offer(shop, "b", "26,zoo", "27,zoo")
    shop.write("jobs/sales.yaml", FILES.replace("poll: 5s", "poll: 5s, debounce: 1h"))
    assert lines(shop.tick()).split(". ")[1].startswith("sales:zoo: new")


def test_tenants_are_not_looked_for_where_the_job_says_so(shop: Shop) -> None:
    shop.write("jobs/sales.yaml", FILES.replace("column: tenant", "column: tenant, find: false"))
    offer(shop, "a", "1,acme")
    assert asked(shop.tick()) == ["None"] and shop.partitions == set()


def test_a_column_of_too_many_values_or_of_none_is_told(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_values, "MOST_VALUES", 2)
    offer(shop, "a", "1,a", "2,b", "3,c")
    assert "too many for partitions" in lines(shop.tick())
    offer(shop, "a", "1,a", "2,b")
    assert asked(shop.tick()) == ["a", "b"]
    shop.write("jobs/sales.yaml", FILES.replace("tenant", "nobody"))
    assert "nobody" in lines(shop.tick())
    (shop.root / "in/a.csv").unlink()
    assert "without anything new" in lines(shop.tick())


def test_jobs_of_one_name_have_partitions_of_their_own(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        for folder, group in (("one", ""), ("two", "group: eu")):
            shop = Shop(tmp_path / folder, instance)
            shop.write("jobs/sales.yaml", FILES + f"    {group}\n")
            offer(shop, "a", f"1,{folder}")
            shop.tick()
        assert instance.get_dynamic_partitions("sales") == ["one"]
        assert instance.get_dynamic_partitions("eu/sales") == ["two"]
