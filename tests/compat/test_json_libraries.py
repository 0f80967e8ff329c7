"""Shared libraries with the older JSON symbols, compiled here from C, behind the wrappers of `rust_plugin_bridge`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dativo_plugin_sdk as sdk
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dativo_ingest import PluginError, PluginLoader
from dativo_ingest.config import AssetDefinition, SourceConfig, TargetConfig
from dativo_ingest.rust_plugin_bridge import create_rust_reader_wrapper, create_rust_writer_wrapper
from dativo_plugin_sdk import ReadRequest, SchemaMismatchError

from dativo_assets.config import load_project
from dativo_assets.pipeline import run
from dativo_assets.plan import bind
from dativo_assets.registry import Registry

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")

# mode, the first object of the configuration: what the reader does with its second batch.
SOURCE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static char *copy(const char *text) { char *made = malloc(strlen(text) + 1); strcpy(made, text); return made; }
typedef struct { int calls; char mode; } reader;
void *create_reader(const char *config) {
    const char *found = strstr(config, "\"objects\": [\"");
    if (!found) { fprintf(stderr, "no object was named"); return NULL; }
    reader *made = malloc(sizeof(reader)); made->calls = 0; made->mode = found[13]; return made;
}
const char *extract_batch(reader *self) {
    self->calls++;
    if (self->mode == 'f' || (self->mode == 'p' && self->calls == 2)) { fprintf(stderr, "disk on fire"); return NULL; }
    if (self->mode == 'n') return NULL;
    if (self->mode == 'j' && self->calls == 2) { fprintf(stderr, "out of paper"); return copy("[{"); }
    if (self->calls == 1) return copy("[{\"n\": 1}, {\"n\": 2}]");
    if (self->mode == 'm' && self->calls == 2) return copy("[{\"n\": 3}, {\"n\": null}]");
    if (self->mode == 'm' && self->calls == 3) return copy("[\n{\"n\": 4}\n]");
    if (self->mode == 'w' && self->calls == 2) return copy("[{\"n\": 1.5}]");
    if (self->mode == 'o' && self->calls == 2) return copy("{\"n\": 1}");
    return self->mode == 'e' ? copy("[]") : NULL;
}
void free_reader(reader *self) { free(self); }
void free_string(char *text) { free(text); }
char *create_writer(const char *config) { return copy(config); }
const char *write_batch(char *self, const char *batch) {
    return copy(strstr(batch, "\"bad\"") ? "{}" : "[{\"path\": \"p\", \"size_bytes\": 3, \"record_count\": 1}]");
}
void free_writer(char *self) { free(self); }
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("library")
    (folder / "plugin.c").write_text(SOURCE)
    subprocess.run(["cc", "-shared", "-fPIC", "-w", "-o", "plugin.so", "plugin.c"], cwd=folder, check=True)
    return str(folder / "plugin.so")


def rows(library: str, mode: str) -> list[dict[str, int]]:
    reader = create_rust_reader_wrapper(library, "create_reader")(SourceConfig(type="custom", objects=[mode]))
    return [row for batch in reader.extract() for row in batch]


def test_absent_values_of_a_configuration_are_empty(library: str, tmp_path: Path) -> None:
    reader = create_rust_reader_wrapper(library, "create_reader")(SourceConfig(type="custom"))
    assert json.loads(reader._serialize_config()) == {
        "type": "custom",
        "connection": {},
        "credentials": {},
        "objects": [],
        "files": [],
        "incremental": {},
        "engine": {},
    }
    made = create_rust_writer_wrapper(library, "create_writer")
    writer = made(AssetDefinition(name="a", schema=[{"name": "n"}]), TargetConfig(type="s3"), str(tmp_path))
    assert json.loads(writer._serialize_config()) == {
        "asset_name": "a",
        "schema": [{"name": "n"}],
        "output_base": str(tmp_path),
        "target_type": "s3",
        "connection": {},
        "file_format": {},
        "engine": {},
    }


@pytest.mark.parametrize("mode", ["x", "e"])
def test_null_and_an_empty_array_both_end_the_rows(library: str, mode: str) -> None:
    assert rows(library, mode) == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        ("n", "extract_batch gave nothing"),
        ("f", "extract_batch gave nothing: disk on fire"),
        ("p", "extract_batch gave nothing: disk on fire"),
        ("j", "no JSON.*: out of paper"),
        ("o", "answered no array"),
    ],
)
def test_null_before_any_row_or_after_a_word_on_standard_error_is_an_error(library: str, mode: str, text: str) -> None:
    with pytest.raises(PluginError, match=text):
        rows(library, mode)
    with pytest.raises(PluginError, match=text):
        list(batches(library, mode))


def batches(library: str, mode: str, **request: Any) -> Iterator[pa.RecordBatch]:
    reader = create_rust_reader_wrapper(library, "create_reader")(SourceConfig(type="custom", objects=[mode]))
    (split,) = reader.plan(ReadRequest(**request)).splits
    return reader.read(split)


def test_batches_are_of_the_schema_that_the_first_one_has(library: str) -> None:
    found = list(batches(library, "m"))
    assert [batch.to_pylist() for batch in found] == [[{"n": 1}, {"n": 2}], [{"n": 3}, {"n": None}], [{"n": 4}]]
    assert {str(batch.schema) for batch in found} == {"n: int64"}


def test_a_value_that_does_not_fit_is_told_and_fits_a_wider_column(library: str) -> None:
    with pytest.raises(SchemaMismatchError, match="column 'n' holds a double value, not int64") as caught:
        list(batches(library, "w"))
    widen = {"n": caught.value.widen_to}
    assert [row["n"] for batch in batches(library, "w", widen=widen) for row in batch.to_pylist()] == [1.0, 2.0, 1.5]


@pytest.mark.skipif(find_spec("dativo_rust_json") is None, reason="no cargo built the native plugins")
def test_text_is_parsed_natively_but_where_python_has_to_look(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes | str] = []
    loads = json.loads
    monkeypatch.setattr(json, "loads", lambda text: seen.append(text) or loads(text))
    list(batches(library, "m"))
    assert seen == [b'[\n{"n": 4}\n]']


def test_a_library_that_makes_no_reader_is_quoted(library: str) -> None:
    with pytest.raises(PluginError, match="create_reader gave nothing: no object was named"):
        list(create_rust_reader_wrapper(library, "create_reader")(SourceConfig(type="custom")).extract())


def test_a_writer_tells_its_files_and_a_wrong_answer_is_an_error(library: str, tmp_path: Path) -> None:
    made = PluginLoader.load_writer(f"{library}:create_writer")
    writer = made(AssetDefinition(name="a"), TargetConfig(type="s3"), str(tmp_path))
    assert writer.write_batch([{"n": 1}], 0) == [{"path": "p", "size_bytes": 3, "record_count": 1}]
    with pytest.raises(PluginError, match="write_batch answered no array"):
        writer.write_batch([{"bad": 1}], 1)
    assert writer.commit_files([{}])["files_added"] == 1


def test_a_symbol_or_a_library_that_is_not_there_is_named(library: str, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="no symbol create_nothing"):
        list(create_rust_reader_wrapper(library, "create_nothing")(SourceConfig(type="custom")).extract())
    (tmp_path / "bad.so").write_text("no library")
    with pytest.raises(PluginError, match="can't be loaded"):
        list(create_rust_reader_wrapper(str(tmp_path / "bad.so"), "c")(SourceConfig(type="custom")).extract())


def test_a_job_names_such_a_library_by_file_and_symbol(library: str, tmp_path: Path) -> None:
    shutil.copy(library, tmp_path / "plugin.so")
    registry = Registry(tmp_path)
    reader = registry.resolve("reader", "plugin.so:create_reader").load()
    source = sdk.SourceConfig(reader=reader.ref.reference, objects=("x",))
    assert list(reader.factory(source).extract()) == [[{"n": 1}, {"n": 2}]]
    writer = registry.resolve("writer", "plugin.so:create_writer").load()
    assert issubclass(writer.target, sdk.BaseWriter)


def test_a_job_reads_such_a_library_by_the_types_of_its_contract(library: str, tmp_path: Path) -> None:
    shutil.copy(library, tmp_path / "plugin.so")
    (tmp_path / "dativo.yaml").write_text("jobs: jobs/*.yaml\n")
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/numbers.yaml").write_text(
        "source: {reader: 'plugin.so:create_reader', objects: [w]}\n"
        "target: {writer: parquet, path: out}\n"
        "schema: [{name: n, type: double}]\n"
    )
    project = load_project(tmp_path)
    result = run(bind(project.jobs["numbers"], project))
    assert result.error is None and result.rows_written == 3
    assert [value for name in result.files for value in pq.read_table(name)["n"].to_pylist()] == [1.0, 2.0, 1.5]


def test_what_others_print_meanwhile_is_not_taken_for_an_error_of_such_a_library(
    library: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(library, tmp_path / "plugin.so")
    (tmp_path / "jobs").mkdir()
    (tmp_path / "dativo.yaml").write_text("jobs: jobs/*.yaml\n")
    for name, mode in (("ends", "x"), ("fails", "p")):
        (tmp_path / f"jobs/{name}.yaml").write_text(
            f"source: {{reader: 'plugin.so:create_reader', objects: [{mode}]}}\n"
            f"target: {{writer: parquet, path: {name}}}\n"
        )
    project = load_project(tmp_path)
    done = threading.Event()

    def print_on() -> None:
        while not done.wait(0.0001):
            os.write(2, b"something else\n")

    noise = threading.Thread(target=print_on)
    noise.start()
    try:
        errors = [run(bind(project.jobs[name], project)).error for name in ("ends", "fails")]
    finally:
        done.set()
        noise.join()
    assert errors[0] is None
    assert errors[1] is not None and errors[1].message.endswith("extract_batch gave nothing: disk on fire")
    assert "something else" in capfd.readouterr().err
