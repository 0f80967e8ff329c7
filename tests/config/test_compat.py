"""Job files of the earlier `dativo_ingest` load unchanged, and errors show the line as it was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from dativo_assets.config import JobConfig, load_project
from dativo_assets.errors import render

CONNECTOR = """
name: csv
type: csv
roles: [source]
default_engine: {type: native, options: {native: {batch_size: 1000, encoding: latin-1}}}
credentials: {type: none}
incremental: {strategy: file_modified_time, lookback_days: 1}
"""
JOB = """
tenant_id: acme
environment: prod
source_connector: csv
source_connector_path: /app/connectors/csv.yaml
target_connector_path: connectors/store.yaml
asset_path: assets/people.yaml
schema_validation_mode: warn
retry_config: {max_retries: 2, initial_delay_seconds: 5, backoff_multiplier: 2, retryable_exit_codes: [1]}
logging: {level: INFO}
plugins: {sandbox: {enabled: true}}
source:
  files:
    - {path: data/people.csv, object: people, id: p}
    - {file: /app/data/more.csv}
  engine: {options: {delimiter: ";"}}
target:
  file_format: parquet
  partitioning: [day]
  connection: {s3: {bucket: lake, prefix: raw/x, region: eu}}
  parquet_target_size_mb: 128
"""


def load(root: Path, text: str) -> JobConfig:
    (root / "jobs").mkdir(exist_ok=True)
    (root / "jobs/old.yaml").write_text(text)
    project = load_project(root)
    assert [render(item.error) for item in project.broken] == []
    return project.jobs["old"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("connectors", "data", "plugins"):
        (tmp_path / folder).mkdir()
    (tmp_path / "connectors/csv.yaml").write_text(CONNECTOR)
    (tmp_path / "connectors/store.yaml").write_text("name: store\ntype: s3\n")
    (tmp_path / "data/more.csv").write_text("a\n")
    return tmp_path


def test_a_job_over_connector_files_is_the_same_in_the_keys_of_today(root: Path) -> None:
    job = load(root, JOB)
    assert job.model_dump(by_alias=True, exclude_unset=True) == {
        "name": "old",
        "metadata": {"tenant_id": "acme", "environment": "prod"},
        "contract": "assets/people.yaml",
        "on_violation": "warn",
        "retry": {"max_attempts": 3, "delay": 5.0, "backoff": "exponential"},
        "source": {
            "reader": "csv",
            "files": ("data/people.csv", "data/more.csv"),
            "objects": ("people",),
            "credentials": {"type": "none"},
            "options": {"encoding": "latin-1", "delimiter": ";"},
            "incremental": {"strategy": "file_modified_time", "lookback": 86_400.0},
        },
        "target": {
            "writer": "parquet",
            "path": "s3://lake/raw/x/old",
            "partition_by": ("day",),
            "connection": {"region": "eu"},
            "options": {},
        },
    }


def test_what_was_chosen_or_left_out_is_said(root: Path) -> None:
    assert load(root, JOB).notes == (
        "`retry_config.retryable_exit_codes` is left out: each error says itself whether a retry may help",
        "`logging` is left out: it is no part of a job any more",
        "`plugins` is left out: it is no part of a job any more",
        "/app/connectors/csv.yaml is not there; connectors/csv.yaml of the project is used",
        "`batch_size` is left out: sizes follow the data",
        "/app/data/more.csv is not there; data/more.csv of the project is used",
        "`parquet_target_size_mb` is left out: sizes follow the data",
    )


def test_positions_are_those_of_the_lines_as_written(root: Path) -> None:
    job = load(root, JOB)
    places = {
        ("contract",): "jobs/old.yaml:7:1",
        ("on_violation",): "jobs/old.yaml:8:1",
        ("retry", "delay"): "jobs/old.yaml:9:32",
        ("source", "files", 1): "jobs/old.yaml:15:8",
        ("source", "options", "delimiter"): "jobs/old.yaml:16:22",
        ("source", "options", "encoding"): "connectors/csv.yaml:5:69",
        ("source", "reader"): "connectors/csv.yaml:3:1",
        ("target", "partition_by"): "jobs/old.yaml:19:3",
        ("metadata", "tenant_id"): "jobs/old.yaml:2:1",
    }
    assert {path: str(job.location(*path)) for path in places} == places


def test_plugins_of_a_job_keep_their_configuration_as_it_was(root: Path) -> None:
    (root / "plugins/r.py").write_text("")
    job = load(
        root,
        """
