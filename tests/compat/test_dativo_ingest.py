"""What plugins import from the earlier `dativo_ingest`, line by line of what they use, and what they run as."""

from __future__ import annotations

import datetime as dt
import json
import textwrap
from pathlib import Path
from typing import Any

import dativo_ingest
import dativo_plugin_sdk as sdk
import pyarrow.parquet as pq
import pytest
from dativo_ingest import BaseReader, BaseWriter, PluginLoader, exceptions, plugins
from dativo_ingest.config import AssetDefinition, SourceConfig, TargetConfig
from dativo_ingest.connectors.csv_extractor import CSVExtractor
from dativo_ingest.parquet_writer import ParquetWriter
from dativo_ingest.validator import IncrementalStateManager

from dativo_assets.config import load_project
from dativo_assets.pipeline import RunResult, RunSettings, run
from dativo_assets.plan import bind

ERRORS = (
    "DativoError",
    "ConnectionError",
    "AuthenticationError",
    "ValidationError",
    "ConfigurationError",
    "TransientError",
    "RateLimitError",
    "PluginError",
    "PluginVersionError",
    "SandboxError",
)

READER = """
    from pathlib import Path
    from dativo_ingest.plugins import BaseReader, ConnectionTestResult, DiscoveryResult

    class People(BaseReader):
        __version__ = "2.1.0"

        def __init__(self, source_config):
            super().__init__(source_config)
            self.endpoint = source_config.connection["endpoint"]
            self.size = source_config.engine.get("options", {}).get("batch_size", 10)

        def check_connection(self):
            return ConnectionTestResult(success=True, message="here: " + self.endpoint)

        def discover(self):
            return DiscoveryResult(objects=[{"name": name} for name in self.source_config.objects])

        def get_total_records_estimate(self):
            return 5

        def extract_metadata(self):
            return {"tags": {"email": "pii"}}

        def extract(self, state_manager=None):
            config = self.source_config
            assert config.type == "api" and config.credentials == {"token": "t0ken"}
            assert config.incremental["strategy"] == "incremental" and config.incremental["lookback_days"] == 1
            (file,) = config.files
            rows = [{"id": n, "email": f"{n}@x.org", "object": file["object"]} for n in range(5)]
            assert Path(file["path"]).read_text() == "here"
            for start in range(0, 5, self.size):
                yield rows[start : start + self.size]
"""
WRITER = """
    import json, os
    from dativo_ingest.plugins import BaseWriter, ConnectionTestResult

    class Lines(BaseWriter):
        def __init__(self, asset_definition, target_config, output_base):
            super().__init__(asset_definition, target_config, output_base)
            self.names = [column["name"] for column in asset_definition.schema]

        def write_batch(self, records, file_counter):
            assert self.target_config.type == "files" and self.target_config.file_format == "json"
            assert self.target_config.engine["options"]["indent"] is None
            path = os.path.join(self.output_base, f"part-{file_counter}.jsonl")
            with open(path, "w") as file:
                file.writelines(json.dumps({k: r[k] for k in self.names}) + "\\n" for r in records)
            return [{"path": path, "size_bytes": os.path.getsize(path), "record_count": len(records)}]

        def commit_files(self, file_metadata):
            assert all(set(each) == {"path", "size_bytes", "record_count"} for each in file_metadata)
            return super().commit_files(file_metadata)
"""
JOB = """
    tenant_id: acme
    asset_path: assets/people.yaml
    source:
      type: api
      custom_reader: plugins/people.py:People
      connection: {endpoint: "https://people.example"}
      credentials: {token: "${TOKEN}"}
      objects: [people]
      files: [{path: data/note.txt, object: persons, id: n1}]
      incremental: {strategy: incremental, cursor_field: id, lookback_days: 1}
      engine: {options: {batch_size: 2}}
    target:
      type: files
      custom_writer: plugins/lines.py:Lines
      file_format: json
      connection: {s3: {bucket: b}}
      engine: {options: {indent: null}}
"""
ASSET = """
    asset:
      name: people
      version: "1.2"
      source_type: api
      object: people
      schema:
        - {name: id, type: integer, required: true}
        - {name: email, type: string, classification: pii}
        - {name: object, type: string}
      team: {owner: data@acme.org}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in {
        "plugins/people.py": READER,
        "plugins/lines.py": WRITER,
        "jobs/people.yaml": JOB,
        "assets/people.yaml": ASSET,
        "data/note.txt": "here",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text).strip())
    return tmp_path


def run_job(root: Path, name: str = "people") -> RunResult:
    project = load_project(root)
    assert not project.broken
    return run(bind(project.jobs[name], project), RunSettings(environment={"TOKEN": "t0ken"}))


def test_the_names_are_all_there_and_the_errors_are_those_of_the_sdk() -> None:
    for name in (*ERRORS, "get_error_code", "is_retryable_error", "wrap_exception"):
        assert getattr(dativo_ingest, name) is getattr(exceptions, name) is getattr(sdk, name)
    for name in ("BaseReader", "BaseWriter", "ConnectionTestResult", "DiscoveryResult", "PluginLoader"):
        assert getattr(dativo_ingest, name) is getattr(plugins, name)
    assert isinstance(dativo_ingest.__version__, str) and isinstance(plugins.PLUGIN_SDK_VERSION, str)
    wrapped = dativo_ingest.wrap_exception(OSError("no route"), dativo_ingest.TransientError, "fetching")
    assert str(wrapped) == "fetching: no route" and dativo_ingest.is_retryable_error(wrapped)
    assert dativo_ingest.get_error_code(wrapped) == "TRANSIENT_ERROR"


def test_results_leave_out_what_they_do_not_say() -> None:
    assert dativo_ingest.ConnectionTestResult(True, "fine").to_dict() == {"success": True, "message": "fine"}
    full = dativo_ingest.ConnectionTestResult(False, "no", error_code="E", details={"a": 1})
    assert full.to_dict() == {"success": False, "message": "no", "error_code": "E", "details": {"a": 1}}
    assert dativo_ingest.DiscoveryResult([{"name": "a"}], {"n": 1}).to_dict() == {
        "objects": [{"name": "a"}],
        "metadata": {"n": 1},
    }


def test_configurations_need_a_type_alone() -> None:
    source, target = SourceConfig(type="csv"), TargetConfig(type="s3")
    assert {value for name, value in vars(source).items() if name != "type"} == {None}
    assert {value for name, value in vars(target).items() if name != "type"} == {None}
    asset = AssetDefinition(name="a", version="1.0", source_type="csv", object="o", schema=[{"name": "x"}], team={})
    assert asset.schema == [{"name": "x"}]


def test_a_reader_and_a_writer_are_constructed_as_they_were(tmp_path: Path) -> None:
    reader, config = BaseReader(SourceConfig(type="api")), TargetConfig(type="files")
    assert (reader.source_config, reader.__version__) == (SourceConfig(type="api"), "1.0.0")
    assert reader.get_total_records_estimate() is None
    asset = AssetDefinition(name="a")
    writer = BaseWriter(asset, config, str(tmp_path))
    assert (writer.asset_definition, writer.target_config, writer.output_base) == (asset, config, str(tmp_path))
    assert writer.commit_files([{}, {}]) == {"status": "success", "files_added": 2}
    assert writer.check_connection().success


def test_a_job_with_an_older_reader_and_writer_runs_to_one_commit(root: Path) -> None:
    result = run_job(root)
    assert result.error is None
    assert (result.rows_read, result.rows_written) == (5, 5)
    assert result.commit is not None and result.commit.plugins["reader"] == "plugins/people.py:People 2.1.0"
    rows = [json.loads(line) for path in sorted(result.files) for line in Path(path).read_text().splitlines()]
    assert sorted(row["id"] for row in rows) == list(range(5))
    assert {row["object"] for row in rows} == {"persons"}
    assert result.commit.details["column_tags"] == {"email": "pii"}


def test_the_tags_of_a_source_are_tags_of_the_columns_in_dagster(root: Path) -> None:
    from dativo_assets.assets.metadata import run_metadata

    result = run_job(root)
    schema = run_metadata(load_project(root).jobs["people"], None, result)["dagster/column_schema"]
    assert {column.name: dict(column.tags) for column in schema.columns}["email"] == {"pii": ""}


def test_a_job_that_ran_before_reads_on_from_its_cursor(root: Path) -> None:
    assert run_job(root).error is None
    again = run_job(root)
    assert again.error is None and again.rows_written == 0


def test_source_tags_are_column_tags_too() -> None:
    class Tagged(BaseReader):
        def get_source_tags(self) -> dict[str, str]:
            return {"ssn": "secret"}

    assert Tagged.at(sdk.SourceConfig(reader="x.py:Tagged")).column_tags() == {"ssn": "secret"}


def test_an_identifier_that_is_no_file_of_the_project_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    source = sdk.SourceConfig(reader="r.py:R", root=str(tmp_path), files=("a.csv", "1AbC", "s3://b/c.csv"))
    assert SourceConfig.of(source).files == [
        {"path": str(tmp_path / "a.csv")},
        {"path": "1AbC"},
        {"path": "s3://b/c.csv"},
    ]


def test_the_loader_gives_classes_by_reference(root: Path) -> None:
    reader = PluginLoader.load_reader(f"{root}/plugins/people.py:People")
    assert issubclass(reader, BaseReader) and reader.__version__ == "2.1.0"
    assert issubclass(PluginLoader.load_writer(f"{root}/plugins/lines.py:Lines"), BaseWriter)


@pytest.mark.parametrize(
    ("reference", "error", "text"),
    [
        ("people", ValueError, "must be in format"),
        ("{root}/plugins/absent.py:People", ValueError, "not found"),
        ("{root}/plugins/absent.so:create_reader", ValueError, "not found"),
        ("{root}/plugins/people.py:Absent", ValueError, "not found in module"),
        ("{root}/plugins/people.py:ConnectionTestResult", sdk.PluginError, "must inherit from"),
    ],
)
def test_the_loader_says_what_is_wrong_with_a_reference(
    root: Path, reference: str, error: type[Exception], text: str
) -> None:
    for load in (PluginLoader.load_reader, PluginLoader.load_writer):
        with pytest.raises(error, match=text):
            load(reference.format(root=root))


@pytest.mark.parametrize(
    ("reference", "kind"),
    [("a.py:A", "python"), ("a.b:A", "python"), ("a.so:create", "rust"), ("a.dylib:c", "rust"), ("a.dll:c", "rust")],
)
def test_the_loader_tells_libraries_from_python(reference: str, kind: str) -> None:
    assert PluginLoader._detect_plugin_type(reference) == kind


def test_the_state_of_files_is_kept_in_a_json_file(tmp_path: Path) -> None:
    path, state = tmp_path / "state" / "s.json", IncrementalStateManager
    assert state.read_state(path) == {}
    assert not state.should_skip_file("a", "2024-01-02T00:00:00Z", path)
    state.update_file_state("a", "2024-01-02T00:00:00Z", path)
    state.update_file_state("b", "2024-01-01T00:00:00Z", path)
    assert json.loads(path.read_text()) == {
        "file_a": {"last_modified": "2024-01-02T00:00:00Z"},
        "file_b": {"last_modified": "2024-01-01T00:00:00Z"},
    }
    assert state.should_skip_file("a", "2024-01-02T00:00:00Z", path)
    assert not state.should_skip_file("a", dt.datetime(2024, 1, 3), path)
    assert not state.should_skip_file("a", "2024-01-02T00:00:00Z", path, lookback_days=1)
    assert state.should_skip_file("a", "2023-12-31T00:00:00+00:00", path, lookback_days=1)
    state.write_state(path, {})
    assert state.read_state(str(path)) == {} and list(path.parent.iterdir()) == [path]


def test_a_broken_state_is_said_and_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text("{")
    with pytest.raises(sdk.ValidationError, match=r"s\.json is no JSON"):
        IncrementalStateManager.read_state(tmp_path / "s.json")


def test_the_csv_extractor_yields_batches_and_goes_on_with_a_wider_column(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("n;s\n" + "".join(f"{'many' if n == 60_000 else n};x{n}\n" for n in range(100_000)))
    options: dict[str, Any] = {"batch_size": 30_000, "delimiter": ";", "infer_rows": 2}
    config = SourceConfig(type="csv", files=[{"path": str(path)}], engine={"options": {"native": options}})
    batches = list(CSVExtractor(config).extract())
    assert [len(batch) for batch in batches] == [30_000, 30_000, 30_000, 10_000]
    rows = [row for batch in batches for row in batch]
    assert str(rows[0]["n"]) == "0" and rows[60_000] == {"n": "many", "s": "x60000"}
    assert [int(row["s"][1:]) for row in rows] == list(range(100_000))


def test_the_parquet_writer_leaves_files_below_its_folder(tmp_path: Path) -> None:
    asset = AssetDefinition(name="a", schema=[{"name": "n", "type": "integer"}, {"name": "day", "type": "string"}])
    writer = ParquetWriter(asset, TargetConfig(type="s3", partitioning=["day"]), str(tmp_path))
    told = writer.write_batch([{"n": 1, "day": "mon"}, {"n": 2, "day": "tue"}, {"n": None, "day": "tue"}], 7)
    assert sorted((Path(item["path"]).parent.name, item["record_count"]) for item in told) == [
        ("day=mon", 1),
        ("day=tue", 2),
    ]
    assert all(item["size_bytes"] == Path(item["path"]).stat().st_size for item in told)
    found = [pq.ParquetFile(item["path"]).read() for item in told]
    assert sum(table.num_rows for table in found) == 3 and str(found[0].schema.field("n").type) == "int64"
