"""Every type that Arrow has: in the file with its values, for strangers too, or refused by the column's name."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dativo_plugin_sdk import ConfigurationError, NativeSink, ValidationError
from dativo_rust_parquet._native import Sink

DAY = dt.date(2020, 1, 1)
SECONDS = pa.timestamp("s", "Europe/Zurich")
MONEY = [Decimal("1.50"), None, Decimal("-2.00")]
UNION = pa.UnionArray.from_sparse(pa.array([0, 1, 0], pa.int8()), [pa.array([1, 2, 3]), pa.array(["a", "b", "c"])])
COLUMNS: dict[str, pa.Array] = {
    "null": pa.nulls(3),
    "half": pa.array([1.5, None, -0.0], pa.float16()),
    "decimal32": pa.array(MONEY, pa.decimal32(9, 2)),
    "decimal64": pa.array(MONEY, pa.decimal64(18, 2)),
    "decimal256": pa.array(MONEY, pa.decimal256(60, 2)),
    "fixed bytes": pa.array([b"abc", None, b"xyz"], pa.binary(3)),
    "large bytes": pa.array([b"a", None, b""], pa.large_binary()),
    "bytes view": pa.array([b"short", None, b"longer than twelve bytes"], pa.binary_view()),
    "text view": pa.array(["short", None, "longer than twelve bytes"], pa.string_view()),
    "date64": pa.array([DAY, None, dt.date(1, 1, 1)], pa.date64()),
    "time s": pa.array([1, None, 86_399], pa.time32("s")),
    "time ms": pa.array([1, None, 2], pa.time32("ms")),
    "time ns": pa.array([1, None, 2000], pa.time64("ns")),
    "seconds": pa.array([1, None, -62_135_596_800], pa.timestamp("s")),
    "zoned seconds": pa.array([1, None, 1_600_000_000], SECONDS),
    "nanoseconds": pa.array([1000, None, 2000], pa.timestamp("ns")),
    **{f"duration {unit}": pa.array([1000, None, 2000], pa.duration(unit)) for unit in ("s", "ms", "us", "ns")},
    "list": pa.array([[1, None], None, []]),
    "large list": pa.array([[1, None], None, []], pa.large_list(pa.int8())),
    "list view": pa.array([[1, None], None, []], pa.list_view(pa.int8())),
    "fixed list": pa.array([[1, 2], None, [3, None]], pa.list_(pa.int64(), 2)),
    "map": pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int64())),
    "struct": pa.array([{"a": 1, "b": [{"c": "x"}]}, None, {"a": None, "b": None}]),
    "seconds in a list": pa.array([[dt.datetime(2020, 1, 1)], None, [None]], pa.list_(pa.timestamp("s"))),
    "seconds in a struct": pa.array(
        [{"at": 1, "day": DAY}, None, {"at": None, "day": None}],
        pa.struct([("at", pa.time32("s")), ("day", pa.date64())]),
    ),
    "dictionary": pa.array(["a", None, "b"]).dictionary_encode(),
    "dictionary of numbers": pa.array([10, None, 20]).dictionary_encode(),
    "dictionary of seconds": pa.array([10, None, 20], pa.timestamp("s")).dictionary_encode(),
    "runs": pa.RunEndEncodedArray.from_arrays(pa.array([1, 3], pa.int32()), pa.array(["a", None])),
    "uuid": pa.array([b"0123456789abcdef", None, b"fedcba9876543210"], pa.uuid()),
    "json": pa.array(['{"a": 1}', None, "2"], pa.json_()),
}
REFUSED: dict[str, pa.Array] = {
    "union": UNION,
    "dense union": pa.UnionArray.from_dense(
        pa.array([0, 1, 0], pa.int8()), pa.array([0, 0, 1], pa.int32()), [pa.array([1, 2]), pa.array(["b"])]
    ),
    "union in a list": pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), UNION),
    "interval": pa.array([pa.MonthDayNano([1, 2, 3]), None, None]),
    "no fields": pa.array([{}, None, {}], pa.struct([])),
    "tens": pa.array([Decimal(100), None, Decimal(-200)], pa.decimal128(5, -2)),
}


def write(path: Path, table: pa.Table, **options: Any) -> Path:
    sink = NativeSink("rust_parquet", lambda: Sink(str(path), table.schema, json.dumps(options)))
    for batch in table.to_batches():
        sink.write(batch)
    sink.finish()
    return path


@pytest.mark.parametrize("compatibility", ["modern", "legacy"])
def test_every_type_is_read_back_with_its_values(tmp_path: Path, compatibility: str) -> None:
    for name, column in COLUMNS.items():
        for rows in (pa.table({"x": column}), pa.table({"x": column}).slice(1)):
            path = write(tmp_path / f"{name}-{rows.num_rows}.parquet", rows, compatibility=compatibility)
            found = pq.read_table(path)["x"]
            assert found.to_pylist() == rows["x"].to_pylist(), name
            found.validate(full=True)


def test_no_type_becomes_a_bare_number_on_the_way(tmp_path: Path) -> None:
    stored = {"date64": pl.Date, "time s": pl.Time, "seconds": pl.Datetime("ms"), "zoned seconds": None}
    for name, wanted in stored.items():
        path = write(tmp_path / f"{name}.parquet", pa.table({"x": COLUMNS[name]}))
        found = pl.read_parquet(path)["x"]
        assert found.dtype == (wanted or pl.Datetime("ms", "Europe/Zurich")), name
        assert found.to_list() == pl.Series(COLUMNS[name].to_pylist()).cast(found.dtype).to_list(), name


@pytest.mark.parametrize("name", REFUSED)
def test_what_parquet_has_no_type_for_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="column x: Parquet cannot hold") as caught:
        write(tmp_path / "x.parquet", pa.table({"x": REFUSED[name]}))
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_second_beyond_all_milliseconds_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="range of milliseconds"):
        write(tmp_path / "x.parquet", pa.table({"x": pa.array([2**62], pa.timestamp("s"))}))


def test_text_of_more_than_two_gigabytes_is_refused_clearly_or_lands_whole(tmp_path: Path) -> None:
    """A view of one small buffer, a thousand times: gigabytes that no memory holds."""
    piece = "0123456789" * 100_000
    many = pa.DictionaryArray.from_arrays(pa.array([0] * 2200, pa.int32()), pa.array([piece], pa.large_string()))
    path = write(tmp_path / "many.parquet", pa.table({"x": many}))
    assert path.stat().st_size < 2_000_000
    assert pq.ParquetFile(path).metadata.num_rows == 2200


def test_one_value_of_more_than_two_gigabytes_is_refused_clearly(tmp_path: Path) -> None:
    sparse = tmp_path / "zeros"
    length = 2**31 + 10
    with sparse.open("wb") as file:
        file.truncate(length)
    zeros = pa.memory_map(str(sparse)).read_buffer()
    offsets = pa.array([0, length], pa.int64()).buffers()[1]
    huge = pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, zeros])
    with pytest.raises(ValidationError, match="end at 2 GB") as caught:
        write(tmp_path / "x.parquet", pa.table({"x": huge}), compression="none")
    assert (caught.value.error_code, caught.value.details["column"]) == ("VALUE_TOO_LARGE", "x")
