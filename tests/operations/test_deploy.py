"""What `deploy/` ships, as Dagster itself reads it: the instance against a real Postgres, the workspace, the values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.metadata import entry_points, metadata
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from click.testing import CliRunner
from dagster._core.workspace.load import location_origins_from_config

from dativo_assets.assets import build_definitions
from dativo_assets.cli.doctor import command as doctor
from tests.writers.postgres import Server

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
SETTINGS: dict[str, Any] = yaml.safe_load((DEPLOY / "dagster.yaml").read_text())
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text())
VALUES: dict[str, Any] = yaml.safe_load((DEPLOY / "helm/values.yaml").read_text())


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """DAGSTER_HOME with the shipped settings; only the port is another one."""
    with Server(tmp_path) as server:
        keys = server.database()
        found = tmp_path / "home"
        found.mkdir()
        text = (DEPLOY / "dagster.yaml").read_text()
        found.joinpath("dagster.yaml").write_text(text.replace("port: 5432", f"port: {server.port}"))
        monkeypatch.setenv("DAGSTER_HOME", str(found))
        monkeypatch.setenv("DAGSTER_PG_HOST", keys["host"])
        monkeypatch.setenv("DAGSTER_PG_DB", keys["database"])
        monkeypatch.setenv("DAGSTER_PG_USERNAME", keys["user"])
        monkeypatch.setenv("DAGSTER_PG_PASSWORD", keys["password"])
        yield found


def test_the_instance_opens_in_postgres_records_runs_and_is_found_well(home: Path, tmp_path: Path) -> None:
    root = tmp_path / "project"
    (root / "jobs").mkdir(parents=True)
    (root / "dativo.yaml").write_text("jobs: [jobs/*.yaml]\n")
    (root / "jobs/orders.yaml").write_text(
        "source: {reader: csv, files: data.csv}\ntarget: {writer: parquet, path: warehouse/orders}\n"
    )
    (root / "data.csv").write_text("id\n1\n2\n")
    with dg.DagsterInstance.get() as instance:
        job = build_definitions(root).resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(instance=instance).success
    with dg.DagsterInstance.get() as instance:
        assert type(instance.event_log_storage).__name__ == "PostgresEventLogStorage"
        (record,) = instance.get_run_records()
        assert record.dagster_run.is_success
        landed = instance.get_latest_materialization_event(dg.AssetKey("orders"))
        assert landed is not None and landed.asset_materialization is not None
        assert landed.asset_materialization.metadata["rows_written"].value == 2

        assert instance.run_monitoring_enabled
        assert instance.run_retries_enabled
        assert instance.run_retries_max_retries == 2
        assert not instance.run_retries_retry_on_asset_or_op_failure
        assert instance.get_concurrency_config().pool_config.default_pool_limit == 4
        assert instance.get_concurrency_config().run_queue_config.max_concurrent_runs == 8
        instance.event_log_storage.initialize_concurrency_limit_to_default("shop")
        assert instance.event_log_storage.get_concurrency_info("shop").slot_count == 4

    done = CliRunner().invoke(doctor, ["--json", "-p", str(root)], standalone_mode=False)
    found = {(item["area"], item["subject"]): item for item in json.loads(done.stdout)["findings"]}
    assert done.return_value == 0, found
    assert "Postgres" in found["instance", "storage"]["message"]
    assert {item["subject"] for item in found.values() if item["status"] != "ok"} == {"dagster-daemon"}


def test_no_secret_is_written_in_what_is_shipped() -> None:
    postgres = SETTINGS["storage"]["postgres"]["postgres_db"]
    assert all(set(postgres[key]) == {"env"} for key in ("hostname", "db_name", "username", "password"))
    texts = [path.read_text() for path in DEPLOY.rglob("*.yaml")]
    given = [found for text in texts for found in re.findall(r"(?i)password:\s*([^\s{][^\n]*)", text)]
    assert all(value.startswith("${") for value in given), given


def test_each_service_has_the_variables_of_the_instance_and_a_command_that_exists() -> None:
    wanted = {
        value["env"] for value in SETTINGS["storage"]["postgres"]["postgres_db"].values() if isinstance(value, dict)
    }
    commands = {point.name for point in entry_points(group="console_scripts")}
    ours = {name: service for name, service in COMPOSE["services"].items() if name != "postgres"}
    assert set(ours) == {"code", "webserver", "daemon"}
    for name, service in ours.items():
        assert wanted <= set(service["environment"]), name
        assert service["command"][0] in commands, name
        assert service["restart"] == "unless-stopped", "what dies comes back"
        for needed in service["depends_on"]:
            assert "healthcheck" in COMPOSE["services"][needed], f"{name} waits for {needed} to be healthy"
        for config in service.get("configs", ()):
            assert config["source"] in COMPOSE["configs"]
    database = COMPOSE["services"]["postgres"]["environment"]
    assert database["POSTGRES_USER"] == ours["code"]["environment"]["DAGSTER_PG_USERNAME"]
    assert database["POSTGRES_DB"] == ours["code"]["environment"]["DAGSTER_PG_DB"]
    assert all(port.startswith("127.0.0.1:") for port in ours["webserver"]["ports"])


def test_the_workspace_leads_to_the_code_server() -> None:
    workspace = yaml.safe_load(COMPOSE["configs"]["workspace"]["content"])
    (origin,) = location_origins_from_config(workspace, ".").values()
    command = COMPOSE["services"]["code"]["command"]
    assert (origin.host, str(origin.port)) == ("code", command[command.index("-p") + 1])
    assert command[command.index("-m") + 1] == "dativo_assets.definitions"


def test_the_image_copies_what_is_there() -> None:
    text = (DEPLOY / "compose/Dockerfile").read_text()
    for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE):
        *sources, _ = line.split()
        assert all((DEPLOY.parent / source).exists() for source in sources), line
    extras = set(re.search(r"/src\[([^\]]+)\]", text)[1].split(","))  # type: ignore[index]
    assert extras <= set(metadata("dativo-assets").get_all("Provides-Extra") or ())


def test_the_values_of_the_chart_say_the_same_as_the_instance() -> None:
    daemon = VALUES["dagsterDaemon"]
    monitoring = {_snake(key): value for key, value in daemon["runMonitoring"].items()}
    assert {key: monitoring[key] for key in SETTINGS["run_monitoring"]} == SETTINGS["run_monitoring"]
    assert _snaked(daemon["runRetries"]) == SETTINGS["run_retries"]
    assert _snaked(daemon["sensors"]) == SETTINGS["sensors"]
    assert _snaked(VALUES["concurrency"]["pools"]) == SETTINGS["concurrency"]["pools"]
    assert _snaked(VALUES["concurrency"]["runs"]) == SETTINGS["concurrency"]["runs"]
    retention = _snaked({key: value for key, value in VALUES["retention"].items() if key != "enabled"})
    assert retention == SETTINGS["retention"]
    queue = _snaked(daemon["runCoordinator"]["config"]["queuedRunCoordinator"])
    assert queue == SETTINGS["run_coordinator"]["config"]


def test_the_values_name_what_the_chart_knows() -> None:
    """Where the schema of Dagster's chart takes no other keys than its own; anywhere else a wrong one is lost in silence."""
    known = {
        "": "telemetry global postgresql generatePostgresqlPasswordSecret dagster-user-deployments runLauncher concurrency "
        "dagsterDaemon retention",
        "postgresql": "enabled postgresqlHost postgresqlUsername postgresqlDatabase postgresqlScheme",
        "runLauncher": "type config",
        "runLauncher.config.k8sRunLauncher": "imagePullPolicy failPodOnRunFailure envVars envSecrets volumes volumeMounts "
        "resources runK8sConfig labels securityContext",
        "runLauncher.config.k8sRunLauncher.runK8sConfig": "containerConfig podSpecConfig podTemplateSpecMetadata "
        "jobSpecConfig jobMetadata",
        "concurrency": "enabled pools runs",
        "concurrency.pools": "defaultLimit granularity opGranularityRunBuffer",
        "concurrency.runs": "maxConcurrentRuns tagConcurrencyLimits",
        "dagsterDaemon": "runCoordinator runMonitoring runRetries sensors schedules",
        "dagsterDaemon.runCoordinator": "enabled type config",
        "dagsterDaemon.runCoordinator.config.queuedRunCoordinator": "maxConcurrentRuns tagConcurrencyLimits "
        "dequeueIntervalSeconds dequeueNumWorkers dequeueUseThreads",
        "dagsterDaemon.sensors": "useThreads numWorkers numSubmitWorkers",
        "dagsterDaemon.schedules": "useThreads numWorkers numSubmitWorkers",
        "retention": "enabled sensor schedule autoMaterialize",
    }
    for path, keys in known.items():
        value = VALUES
        for name in filter(None, path.split(".")):
            value = value[name]
        assert set(value) <= set(keys.split()), path
    (deployment,) = VALUES["dagster-user-deployments"]["deployments"]
    kept = "name image codeServerArgs port env envSecrets volumes volumeMounts resources includeConfigInLaunchedRuns"
    assert set(deployment) <= set(kept.split())
    for ticks in ("sensor", "autoMaterialize"):
        assert set(VALUES["retention"][ticks]["purgeAfterDays"]) == {"skipped", "success", "failure", "started"}


def test_runs_of_the_chart_find_the_project_where_the_code_server_has_it() -> None:
    (deployment,) = VALUES["dagster-user-deployments"]["deployments"]
    launcher = VALUES["runLauncher"]["config"]["k8sRunLauncher"]
    (mount,) = launcher["volumeMounts"]
    assert deployment["volumeMounts"] == launcher["volumeMounts"]
    assert {"name": "DATIVO_PROJECT", "value": mount["mountPath"]} in deployment["env"]
    assert launcher["envVars"] == [f"DATIVO_PROJECT={mount['mountPath']}"]
    assert launcher["envSecrets"] == deployment["envSecrets"]
    assert {volume["name"] for volume in launcher["volumes"]} == {mount["name"]}
    assert launcher["resources"]["limits"]["memory"]
    assert not deployment["includeConfigInLaunchedRuns"]["enabled"], "else the code server's limits are those of runs"


def _snake(text: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", text).lower()


def _snaked(value: Any) -> Any:
    return {_snake(key): _snaked(inner) for key, inner in value.items()} if isinstance(value, dict) else value
