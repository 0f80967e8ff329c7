"""What a run records in Dagster: what landed, what did not, and why."""

from __future__ import annotations

import threading
import time

import dagster as dg
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError

from dativo_assets.assets.execute import run_id_of

FIRST_ROWS = ["dagster/row_count", "dagster/size_bytes", "rows_read", "rows_written", "rows_rejected"]


def test_a_materialization_says_what_the_run_knows_the_important_first(bench) -> None:
    bench.orders()
    run = bench.run("sales/orders")
    assert run.ok
    metadata = run.metadata("sales/orders")
    assert list(metadata)[:5] == FIRST_ROWS
    assert metadata["dagster/row_count"] == 2
    assert metadata["dagster/size_bytes"] > 0
    assert (metadata["rows_read"], metadata["rows_written"], metadata["rows_rejected"]) == (2, 2, 0)
    assert metadata["commit_seq"] == 1
    assert metadata["cursor"]["strategy"] == "file_modified_time"
    assert metadata["reader"].startswith("csv ")
    assert metadata["writer"].startswith("parquet ")
    assert metadata["read_s"] >= 0
    assert metadata["files"].endswith(".parquet")
    assert [column.name for column in metadata["dagster/column_schema"].columns] == ["id", "amount", "email"]
    assert run.materialized()["sales/orders"].tags["dagster/data_version"] == "1"


def test_rows_count_the_whole_table_not_the_run(bench) -> None:
    bench.orders()
    bench.run("sales/orders")
    bench.orders("3,30,c@x.org\n", file="two")
    metadata = bench.run("sales/orders").metadata("sales/orders")
    assert (metadata["dagster/row_count"], metadata["rows_read"]) == (3, 1)


def test_quarantined_rows_warn_and_show_a_masked_sample(bench) -> None:
    bench.orders("1,-5,secret@x.org\n2,1,b@x.org\n")
    run = bench.run("sales/orders")
    assert run.ok
    check = run.checks()["amount_min"]
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.WARN
    assert check.metadata["violations"].value == 1
    assert check.metadata["checked"].value == 2
    assert check.metadata["sample"].records[0].data["value"] == "-5.0"
    assert run.checks()["primary_key"].passed
    assert "secret@x.org" not in repr(run.result.all_events)
    assert "quarantine" in run.metadata("sales/orders")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("", dg.AssetCheckSeverity.WARN),
        ("severity: error", dg.AssetCheckSeverity.ERROR),
        ("severity: warning", dg.AssetCheckSeverity.WARN),
    ],
)
def test_a_check_has_the_severity_that_the_contract_names(bench, said: str, expected: dg.AssetCheckSeverity) -> None:
    bench.write(
        "contracts/rows.yaml",
        f"""
        apiVersion: v3.1.0
        kind: DataContract
        id: rows
        version: 1.0.0
        status: active
        schema:
          - name: rows
            properties:
              - {{name: m, logicalType: integer}}
              - name: n
                logicalType: integer
                quality:
                  - {{id: known, metric: nullValues, mustBe: 0, {said}}}
        """,
    )
    bench.write("data/rows.csv", "m,n\n1,2\n3,\n")
    bench.write(
        "jobs/rows.yaml",
        """
        source: {reader: csv, files: data/rows.csv}
        target: {writer: parquet, path: warehouse/rows}
        contract: contracts/rows.yaml
        on_violation: quarantine
        """,
    )
    run = bench.run("rows")
    assert run.ok
    check = run.checks()["known"]
    assert (check.passed, check.severity) == (False, expected)
    assert check.metadata["rule"].value == "n IS NOT NULL"
    assert check.metadata["severity"].value == ("warn" if "warning" in said else "error")


