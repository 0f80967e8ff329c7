"""`rust_parquet` as Python sees it: its files read back equal, its faults are errors of the tree."""

from __future__ import annotations

import ctypes
import datetime as dt
import decimal
import json
import struct
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dativo_plugin_sdk import (
    API_VERSION,
    AssetDefinition,
    Commit,
    DativoError,
    NativeSink,
    ParquetDirectoryOptions,
    PluginError,
    TargetConfig,
    WriteRequest,
)
from dativo_plugin_sdk.library.abi import ArrowArray, ArrowSchema
from dativo_plugin_sdk.models import WriteTask
from dativo_rust_parquet import RustParquetOptions, RustParquetWriter
from dativo_rust_parquet._native import Sink

from tests.sdk.lies import Lying

DAY = dt.datetime(2024, 1, 2, 3, 4, 5, 6)
COLUMNS = {
    "i8": pa.array([1, None, -3], pa.int8()),
    "u64": pa.array([1, None, 2**64 - 1], pa.uint64()),
    "f32": pa.array([1.5, None, float("inf")], pa.float32()),
    "f64": pa.array([-0.0, None, 1e-300]),
    "bool": pa.array([True, None, False]),
    "text": pa.array(["", None, "é€"]),
    "large": pa.array(["x", None, "y"], pa.large_string()),
    "view": pa.array(["short", None, "longer than twelve bytes"], pa.string_view()),
    "bytes": pa.array([b"", None, b"\x00\xff"]),
    "date": pa.array([DAY.date(), None, dt.date(1, 1, 1)]),
    "time": pa.array([DAY.time(), None, dt.time(0)], pa.time64("us")),
    "naive": pa.array([DAY, None, DAY], pa.timestamp("us")),
    "zoned": pa.array([DAY, None, DAY], pa.timestamp("ms", "UTC")),
    "money": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("-9.99")], pa.decimal128(10, 2)),
    "list": pa.array([[1, None], None, []], pa.list_(pa.int64())),
    "struct": pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}]),
    "dict": pa.array(["a", None, "a"]).dictionary_encode(),
}


def write(path: Path, table: pa.Table, **options: Any) -> dict[str, Any]:
    sink = Sink(str(path), table.schema, json.dumps(options))
    assert sink.write_stream(table) == table.num_rows
    value: dict[str, Any] = json.loads(sink.finish())
    return value


def test_it_is_found_by_its_entry_point() -> None:
    (found,) = entry_points(group="dativo.writers", name="rust_parquet")
    assert found.load() is RustParquetWriter


def test_it_says_what_it_is_and_takes_what_its_model_declares() -> None:
    about = json.loads(Sink.describe())
    assert (about["kind"], about["name"], about["extension"]) == ("file_format", "rust_parquet", "parquet")
    assert about["api_version"] == API_VERSION
    assert set(about["options_schema"]["properties"]) == {
        name for name in RustParquetOptions.model_fields if name not in ParquetDirectoryOptions.model_fields
    }


@pytest.mark.parametrize("compression", ["zstd", "snappy", "lz4_raw", "gzip", "none"])
@pytest.mark.parametrize("compatibility", ["modern", "legacy"])
def test_every_type_reads_back_equal(tmp_path: Path, compression: str, compatibility: str) -> None:
    table = pa.table(COLUMNS)
    info = write(tmp_path / "a.parquet", table, compression=compression, compatibility=compatibility)
    assert (info["rows"], info["row_groups"]) == (3, 1)
    assert info["bytes"] == (tmp_path / "a.parquet").stat().st_size
    assert pq.read_table(tmp_path / "a.parquet").to_pylist() == table.to_pylist()


@pytest.mark.parametrize("compatibility", ["modern", "legacy"])
def test_independent_readers_agree(tmp_path: Path, compatibility: str) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"id": range(300_000), "name": [f"name {i % 1000}" if i % 7 else None for i in range(300_000)]})
    info = write(path, table, compatibility=compatibility)
    assert info["row_groups"] == 3
    assert pl.read_parquet(path).equals(pl.DataFrame(table))
    found = duckdb.sql(f"select count(*), sum(id), count(name), min(name) from '{path}' where id >= 150000").fetchall()
    tail = pl.DataFrame(table).filter(pl.col("id") >= 150_000)
    assert found == [(150_000, tail["id"].sum(), tail["name"].count(), tail["name"].min())]


