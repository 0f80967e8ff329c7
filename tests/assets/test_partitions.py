"""Partitions in Dagster: a key, a range, a backfill; each replaces exactly its own rows."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
import pyarrow.dataset as ds
import pytest
from dagster import AssetKey
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import InProcessTestWorkspaceLoadTarget, instance_for_test
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._daemon.backfill import execute_backfill_iteration

from dativo_assets.assets import build_definitions

EVENTS = """
    source: {reader: csv, files: events.csv}
    target: {writer: parquet, path: warehouse/events, mode: append}
    schema:
      - {name: id, type: int64}
      - {name: at, type: "timestamp[us]"}
    partitions: PARTITIONS
    retry: {max_attempts: 1}
"""
DAILY = "{daily: {start: 2024-01-01, end: 2024-01-06, column: at}}"
IN_THIS_PROCESS = {
    "run_launcher": {
        "module": "dagster._core.launcher.sync_in_memory_run_launcher",
        "class": "SyncInMemoryRunLauncher",
    },
    "run_coordinator": {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"},
}
ROWS = "id,at\n1,2024-01-01T10:00:00\n2,2024-01-02T10:00:00\n3,2024-01-03T10:00:00\n"


@pytest.fixture
def events(bench: Any) -> Any:
    bench.write("jobs/events.yaml", EVENTS.replace("PARTITIONS", DAILY))
    bench.write("events.csv", ROWS)
    return bench


def ids(bench: Any, table: str = "events") -> list[int]:
    files = [str(path) for path in (bench.root / f"warehouse/{table}").resolve().rglob("*.parquet")]
    return sorted(ds.dataset(files, format="parquet").to_table(columns=["id"]).column("id").to_pylist())


def span(first: str, last: str) -> dict[str, str]:
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


def test_a_partition_and_a_range_are_loaded_alone_and_each_key_is_materialized(events: Any) -> None:
    run = events.run("events", partition="2024-01-02")
    assert run.ok and ids(events) == [2]
    metadata = run.metadata("events")
    assert (metadata["partitions"], metadata["dagster/partition_row_count"]) == ("2024-01-02", 1)
    events.write("events.csv", ROWS.replace("2,", "20,"))
    assert events.run("events", tags=span("2024-01-01", "2024-01-02")).ok
    assert ids(events) == [1, 20]
    assert events.instance.get_materialized_partitions(AssetKey("events")) == {"2024-01-01", "2024-01-02"}


def test_a_run_without_partitions_loads_the_whole_table(events: Any) -> None:
    assert events.run("events").ok
    assert ids(events) == [1, 2, 3]


def test_all_streams_of_a_job_are_divided_alike(events: Any) -> None:
    events.write("more.csv", ROWS)
    source = "{reader: csv, files: [{path: events.csv, object: a}, {path: more.csv, object: b}]}"
    text = EVENTS.replace("PARTITIONS", DAILY).replace("{reader: csv, files: events.csv}", source)
    events.write("jobs/events.yaml", text)
    assert events.run(partition="2024-01-03").ok
    assert (ids(events, "events/a"), ids(events, "events/b")) == ([3], [3])


def test_tenants_are_added_as_they_come(bench: Any) -> None:
    bench.write(
        "jobs/orders.yaml",
        """
        source: {reader: csv, files: orders.csv}
        target: {writer: parquet, path: warehouse/orders, mode: append}
        partitions: {dynamic: {column: tenant}}
        """,
    )
    bench.write("orders.csv", "id,tenant\n1,acme\n2,globex\n")
    bench.instance.add_dynamic_partitions("orders", ["acme"])
    assert bench.run("orders", partition="acme").ok
    assert ids(bench, "orders") == [1]


def test_keys_of_two_parts_are_one_partition(bench: Any) -> None:
    bench.write(
        "jobs/orders.yaml",
        """
        source: {reader: csv, files: orders.csv}
        target: {writer: parquet, path: warehouse/orders, mode: append}
        schema: [{name: id, type: int64}, {name: day, type: date}, {name: region, type: string}]
        partitions:
          multi:
            day: {daily: {start: 2024-01-01, end: 2024-01-03, column: day}}
            region: {static: {values: [eu, us], column: region}}
        """,
    )
    bench.write("orders.csv", "id,day,region\n1,2024-01-01,eu\n2,2024-01-01,us\n3,2024-01-02,eu\n")
    assert bench.run("orders", partition=dg.MultiPartitionKey({"day": "2024-01-01", "region": "us"})).ok
    assert ids(bench, "orders") == [2]


def test_the_backfill_daemon_goes_on_after_a_run_that_failed(events: Any, tmp_path: Any) -> None:
    events.write("jobs/events.yaml", EVENTS.replace("PARTITIONS", f"{DAILY[:-1]}, per_run: 1}}"))
    events.write("events.csv", ROWS.replace("2,2024", "no number,2024"))
    keys = ["2024-01-01", "2024-01-02"]
    with daemon_of(events, tmp_path) as workspace:
        instance = workspace.instance
        assert backfilled(workspace, "first", keys) == BulkActionStatus.COMPLETED_FAILED
        assert instance.get_materialized_partitions(AssetKey("events")) == {"2024-01-01"}
        assert ids(events) == [1]
        events.write("events.csv", ROWS)
        assert backfilled(workspace, "second", keys[1:]) == BulkActionStatus.COMPLETED_SUCCESS
        assert instance.get_materialized_partitions(AssetKey("events")) == set(keys)
        assert len(instance.get_runs()) == 3
    assert ids(events) == [1, 2]


def test_files_of_a_backfill_have_a_run_each(bench: Any, tmp_path: Any) -> None:
    bench.write(
        "jobs/sales.yaml",
        """
        source: {reader: csv, files: in/*.csv}
        target: {writer: parquet, path: warehouse/sales}
        partitions: {files: {column: file}}
        """,
    )
    keys = ["in/a.csv", "in/b.csv"]
    for number, key in enumerate(keys):
        bench.write(key, f"id\n{number}\n")
    with daemon_of(bench, tmp_path) as workspace:
        workspace.instance.add_dynamic_partitions("sales", keys)
        assert backfilled(workspace, "all", keys, "sales") == BulkActionStatus.COMPLETED_SUCCESS
        assert workspace.instance.get_materialized_partitions(AssetKey("sales")) == set(keys)
        assert len(workspace.instance.get_runs()) == 2
    assert ids(bench, "sales") == [0, 1]


@contextmanager
def daemon_of(bench: Any, home: Any) -> Iterator[WorkspaceProcessContext]:
    """What the backfill daemon sees of a project."""
    code = f"from dativo_assets.assets import build_definitions\ndefs = build_definitions({str(bench.root)!r})\n"
    target = LoadableTargetOrigin(python_file=str(bench.write("location.py", code)), attribute="defs")
    in_process = InProcessTestWorkspaceLoadTarget(InProcessCodeLocationOrigin(target))
    with (
        instance_for_test(IN_THIS_PROCESS, temp_dir=str(home)) as instance,
        WorkspaceProcessContext(instance, in_process) as workspace,
    ):
        yield workspace


def backfilled(
    workspace: WorkspaceProcessContext, name: str, keys: list[str], asset: str = "events"
) -> BulkActionStatus:
    """What becomes of a backfill of these partitions, its runs in this process."""
    graph, instance = workspace.create_request_context().asset_graph, workspace.instance
    asked = PartitionBackfill.from_asset_partitions(
        name, graph, keys, [AssetKey(asset)], time.time(), {}, instance, False, None, None, None
    )
    instance.add_backfill(asked)
    for _ in range(20):
        assert not [*filter(None, execute_backfill_iteration(workspace, logging.getLogger("backfill")))]
        found = instance.get_backfill(name)
        if found is not None and found.status != BulkActionStatus.REQUESTED:
            return found.status
    raise AssertionError("it does not end")


def test_a_backfill_is_one_run_for_each_range_and_ends_with_all_of_it(events: Any, tmp_path: Any) -> None:
    definitions = build_definitions(events.root)
    asset = definitions.resolve_assets_def("events")
    assert asset.backfill_policy == dg.BackfillPolicy.single_run()
    with instance_for_test(temp_dir=str(tmp_path)) as instance:
        job = definitions.resolve_implicit_global_asset_job_def()
        for first, last in (("2024-01-01", "2024-01-02"), ("2024-01-03", "2024-01-05")):
            run = job.execute_in_process(
                instance=instance, tags=span(first, last), asset_selection=[AssetKey("events")]
            )
            assert run.success
        status = instance.get_status_by_partition(
            AssetKey("events"), ["2024-01-01", "2024-01-05"], asset.partitions_def
        )
        assert status is not None and {value.value for value in status.values()} == {"MATERIALIZED"}
    assert ids(events) == [1, 2, 3]
