"""A writer in a shared library that does its own commit, driven by the conformance suite and by hand."""

from __future__ import annotations

import ctypes
import gc
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from dativo_plugin_sdk import (
    AssetDefinition,
    PluginError,
    TargetConfig,
    WriteRequest,
    WriteTask,
)
from dativo_plugin_sdk.library import load_library, open_library
from dativo_plugin_sdk.testing import WriterConformance, run_suite

from .libraries import compiled

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("memory") / "memory.so"
    return compiled(Path(__file__).with_name("memory.c"), target, "-shared", "-fPIC", "-O1", "-pthread")


def loaded(path: Path, symbol: str) -> Any:
    return load_library("writer", open_library(str(path), symbol), symbol, f"memory.so:{symbol}")


def test_a_writer_with_its_own_commit_conforms(path: Path) -> None:
    body = {"writer": loaded(path, "memory"), "broken_target": {"path": "forbidden"}}
    report = run_suite(type("Suite", (WriterConformance,), body), "memory")
    assert report.passed, report.to_markdown()
    gc.collect()
    assert ctypes.CDLL(str(path)).left_behind() == 0


def test_what_about_says_becomes_the_classes(path: Path) -> None:
    memory, merging = loaded(path, "memory"), loaded(path, "merging")
    assert (memory.modes, memory.needs_path, memory.quarantines) == ({"append", "overwrite"}, True, False)
    assert (merging.modes, merging.needs_path, merging.quarantines) == ({"merge"}, False, True)
    with pytest.raises(PluginError, match="its modes are"):
        loaded(path, "odd_mode")
    with pytest.raises(PluginError, match="is a writer, no reader"):
        load_library("reader", open_library(str(path), "memory"), "memory", "memory.so:memory")


def test_a_split_writer_outlives_nothing_and_takes_its_own_columns_alone(path: Path, tmp_path: Path) -> None:
    writer = loaded(path, "memory")(AssetDefinition(name="a"), TargetConfig(root=str(tmp_path), path="p"))
    schema = pa.schema([("n", pa.int64())])
    writer.open(WriteRequest("job", "run", 0, schema=schema))
    split = writer.writer(WriteTask(0, "data", schema))
    library = ctypes.CDLL(str(path))
    del writer
    gc.collect()
    assert library.left_behind() == 2, "the writer stays as long as its split writer"
    with pytest.raises(PluginError, match="other columns"):
        split.write(pa.record_batch({"m": [1]}))
    split.write(pa.record_batch({"n": [1, 2]}, schema=schema))
    (done,) = split.finish()
    assert (done.rows, done.payload) == (2, {"from": "c"})
    with pytest.raises(PluginError, match="finished or given up"):
        split.write(pa.record_batch({"n": [1]}, schema=schema))
    assert library.left_behind() == 0