def test_a_violation_under_fail_is_no_materialization_and_stops_what_follows(bench) -> None:
    bench.orders("1,-5,a@x.org\n")
    bench.report()
    text = (bench.root / "jobs/orders.yaml").read_text()
    bench.write("jobs/orders.yaml", text.replace("on_violation: quarantine", "on_violation: fail"))
    run = bench.run()
    assert not run.ok
    assert run.materialized() == {}
    check = run.checks()["amount_min"]
    assert (check.passed, check.severity, check.blocking) == (False, dg.AssetCheckSeverity.ERROR, True)
    failure = run.failure("sales__orders")
    assert failure.metadata["error_code"].value
    assert failure.metadata["error"].value.startswith("```\nerror[")
    file, line, _ = failure.metadata["where"].value.split(":")
    assert (file, "name: amount" in text.splitlines()[int(line) - 1]) == ("jobs/orders.yaml", True), "the rule's place"
    assert bench.instance.get_latest_materialization_event(dg.AssetKey(["sales", "orders"])) is None


def test_nothing_new_is_an_observation_and_what_follows_still_runs(bench) -> None:
    bench.orders()
    bench.report()
    assert bench.run().ok
    again = bench.run()
    assert again.ok
    assert set(again.materialized()) == {"sales/report"}
    seen = again.observed()["sales/orders"]
    assert seen.description == "Nothing is new since commit 1"
    assert seen.metadata["dagster/row_count"].value == 2
    assert {name: check.passed for name, check in again.checks().items()} == {
        "types": True,
        "primary_key": True,
        "amount_min": True,
    }
    latest = bench.instance.get_latest_materialization_event(dg.AssetKey(["sales", "orders"]))
    assert latest.asset_materialization.metadata["rows_read"].value == 2


def test_a_failed_read_says_what_where_and_what_next(bench) -> None:
    bench.orders()
    bench.write(
        "jobs/gone.yaml",
        "source: {reader: csv, files: data/gone.csv}\ntarget: {writer: parquet, path: warehouse/gone}\n",
    )
    run = bench.run()
    assert set(run.materialized()) == {"sales/orders"}
    failure = run.failure("gone")
    assert "data/gone.csv" in failure.description
    assert failure.metadata["hint"].value


def test_an_unset_secret_is_named_with_its_line_and_no_value_leaks(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LANDING", raising=False)
    bench.write(
        "jobs/job.yaml", "source:\n  reader: csv\n  files: ['${LANDING}/x.csv']\ntarget: {writer: parquet, path: w}\n"
    )
    failure = bench.run().failure("job")
    assert "LANDING" in failure.description
    assert failure.metadata["where"].value.startswith("jobs/job.yaml:3")
    monkeypatch.setenv("LANDING", "very-secret-folder")
    assert "very-secret-folder" not in repr(bench.run().result.all_events)


def test_a_retry_that_dagster_starts_by_itself_keeps_the_first_runs_id(bench) -> None:
    bench.orders()
    first = bench.run("sales/orders")
    root = first.result.run_id
    definitions = bench.definitions()
    job = definitions.resolve_implicit_global_asset_job_def()
    run = bench.instance.create_run_for_job(
        job, tags={"dagster/retry_number": "1"}, root_run_id=root, parent_run_id=root
    )
    assert run_id_of(run) == root
    assert run_id_of(bench.instance.create_run_for_job(job)) != root
    assert first.metadata("sales/orders")["commit_run_id"] == root


def test_a_run_that_is_told_to_stop_ends_within_seconds_and_leaves_nothing(bench) -> None:
    bench.write(
        "slow.py",
        """
        import os, signal, time
        from dativo_plugin_sdk import BaseReader
        class Slow(BaseReader):
            def extract(self, state_manager=None):
                for n in range(10_000):
                    yield [{"n": n}]
                    if n == 50:
                        os.kill(os.getpid(), signal.SIGINT)
                    time.sleep(0.01)
        """,
    )
    bench.write("jobs/slow.yaml", "source: {reader: slow.py:Slow}\ntarget: {writer: parquet, path: warehouse/slow}\n")
    start = time.monotonic()
    with pytest.raises(DagsterExecutionInterruptedError):
        dg.materialize(
            [item for item in bench.definitions().assets if isinstance(item, dg.AssetsDefinition)],
            instance=bench.instance,
        )
    assert time.monotonic() - start < 8
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("dativo-run")]
    assert not list((bench.root / "warehouse").rglob("*"))