tenant_id: acme
source_connector_path: connectors/csv.yaml
source:
  custom_reader: /app/plugins/r.py:Reader
  dsn: ${DSN}
  engine: {options: {batch_size: 5}}
  rate_limits: {requests_per_second: 2}
target:
  type: s3
  custom_writer: plugins/w.so:create_writer
  connection: {bucket: b, prefix: p}
  file_format: json
""",
    )
    assert job.source.reader == "plugins/r.py:Reader"
    assert job.source.connection == {"dsn": "${DSN}"}
    assert job.source.options == {"batch_size": 5, "encoding": "latin-1", "rate_limits": {"requests_per_second": 2}}
    assert job.target.writer == "plugins/w.so:create_writer"
    assert job.target.connection == {"bucket": "b", "prefix": "p"}
    assert job.target.options == {"type": "s3", "file_format": "json"}


@pytest.mark.parametrize(
    ("old", "today"),
    [
        ("{strategy: full_refresh}", ("full_refresh", None, 0)),
        ("{strategy: incremental, cursor_field: t, lookback_days: 2}", ("append", "t", 172_800)),
        ("{strategy: incremental}", ("file_modified_time", None, 0)),
        ("{strategy: updated_at}", ("updated_at", "updated_at", 0)),
        ("{strategy: updated_after, cursor_field: m, state_path: s.json}", ("updated_at", "m", 0)),
        ("{strategy: created}", ("append", "created", 0)),
        ("{strategy: file_modified_time}", ("file_modified_time", None, 0)),
        ("{strategy: spreadsheet_modified_time}", ("file_modified_time", None, 0)),
    ],
)
def test_every_older_strategy_has_its_name_of_today(root: Path, old: str, today: tuple[str, str | None, int]) -> None:
    text = (
        f"tenant_id: a\nsource: {{type: csv, files: [{{path: a.csv}}], incremental: {old}}}\ntarget: {{writer: csv}}\n"
    )
    incremental = load(root, text).incremental
    assert incremental is not None
    assert (incremental.strategy, incremental.cursor_field, incremental.lookback_s) == today


def test_the_cursor_of_a_table_is_the_cursor_of_the_job(root: Path) -> None:
    text = (
        "tenant_id: a\nsource: {type: postgres, tables: [{name: public.t, object: t, cursor_field: changed}],"
        " incremental: {strategy: updated_at}}\ntarget: {writer: csv}\n"
    )
    job = load(root, text)
    assert (job.source.tables, job.source.objects) == (("public.t",), ("t",))
    assert job.incremental is not None and job.incremental.cursor_field == "changed"


def test_a_mistake_in_an_older_job_is_shown_as_it_was_written(root: Path) -> None:
    (root / "jobs").mkdir()
    (root / "jobs/old.yaml").write_text(
        "tenant_id: a\nsource: {custom_reader: [x]}\nschema_validation_mode: strikt\ntarget: {writer: csv}\n"
    )
    (item,) = load_project(root).broken
    text = render(item.error)
    assert "jobs/old.yaml:2:25" in text and "jobs/old.yaml:3:25" in text


def test_a_connector_file_that_is_not_there_is_an_error_at_the_line_that_names_it(root: Path) -> None:
    (root / "jobs").mkdir()
    (root / "jobs/old.yaml").write_text("tenant_id: a\nsource_connector_path: connectors/absent.yaml\n")
    (item,) = load_project(root).broken
    assert "can't read connectors/absent.yaml" in render(item.error)
    assert "jobs/old.yaml:2:24" in render(item.error)
