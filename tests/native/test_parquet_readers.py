"""Other readers find in the files of `rust_parquet` what was written: each type, shape and null pattern; pages skipped too."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import fastparquet
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from dativo_rust_parquet._native import Sink

ROWS = 9_000
FLOATS = [float("nan"), -0.0, 0.0, float("inf"), float("-inf"), 1e-300, -1.5]
SHAPES: dict[str, Callable[[int], int]] = {
    "constant": lambda row: 5,
    "ascending": lambda row: row * 3,
    "few": lambda row: row * row % 11,
    "runs": lambda row: row // 200 % 4,
    "many": lambda row: row * 2_654_435_761 % 1_000_003,
    "extreme": lambda row: (row * 11_400_714_819_323_198_485) % 2**63 * (-1) ** row,
}
HOLES: dict[str, Callable[[int], bool]] = {
    "none": lambda row: False,
    "all": lambda row: True,
    "every third": lambda row: row % 3 == 0,
    "blocks": lambda row: row // 500 % 2 == 0,
}


DAY = dt.date(1970, 1, 1)
COLUMNS: dict[str, tuple[pa.DataType, Callable[[int], Any]]] = {
    "i8": (pa.int8(), lambda seed: seed % 256 - 128),
    "u16": (pa.uint16(), lambda seed: seed % 65_536),
    "i32": (pa.int32(), lambda seed: seed % 2**32 - 2**31),
    "u32": (pa.uint32(), lambda seed: seed % 2**32),
    "i64": (pa.int64(), lambda seed: seed),
    "u64": (pa.uint64(), lambda seed: seed % 2**64),
    "f32": (pa.float32(), lambda seed: FLOATS[seed % 7] if seed % 2 else seed % 10_000 / 8),
    "f64": (pa.float64(), lambda seed: FLOATS[seed % 7] if seed % 3 else seed % 10_000 / 100),
    "bool": (pa.bool_(), lambda seed: seed % 2 == 0),
    "text": (pa.string(), lambda seed: "é" * (seed % 40) + str(seed) if seed % 5 else ""),
    "view": (pa.string_view(), lambda seed: f"a start in common {seed}"),
    "bytes": (pa.binary(), lambda seed: bytes([seed % 256, 0, 255]) * (seed % 9)),
    "date": (pa.date32(), lambda seed: DAY + dt.timedelta(seed % 40_000)),
    "time": (pa.time64("us"), lambda seed: seed % 86_400_000_000),
    "stamp": (pa.timestamp("us"), lambda seed: seed % 2**50),
    "zoned": (pa.timestamp("ms", "UTC"), lambda seed: seed % 2**40),
    "money": (pa.decimal128(11, 2), lambda seed: Decimal(seed % 10**9) / 100),
    "wide": (pa.decimal128(38, 0), Decimal),
}


def table(shape: str, holes: str) -> pa.Table:
    seeds = [SHAPES[shape](row) for row in range(ROWS)]
    missing = [HOLES[holes](row) for row in range(ROWS)]
    columns = {
        name: pa.array([None if gone else value(seed) for seed, gone in zip(seeds, missing, strict=True)], kind)
        for name, (kind, value) in COLUMNS.items()
    }
    return pa.table(columns | {"row": pa.array(range(ROWS))})


def written(path: Path, rows: pa.Table, **options: Any) -> str:
    sink = Sink(str(path), rows.schema, json.dumps({"compression": "snappy", "page_rows": 2000} | options))
    sink.write_stream(rows)
    sink.finish()
    return str(path)


def plain(rows: pa.Table) -> list[list[Any]]:
    """Values as Python has them; NaN is nan, and zeros keep their sign."""

    def value(found: Any) -> Any:
        return repr(found) if isinstance(found, float) else found

    return [[value(found) for found in column.to_pylist()] for column in rows.columns]


def same(found: pa.Table, wanted: pa.Table) -> None:
    for name, one, other in zip(wanted.column_names, plain(found), plain(wanted), strict=True):
        assert one == other, name


@pytest.mark.parametrize("holes", HOLES)
@pytest.mark.parametrize("shape", SHAPES)
def test_pyarrow_duckdb_and_polars_read_every_value(tmp_path: Path, shape: str, holes: str) -> None:
    wanted = table(shape, holes)
    path = written(tmp_path / "x.parquet", wanted)
    assert pq.read_table(path).schema.equals(wanted.schema)
    same(pq.read_table(path), wanted)
    same(pl.read_parquet(path).to_arrow(), wanted)
    with duckdb.connect() as database:
        database.execute("set timezone = 'UTC'")
        same(database.sql(f"from '{path}' order by row").to_arrow_table(), wanted)


@pytest.mark.parametrize("shape", SHAPES)
def test_filters_that_use_statistics_find_the_same_rows(tmp_path: Path, shape: str) -> None:
    wanted = table(shape, "every third").drop_columns(["view"])  # which pyarrow cannot filter
    path = written(tmp_path / "x.parquet", wanted, row_group_rows=4000)
    with duckdb.connect() as database:
        for name in ("i32", "u32", "i64", "u64", "f64", "text", "bytes", "date", "stamp", "money"):
            sought = next(value for value in wanted[name].to_pylist() if value is not None)
            if isinstance(sought, float) and math.isnan(sought):
                continue
            rows = sum(value == sought for value in wanted[name].to_pylist())
            found = database.execute(f"select count(*) from '{path}' where {name} = ?", [sought]).fetchone()
            assert found == (rows,), name
            assert pl.scan_parquet(path).filter(pl.col(name) == sought).collect().height == rows, name
            expression = ds.field(name) == pa.scalar(sought, wanted.schema.field(name).type)
            assert pq.read_table(path, filters=expression).num_rows == rows, name


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves its file open
@pytest.mark.parametrize("holes", HOLES)
@pytest.mark.parametrize("shape", SHAPES)
def test_fastparquet_reads_legacy_files(tmp_path: Path, shape: str, holes: str) -> None:
    wanted = table(shape, holes)
    path = written(tmp_path / "x.parquet", wanted, compatibility="legacy")
    frame = fastparquet.ParquetFile(path).to_pandas()
    for name in wanted.column_names:
        found = pa.Array.from_pandas(frame[name])
        expected = wanted[name].combine_chunks()
        if pa.types.is_timestamp(expected.type):
            expected = expected.cast(pa.timestamp(expected.type.unit))  # it knows of no zones
        if pa.types.is_time(expected.type):
            found, expected = found.cast(pa.int64()), expected.cast(pa.int64())  # durations since midnight
        if pa.types.is_decimal(expected.type):  # it makes floats of them
            units = 10.0**expected.type.scale
            found, expected = (pc.round(pc.multiply(rows.cast(pa.float64()), units)) for rows in (found, expected))
        if pa.types.is_floating(expected.type):
            expected = pa.Array.from_pandas(expected.to_pandas())  # to pandas, NaN and null are one
        assert plain(pa.table([found.cast(expected.type)], ["x"])) == plain(pa.table([expected], ["x"])), name
