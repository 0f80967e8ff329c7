"""What the writers write, the readers of the same format and strangers read back equal."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dativo_plugin_sdk import (
    AssetDefinition,
    BaseReader,
    Commit,
    DirectoryWriter,
    ReadRequest,
    Snapshot,
    SourceConfig,
    TargetConfig,
    Upstream,
    ValidationError,
    WriteRequest,
    WriteTask,
)
from dativo_plugin_sdk.arrow import schema_text
from hypothesis import given
from hypothesis import strategies as st

from dativo_assets.readers.csv import CsvReader
from dativo_assets.readers.json import JsonReader
from dativo_assets.readers.parquet import ParquetReader
from dativo_assets.readers.sql import SqlReader
from dativo_assets.writers.csv import CsvWriter
from dativo_assets.writers.jsonl import JsonlWriter
from dativo_assets.writers.parquet import ParquetWriter

NEW_YORK = pa.timestamp("ns", "America/New_York")
FLAT = pa.table(
    {
        "i": [1, None, -(2**59)],
        "f": [1.0, float("inf"), None],
        "g": pa.array([0.1, None, 1e30], pa.float32()),
        "s": ["", 'a,"b"\n\r\n;\t|', None],
        "n": ["NA", "007", " x "],
        "d": pa.array([Decimal("1.50"), None, Decimal("-2.00")], pa.decimal128(10, 2)),
        "day": [dt.date(2020, 2, 29), None, dt.date(1, 1, 1)],
        "us": pa.array([dt.datetime(2020, 1, 1, 1, 2, 3, 4), None, dt.datetime(1600, 1, 1)], pa.timestamp("us")),
        "zone": pa.array([1, 1_600_000_000_123_456_789, None], NEW_YORK),
        "b": [True, None, False],
        "t": [dt.time(1, 2, 3, 4), None, dt.time(0)],
    }
)
NESTED = pa.table(
    {
        "l": [[1, None], [], None],
        "st": [{"x": dt.date(2020, 1, 1), "y": [1.5]}, {"x": None, "y": None}, None],
        "bi": [b"\xff\0", b"", None],
        "m": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
        "dict": pa.array(["x", None, "y"]).dictionary_encode(),
    }
)


def write(writer: type[DirectoryWriter], root: Path, table: pa.Table, **options: Any) -> Snapshot:
    made = writer(AssetDefinition(name="t"), TargetConfig(root=str(root), path="t", writer="w", options=options))
    made.open(WriteRequest("j", "r1", 0))
    split = made.writer(WriteTask(0, schema=table.schema))
    try:
        for batch in table.to_batches(max_chunksize=10_000) or [pa.RecordBatch.from_pylist([], table.schema)]:
            split.write(batch)
        done = split.finish()
        assert sum(item.rows for item in done) == table.num_rows
        made.commit(done, Commit(job="j", seq=1, run_id="r1", schema_text=schema_text(table.schema)))
    except BaseException:
        split.abort()
        raise
    finally:
        made.close()
    snapshot = made.snapshot()
    assert snapshot is not None
    return snapshot


def read(reader: type[BaseReader], snapshot: Snapshot, schema: pa.Schema | None, **options: Any) -> pa.Table:
    made = reader(SourceConfig(files=snapshot.files, options=options, reader="r"))
    plan = made.plan(ReadRequest(schema=schema))
    return pa.Table.from_batches([batch for split in plan.splits for batch in made.read(split)], plan.schema)


def query(snapshot: Snapshot) -> pa.Table:
    upstream = Upstream(
        name="t", format=snapshot.format, files=snapshot.files, schema_text=dict(snapshot.schema_text), seq=snapshot.seq
    )
    made = SqlReader(SourceConfig(query="select * from t", upstream={"t": upstream}, reader="sql"))
    plan = made.plan(ReadRequest())
    return pa.Table.from_batches([batch for split in plan.splits for batch in made.read(split)], plan.schema)


@pytest.mark.parametrize("compression", ["zstd", "snappy", "lz4", "gzip", "none"])
def test_parquet_keeps_every_type(tmp_path: Path, compression: str) -> None:
    table = pa.table({**dict(zip(FLAT.schema.names, FLAT.columns, strict=True)), "l": NESTED["l"], "bi": NESTED["bi"]})
    snapshot = write(ParquetWriter, tmp_path, table, compression=compression)
    assert read(ParquetReader, snapshot, None).equals(table)
    assert polars.read_parquet(snapshot.files[0]).height == 3
    assert read(ParquetReader, write(ParquetWriter, tmp_path / "n", NESTED), None).equals(NESTED)


def test_parquet_row_groups_are_full_whatever_the_batches(tmp_path: Path) -> None:
    table = pa.Table.from_batches(
        [pa.record_batch({"a": list(range(start, start + 70))}) for start in range(0, 700, 70)]
    )
    snapshot = write(ParquetWriter, tmp_path, table, row_group_rows=100)
    footer = pq.read_metadata(snapshot.files[0])
    assert [footer.row_group(index).num_rows for index in range(footer.num_row_groups)] == [100] * 7
    assert read(ParquetReader, snapshot, None)["a"].to_pylist() == list(range(700))


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ({}, {}),
        ({"compression": "gzip", "delimiter": "|"}, {}),
        ({"compression": "zstd", "null_value": "NA", "delimiter": "\t"}, {"null_values": ["NA"]}),
        ({"header": False}, {"header": False}),
    ],
)
def test_csv_keeps_every_flat_type(tmp_path: Path, written: dict[str, Any], read_as: dict[str, Any]) -> None:
    assert read(CsvReader, write(CsvWriter, tmp_path, FLAT, **written), FLAT.schema, **read_as).equals(FLAT)


def test_csv_is_inferred_as_it_was_written(tmp_path: Path) -> None:
    table = FLAT.select(["i", "f", "s", "day", "us", "b"])
    assert read(CsvReader, write(CsvWriter, tmp_path, table), None).equals(table)


def test_what_csv_can_not_say_is_refused(tmp_path: Path) -> None:
    for name in ("l", "st", "m", "bi"):
        with pytest.raises(ValidationError, match=f"column '{name}'"):
            write(CsvWriter, tmp_path, NESTED.select([name]))
    with pytest.raises(ValidationError, match="blank line"):
        write(CsvWriter, tmp_path, pa.table({"a": ["x", None]}))
    assert write(CsvWriter, tmp_path, pa.table({"a": ["x", None]}), null_value="NA").rows == 0
    nested = write(CsvWriter, tmp_path / "n", NESTED.select(["l", "st"]), nested="json")
    assert read(CsvReader, nested, None)["l"].to_pylist() == ["[1, null]", "[]", None]


def test_json_lines_keep_what_json_can_say(tmp_path: Path) -> None:
    table = FLAT.drop_columns(["f", "g"])
    rows = read(JsonReader, write(JsonlWriter, tmp_path, table, compression="gzip"), None).to_pylist()
    assert rows[0] == {
        "i": 1,
        "s": "",
        "n": "NA",
        "d": "1.50",
        "day": "2020-02-29",
        "us": "2020-01-01T01:02:03.000004",
        "zone": "1970-01-01T00:00:00.000000001Z",
        "b": True,
        "t": "01:02:03.000004",
    }
    assert rows[1] == {
        **dict.fromkeys(rows[0]),
        "s": 'a,"b"\n\r\n;\t|',
        "n": "007",
        "zone": "2020-09-13T12:26:40.123456789Z",
    }
    lines = Path(write(JsonlWriter, tmp_path / "n", NESTED).files[0]).read_text().splitlines()
    assert json.loads(lines[0]) == {
        "l": [1, None],
        "st": {"x": "2020-01-01", "y": [1.5]},
        "bi": "/wA=",
        "m": {"k": 1},
        "dict": "x",
    }


def test_json_lines_refuse_what_is_not_finite_unless_told(tmp_path: Path) -> None:
    table = pa.table({"a": [1.5, float("nan")], "b": [[1.0], [float("inf")]]})
    with pytest.raises(ValidationError, match="column 'a' holds nan"):
        write(JsonlWriter, tmp_path, table)
    snapshot = write(JsonlWriter, tmp_path, table, not_finite="null")
    assert Path(snapshot.files[0]).read_text() == '{"a":1.5,"b":[1.0]}\n{"a":null,"b":[null]}\n'


@pytest.mark.parametrize("writer", [ParquetWriter, CsvWriter, JsonlWriter])
def test_a_file_ends_once_it_is_large_enough(tmp_path: Path, writer: type[DirectoryWriter]) -> None:
    rows = 100_000
    table = pa.table({"id": range(rows), "text": [f"{number * 7919 % rows:x}" for number in range(rows)]})
    small = {} if writer in (CsvWriter, JsonlWriter) else {"row_group_rows": 10_000}
    snapshot = write(writer, tmp_path, table, target_file_bytes=100_000, **small)
    sizes = sorted(Path(file).stat().st_size for file in snapshot.files)
    assert len(sizes) > 2
    assert all(100_000 <= size < 900_000 for size in sizes[1:]), sizes
    assert query(snapshot).sort_by("id").equals(table)


@pytest.mark.parametrize("writer", [ParquetWriter, CsvWriter, JsonlWriter])
def test_a_query_reads_every_format_equal(tmp_path: Path, writer: type[DirectoryWriter]) -> None:
    table = FLAT.select(["i", "s", "n", "d", "day", "us", "b"])
    assert query(write(writer, tmp_path, table)).equals(table)


@pytest.mark.parametrize(("writer", "reader"), [(ParquetWriter, ParquetReader), (CsvWriter, CsvReader)])
def test_a_table_without_rows_keeps_its_columns(
    tmp_path: Path, writer: type[DirectoryWriter], reader: type[BaseReader]
) -> None:
    snapshot = write(writer, tmp_path, FLAT.slice(0, 0))
    assert read(reader, snapshot, FLAT.schema).schema == FLAT.schema
    strange = (
        duckdb.read_csv(snapshot.files[0], header=True)
        if writer is CsvWriter
        else duckdb.read_parquet(snapshot.files[0])
    )
    assert strange.columns == FLAT.schema.names


_texts = st.lists(st.none() | st.text(st.sampled_from('ab",;\n\r\t |#\\é0'), max_size=5), min_size=1, max_size=20)


@given(texts=_texts, null_value=st.sampled_from(["", "NA", "a"]), delimiter=st.sampled_from(",;|\t"))
def test_any_text_survives_csv(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str | None], null_value: str, delimiter: str
) -> None:
    table = pa.table({"a": pa.array(texts, pa.string()), "b": list(range(len(texts)))})
    snapshot = write(CsvWriter, tmp_path_factory.mktemp("t"), table, null_value=null_value, delimiter=delimiter)
    assert read(CsvReader, snapshot, table.schema, null_values=[null_value], delimiter=delimiter).equals(table)


@given(values=st.lists(st.floats(allow_nan=False), min_size=1, max_size=20))
def test_any_float_survives_csv_to_the_last_bit(tmp_path_factory: pytest.TempPathFactory, values: list[float]) -> None:
    table = pa.table({"a": values})
    found = read(CsvReader, write(CsvWriter, tmp_path_factory.mktemp("t"), table), table.schema)["a"].to_pylist()
    assert list(map(repr, found)) == list(map(repr, values))