def test_the_footer_says_who_wrote_it_and_what_it_was_told(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", pa.table({"a": [1]}), metadata={"contract": "v1"})
    footer = pq.ParquetFile(tmp_path / "a.parquet").metadata
    assert footer.created_by.startswith("dativo")
    assert footer.metadata[b"contract"] == b"v1"


def test_no_rows_make_a_file_with_a_schema(tmp_path: Path) -> None:
    empty = pa.table(COLUMNS).slice(0, 0)
    assert write(tmp_path / "a.parquet", empty)["rows"] == 0
    assert pq.read_table(tmp_path / "a.parquet").num_rows == 0


def test_faults_are_errors_of_the_tree(tmp_path: Path) -> None:
    schema = pa.schema([("a", pa.int64())])

    def sink(path: Path, **options: Any) -> NativeSink:
        return NativeSink("rust_parquet", lambda: Sink(str(path), schema, json.dumps(options)))

    with pytest.raises(DativoError) as missing:
        sink(tmp_path / "nowhere" / "a.parquet")
    assert missing.value.error_code == "FILE_NOT_FOUND"
    with pytest.raises(DativoError, match="sandwich"):
        sink(tmp_path / "b.parquet", compression="sandwich")
    mine = sink(tmp_path / "c.parquet")
    with pytest.raises(PluginError, match="schema"):
        mine.write(pa.record_batch({"a": ["text"]}))
    mine.abort()
    assert not list(tmp_path.iterdir())
    with pytest.raises(PluginError, match="finished or aborted"):
        mine.finish()


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()], ids=str)
@pytest.mark.parametrize(
    ("offsets", "text"),
    [
        ([0, 1], b"\xff"),
        ([0, 1, 2], "é".encode()),
        ([0, 2, 1], b"ab"),
        ([1, 0, 2], b"ab"),
    ],
    ids=["no text", "cut in a character", "backwards at the end", "backwards at the start"],
)
def test_a_batch_whose_strings_are_no_text_is_refused(
    tmp_path: Path, kind: pa.DataType, offsets: list[int], text: bytes
) -> None:
    places = pa.array(offsets, pa.int32() if kind == pa.string() else pa.int64()).buffers()[1]
    lie = pa.Array.from_buffers(kind, len(offsets) - 1, [None, places, pa.py_buffer(text)])
    sink = Sink(str(tmp_path / "a.parquet"), pa.schema([("a", kind)]), "{}")
    with pytest.raises(RuntimeError, match=r"(?i)utf|offset"):
        sink.write(pa.record_batch({"a": lie}))
    with pytest.raises(RuntimeError, match=r"(?i)utf|offset"):
        sink.write_stream(pa.table({"a": lie}))
    sink.abort()


