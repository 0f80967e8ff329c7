"""Dagster's storage, in Postgres, is gone for a while: in a run, and when the sensor ticks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.dataset as ds
import pytest
from dagster_postgres.utils import DagsterPostgresException

from dativo_assets.assets import build_definitions
from tests.writers.postgres import Server

ORDERS = dg.AssetKey("orders")
FILES = {
    "dativo.yaml": "",
    "data/a.csv": "n\n1\n",
    "jobs/orders.yaml": """
source: {reader: csv, files: ["data/*.csv"], incremental: {strategy: file_modified_time}}
target: {writer: parquet, path: warehouse/orders}
trigger: {files: {poll: 5s}}
""",
}


def test_nothing_is_lost_or_doubled_and_ticks_go_on_once_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Dagster tries each connection six times, and waits 46 s between them in all.
    monkeypatch.setattr("dagster_postgres.utils.calculate_delay", lambda **_: 0)
    root, home = tmp_path / "project", tmp_path / "home"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    home.mkdir()
    job = build_definitions(root).resolve_implicit_global_asset_job_def().get_subset(asset_selection={ORDERS})
    with Server(tmp_path) as server:
        (home / "dagster.yaml").write_text(_settings(server))
        with dg.DagsterInstance.from_config(str(home)) as instance:
            (request,) = tick(root, instance).run_requests
            assert request.asset_selection == [ORDERS]

            def gone(context: Any, asset: Any) -> Any:
                server.stop()
                yield from asset.execute(context)

            dying = build_definitions(root, execute=gone).resolve_implicit_global_asset_job_def()
            with pytest.raises(DagsterPostgresException):
                dying.get_subset(asset_selection={ORDERS}).execute_in_process(instance=instance)
            server.start()
            assert not tick(root, instance).run_requests  # it was committed before the run could not say so

            (root / "data/b.csv").write_text("n\n2\n")
            server.stop()
            for _ in range(2):  # as long as it lasts, a tick fails like the one before
                with pytest.raises(DagsterPostgresException, match="DB connection"):
                    tick(root, instance)
            server.start()
            assert len(tick(root, instance).run_requests) == 1
            assert job.execute_in_process(instance=instance).success
    rows = ds.dataset(sorted((root / "warehouse/orders").rglob("*.parquet")), format="parquet").to_table()
    assert sorted(rows.column("n").to_pylist()) == [1, 2]


def tick(root: Path, instance: dg.DagsterInstance) -> dg.SensorResult:
    definitions = build_definitions(root)  # a process of its own, as it were: to it every job is due
    sensor = next(item for item in definitions.sensors or () if item.name == "dativo_triggers")
    assert isinstance(sensor, dg.SensorDefinition)
    with dg.build_sensor_context(instance, definitions=definitions) as context:
        told = sensor(context)
    assert isinstance(told, dg.SensorResult)
    return told


def _settings(server: Server) -> str:
    given = server.database()
    keys = {"hostname": "host", "port": "port", "db_name": "database", "username": "user", "password": "password"}
    database = {**{name: given[key] for name, key in keys.items()}, "scheme": "postgresql+psycopg2"}
    return json.dumps({"telemetry": {"enabled": False}, "storage": {"postgres": {"postgres_db": database}}})