def test_a_run_of_some_partitions_that_no_column_tells_is_refused_at_the_line_that_declares_them(bench) -> None:
    bench.orders()
    text = (bench.root / "jobs/orders.yaml").read_text()
    bench.write("jobs/orders.yaml", text + "partitions: {static: [eu, us]}\n")
    failure = bench.run("sales/orders", partition="eu").failure("sales__orders")
    assert "eu" in failure.description
    assert failure.metadata["where"].value.startswith("jobs/orders.yaml:")
    whole = bench.run(
        "sales/orders", tags={"dagster/asset_partition_range_start": "eu", "dagster/asset_partition_range_end": "us"}
    )
    assert whole.ok


def test_a_materialization_tells_the_origin_of_each_column_and_observes_its_source(bench) -> None:
    bench.orders()
    bench.write(
        "jobs/daily.yaml",
        """
        source: {reader: sql, query: "SELECT sum(amount) AS revenue, count(*) AS n FROM orders"}
        target: {writer: parquet, path: warehouse/daily, mode: overwrite}
        """,
    )
    run = bench.run()
    orders = run.metadata("sales/orders")["dagster/column_lineage"].deps_by_column
    source = dg.AssetKey(["source", "csv", "data", "orders"])
    assert orders["amount"] == [dg.TableColumnDep(source, "amount")]
    daily = run.metadata("daily")["dagster/column_lineage"].deps_by_column
    assert daily == {"revenue": [dg.TableColumnDep(dg.AssetKey(["sales", "orders"]), "amount")]}
    seen = run.observed()["source/csv/data/orders"].metadata
    assert seen["rows_read"].value == 2
    newest = (bench.root / "data/orders/one.csv").stat().st_mtime
    assert seen["dagster/last_updated_timestamp"].value == pytest.approx(newest, abs=1)


def test_a_source_that_was_read_whole_tells_its_row_count(bench) -> None:
    bench.report()
    bench.orders()
    seen = bench.run().observed()["source/csv/data/report.csv"].metadata
    assert seen["dagster/row_count"].value == 1


def test_a_materialization_shows_rows_and_a_profile_with_personal_data_masked(bench) -> None:
    bench.orders()
    run = bench.run("sales/orders")
    metadata = run.metadata("sales/orders")
    assert [record.data for record in metadata["preview"].records] == [
        {"id": "1", "amount": "10.5", "email": "***"},
        {"id": "2", "amount": "20.0", "email": "***"},
    ]
    profile = {record.data["column"]: record.data for record in metadata["profile"].records}
    assert "\n| csv 1.0.0 | read | " in metadata["plugin_calls"]
    assert profile["amount"] == {
        "column": "amount",
        "type": "double",
        "nulls": 0,
        "distinct": "2",
        "min": "10.5",
        "max": "20.0",
    }
    assert profile["email"]["min"] == "***"
    assert metadata["profile_rows"] == 2
    assert "a@x.org" not in repr(run.result.all_events)


def test_a_job_opts_out_of_the_preview(bench) -> None:
    bench.orders()
    path = bench.root / "jobs/orders.yaml"
    path.write_text(path.read_text() + "preview: false\n")
    metadata = bench.run("sales/orders").metadata("sales/orders")
    assert not {"preview", "profile"} & set(metadata)


def test_the_metadata_of_a_table_is_kept_with_its_materialization_and_not_with_the_output_of_the_step(bench) -> None:
    bench.orders()
    ran = bench.run("sales/orders")
    (output,) = [
        e for e in ran.result.all_events if e.is_successful_output and e.step_output_data.output_name == "result"
    ]
    assert not output.step_output_data.metadata
    assert ran.metadata("sales/orders")["rows_written"] == 2