class Foreign:
    """A batch and its schema as C structs of somebody else's making."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.schema, self.array = Lying(batch.schema, ArrowSchema, None), Lying(batch, ArrowArray, None)
        self.column: ArrowArray = self.array.root.children[0].contents

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[Any, Any]:
        return _capsule(self.schema, b"arrow_schema"), _capsule(self.array, b"arrow_array")

    def undo(self) -> None:
        assert (self.schema.released, self.array.released) == (1, 1), "what was taken is released, once"
        self.schema.undo()
        self.array.undo()


def _capsule(lying: Lying, name: bytes) -> Any:
    make = ctypes.pythonapi.PyCapsule_New
    make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    return make(ctypes.addressof(lying.root), name, None)


_TEXTS = pa.array(["a", None, "ccc"])


@pytest.mark.parametrize(
    ("column", "lie", "message"),
    [
        (_TEXTS, {"length": -2}, "it has length -2 and offset 0"),
        (_TEXTS, {"offset": 2**40}, "it has length 3 and offset 1099511627776"),
        (_TEXTS, {"n_buffers": 2}, "Utf8 has 3 buffers, not 2"),
        (_TEXTS, {"n_buffers": -1}, "Utf8 has 3 buffers, not -1"),
        (_TEXTS, {"n_children": -1}, "it has -1 children, not 0"),
        (_TEXTS, {"buffers": None}, "Utf8 has 3 buffers"),
        (pa.array([[1], None, [2]]), {"children": None}, "a child is NULL"),
        (_TEXTS.dictionary_encode(), {"dictionary": None}, "its dictionary is NULL"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_an_array_that_lies_about_its_form_is_refused(
    tmp_path: Path, column: pa.Array, lie: dict[str, Any], message: str
) -> None:
    batch = pa.record_batch({"a": column})
    sink = Sink(str(tmp_path / "a.parquet"), batch.schema, "{}")
    foreign = Foreign(batch)
    for name, value in lie.items():
        kind = dict(ArrowArray._fields_)[name]
        setattr(foreign.column, name, kind() if value is None else value)
    with pytest.raises(RuntimeError, match=message):
        sink.write(foreign)
    foreign.undo()
    sink.abort()


@pytest.mark.parametrize("end", [-1, -(2**31)])
def test_texts_that_end_before_they_begin_are_refused(tmp_path: Path, end: int) -> None:
    places = bytearray(struct.pack("=3i", 0, 1, 1))
    texts = pa.Array.from_buffers(pa.string(), 2, [None, pa.py_buffer(places), pa.py_buffer(b"a")])
    batch = pa.record_batch({"a": texts})
    places[8:] = struct.pack("=i", end)
    sink = Sink(str(tmp_path / "a.parquet"), batch.schema, "{}")
    with pytest.raises(RuntimeError, match=f"its values end at {end}"):
        sink.write(batch)
    sink.abort()


@pytest.mark.parametrize(
    ("lie", "message"), [({"format": None}, "a format is NULL"), ({"n_children": -2}, "it has -2 children")], ids=str
)
def test_a_schema_that_lies_is_refused(tmp_path: Path, lie: dict[str, Any], message: str) -> None:
    foreign = Foreign(pa.record_batch({"a": _TEXTS}))
    sink = Sink(str(tmp_path / "a.parquet"), pa.schema([("a", pa.string())]), "{}")
    for name, value in lie.items():
        setattr(foreign.schema.root, name, value)
    with pytest.raises(RuntimeError, match=message):
        sink.write(foreign)
    foreign.undo()
    sink.abort()


def test_slices_of_texts_are_looked_at_where_they_are(tmp_path: Path) -> None:
    texts = pa.array(["é", "plain", "", None, "x" * 40, "ü"])
    for start in range(6):
        table = pa.table({"a": texts.slice(start), "b": texts.slice(start).cast(pa.large_string())})
        write(tmp_path / f"{start}.parquet", table)
        assert pq.read_table(tmp_path / f"{start}.parquet").equals(table)


def test_texts_like_the_one_before_read_back_equal(tmp_path: Path) -> None:
    mails = [f"user{number}@mail{number * 7919 % 50}.example" for number in range(99_000, 131_000)]
    mails[500:600] = [""] * 50 + ["x" * 300] * 50
    table = pa.table({"mail": mails, "some": [mail if len(mail) % 3 else None for mail in mails]})
    done = write(tmp_path / "a.parquet", table, compression="zstd", row_group_rows=10_000)
    assert done["bytes"] < 13 * len(mails)
    assert pq.read_table(tmp_path / "a.parquet").equals(table)
    assert pl.read_parquet(tmp_path / "a.parquet").to_arrow().cast(table.schema).equals(table)
    assert duckdb.sql(f"SELECT * FROM '{tmp_path}/a.parquet'").to_arrow_table().equals(table)


def test_a_directory_is_committed_with_native_files(tmp_path: Path) -> None:
    config = TargetConfig(job="j", writer="rust_parquet", path=str(tmp_path / "t"), options={"compression": "snappy"})
    writer = RustParquetWriter(AssetDefinition(name="j"), config)
    batch = pa.record_batch({"a": [1, 2]})
    writer.open(WriteRequest(job="j", run_id="r1", base_seq=0, schema=batch.schema))
    worker = writer.writer(WriteTask(index=0, schema=batch.schema))
    worker.write(batch)
    writer.commit(worker.finish(), Commit(job="j", seq=1, run_id="r1", rows_written=2))
    writer.close()
    (file,) = writer.table.files()
    assert pq.read_table(file).to_pydict() == {"a": [1, 2]}


def test_the_memory_granted_bounds_a_row_group(tmp_path: Path) -> None:
    table = pa.table({"a": [f"text number {n}" for n in range(100_000)]})
    groups = []
    for name, context in (("small", '{"memory_bytes": 100000}'), ("large", "{}")):
        sink = Sink(str(tmp_path / name), table.schema, '{"compression": "none"}', context)
        sink.write_stream(table)
        groups.append(json.loads(sink.finish())["row_groups"])
    assert groups[1] == 1 < groups[0]


def test_a_file_ends_once_it_is_large_enough(tmp_path: Path) -> None:
    table = pa.table({"id": range(100_000), "text": [f"{number * 7919 % 100_000:x}" for number in range(100_000)]})
    options = {"target_file_bytes": 100_000, "sorted_by": [{"column": "id"}]}
    target = TargetConfig(root=str(tmp_path), path="t", writer="rust_parquet", options=options)
    writer = RustParquetWriter(AssetDefinition(name="t"), target)
    writer.open(WriteRequest("j", "r1", 0))
    split = writer.writer(WriteTask(0, schema=table.schema))
    for batch in table.to_batches(max_chunksize=5_000):
        split.write(batch)
    done = split.finish()
    writer.commit(done, Commit(job="j", seq=1, run_id="r1"))
    writer.close()
    snapshot = writer.snapshot()
    assert snapshot is not None
    files = sorted(map(Path, snapshot.files))
    assert len(files) > 2
    assert all(100_000 <= file.stat().st_size < 200_000 for file in files[:-1])
    assert pa.concat_tables(pq.read_table(file) for file in files).equals(table)
    for file in files:
        assert pq.ParquetFile(file).metadata.row_group(0).sorting_columns == (pq.SortingColumn(0),)
