"""Alerts as asset checks: what a run tells of itself, and what a sensor tells of runs that don't come."""

from __future__ import annotations

import json
import time
from typing import Any

import dagster as dg
import pytest

from dativo_assets.assets import build_definitions

KEY = dg.AssetKey("orders")
JOB = """
    source: {reader: csv, files: data/orders.csv}
    target: {writer: parquet, path: warehouse/orders}
"""


def orders(bench: Any, alerts: str, rows: int = 100, more: str = "") -> None:
    bench.write("jobs/orders.yaml", JOB + f"    alerts: {alerts}\n{more}")
    bench.write("data/orders.csv", "id\n" + "".join(f"{n}\n" for n in range(rows)))


def test_a_run_that_succeeds_passes_its_alerts_and_one_that_fails_fails_them(bench: Any) -> None:
    orders(bench, "{failure: true, lag: 1h}")
    checks = bench.run("orders").checks()
    assert {name: check.passed for name, check in checks.items()} == {"alert_failure": True, "alert_lag": True}

    (bench.root / "data/orders.csv").unlink()
    failed = bench.run("orders")
    assert not failed.ok
    (told,) = failed.checks().values()
    assert (told.check_name, told.passed, told.severity) == ("alert_failure", False, dg.AssetCheckSeverity.ERROR)
    assert told.metadata["error_code"].value
    assert told.metadata["hint"].value
    assert "orders.csv" in told.description


def test_an_error_of_the_teams_own_code_is_told_too(bench: Any) -> None:
    orders(bench, "{failure: true}")

    def broken(context: Any, asset: Any) -> Any:
        yield from ()
        raise ValueError("no such customer")

    job = build_definitions(bench.root, execute=broken).resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(instance=bench.instance, raise_on_error=False)
    (told,) = result.get_asset_check_evaluations()
    assert (told.passed, told.description) == (False, "ValueError: no such customer")


def test_a_run_with_nothing_new_is_no_failure(bench: Any) -> None:
    orders(bench, "{failure: true, lag: 1h, volume: {}}")
    incremental = JOB.replace("orders.csv}", "orders.csv, incremental: {strategy: file}}")
    bench.write("jobs/orders.yaml", incremental + "    alerts: {failure: true, lag: 1h, volume: {}}\n")
    assert bench.run("orders").ok
    again = bench.run("orders")
    assert again.ok and not again.materialized()
    assert {name: check.passed for name, check in again.checks().items()} == {"alert_failure": True, "alert_lag": True}


@pytest.mark.parametrize(("rows", "usual"), [(30, True), (390, True), (20, False), (410, False), (0, False)])
def test_a_volume_unlike_the_runs_before_is_a_warning(bench: Any, rows: int, usual: bool) -> None:
    for _ in range(3):
        bench.instance.report_runless_asset_event(dg.AssetMaterialization(KEY, metadata={"rows_written": 100}))
    orders(bench, "{volume: {factor: 4}}", rows, "    schema: [{name: id, type: int64}]\n")
    run = bench.run("orders")
    assert run.ok, "a check that fails stops nothing"
    told = run.checks()["alert_volume"]
    assert (told.passed, told.severity) == (usual, dg.AssetCheckSeverity.WARN)
    assert told.description == f"{rows} rows, where 100 are usual"


def test_too_few_runs_tell_nothing_of_volume(bench: Any) -> None:
    orders(bench, "{volume: {}}")
    assert "alert_volume" not in bench.run("orders").checks()


def test_without_alerts_there_is_neither_check_nor_sensor(bench: Any) -> None:
    bench.write("jobs/orders.yaml", JOB)
    definitions = bench.definitions()
    assert not definitions.sensors
    assert not definitions.resolve_asset_graph().asset_check_keys


def tick(bench: Any, cursor: str | None) -> tuple[list[dg.AssetCheckEvaluation], dg.SensorResult]:
    definitions = bench.definitions()
    (sensor,) = definitions.sensors or ()
    with dg.build_sensor_context(instance=bench.instance, definitions=definitions, cursor=cursor) as context:
        result = sensor._raw_fn(context)
    assert not result.run_requests
    return list(result.asset_events), result


def test_the_sensor_tells_once_that_an_asset_lags_and_once_that_it_does_not_any_more(bench: Any) -> None:
    orders(bench, "{lag: 1h}")
    events, result = tick(bench, None)
    assert events == []

    long_ago = json.dumps({"since": time.time() - 7200, "late": []})
    events, result = tick(bench, long_ago)  # it never ran since the sensor began
    assert [(event.check_name, event.passed) for event in events] == [("alert_lag", False)]
    assert "orders" in result.skip_reason.skip_message
    bench.instance.report_runless_asset_event(events[0])
    events, result = tick(bench, result.cursor)
    assert events == [], "it was told already"

    assert bench.run("orders").ok
    events, result = tick(bench, result.cursor)
    assert [event.passed for event in events] == [True]
    assert json.loads(result.cursor)["late"] == []


def test_a_run_that_found_nothing_new_is_a_sign_of_life(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    orders(bench, "{lag: 1h}")
    bench.instance.report_runless_asset_event(dg.AssetMaterialization(KEY))
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + 7200)
    bench.instance.report_runless_asset_event(dg.AssetObservation(KEY))
    events, _ = tick(bench, json.dumps({"since": 0, "late": []}))
    assert events == []
