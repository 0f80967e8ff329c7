from __future__ import annotations

import subprocess
import sys
import threading
import time
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dativo_plugin_sdk import (
    CancelledError,
    ConfigurationError,
    Incremental,
    ReadRequest,
    SourceConfig,
    Upstream,
    ValidationError,
)
from dativo_plugin_sdk.arrow import type_name
from dativo_plugin_sdk.cursor_values import CursorValues

from dativo_assets.readers.sql import SqlReader, column_lineage


def reader(query: str, *upstream: Upstream, **more: Any) -> SqlReader:
    return SqlReader(
        SourceConfig(query=query, reader="sql", upstream={table.name: table for table in upstream}, **more)
    )


def read(query: str, *upstream: Upstream, request: ReadRequest | None = None) -> pa.Table:
    made = reader(query, *upstream)
    plan = made.plan(request or ReadRequest())
    return pa.Table.from_batches([batch for split in plan.splits for batch in made.read(split)], plan.schema)


@pytest.fixture
def numbers(tmp_path: Path) -> Upstream:
    """A table `air-lines` of two committed files; a third file is there and not committed."""
    files = []
    for index in range(3):
        files.append(str(tmp_path / f"it's {index}.parquet"))
        pq.write_table(pa.table({"k": [index], "s": [str(index)]}), files[-1])
    return Upstream(
        name="air-lines", format="parquet", files=tuple(files[:2]), schema_text={"k": "int64", "s": "string"}
    )


def test_a_query_sees_the_committed_files_alone(numbers: Upstream) -> None:
    query = 'select k, upper(s) as s from "air-lines" order by k;  -- all'
    assert read(query, numbers).to_pydict() == {"k": [0, 1], "s": ["0", "1"]}
    assert read(query, numbers, request=ReadRequest(columns=("s",), limit=1)).to_pydict() == {"s": ["0"]}


def test_an_upstream_without_files_is_an_empty_table() -> None:
    empty = Upstream(name="e", format="parquet", schema_text={"k": "int64", "d": "decimal(9, 2)"})
    assert read("select k, d from e", empty).schema == pa.schema({"k": pa.int64(), "d": pa.decimal128(9, 2)})
    with pytest.raises(ValidationError, match="no files and no schema"):
        read("select 1", Upstream(name="e", format="parquet"))


@pytest.mark.parametrize(
    ("query", "message", "line"),
    [
        ("select *\nfrom nope", "nope", 2),
        ('select k,\n zz from "air-lines"', "zz", 2),
        ("select 1\n+ selec", "selec", 2),
        ("select 1; select 2", "2 statements", None),
        ("create table x as select 1", "must be one SELECT", None),
        ("copy (select 1) to '/tmp/nope.csv'", "must be one SELECT", None),
        ("attach '/tmp/nope.db'", "must be one SELECT", None),
        ("set threads = 9", "must be one SELECT", None),
        ("select * from read_text('/etc/hostname')", "disabled by configuration", None),
        ("select * from '/etc/passwd'", "disabled|does not exist", None),
        ("select * from glob('/etc/*')", "disabled by configuration", None),
        ("select * from read_csv('https://localhost/x.csv')", "disabled|httpfs", None),
    ],
)
def test_a_wrong_or_prying_query_is_a_configuration_error(
    numbers: Upstream, query: str, message: str, line: int | None
) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        read(query, numbers)
    assert line is None or caught.value.details["line"] == line
    assert caught.value.hint


def test_an_uncommitted_file_is_out_of_reach(numbers: Upstream) -> None:
    other = numbers.files[0].replace("0.parquet", "2.parquet").replace("'", "''")
    with pytest.raises(ConfigurationError, match="disabled by configuration"):
        read(f"select * from read_parquet('{other}')", numbers)


def test_a_value_that_can_not_be_cast_is_a_validation_error(numbers: Upstream) -> None:
    with pytest.raises(ValidationError, match="Could not convert") as caught:
        read("select k,\n cast('x' || s as int) from \"air-lines\"", numbers)
    assert caught.value.details["line"] == 2


def test_a_result_streams_in_bounded_memory() -> None:
    code = """
import resource
from dativo_assets.readers.sql import SqlReader
from dativo_plugin_sdk import ReadRequest, SourceConfig
import pyarrow, duckdb
reader = SqlReader(SourceConfig(query="select range as a, hash(range) as h from range(20000000)", reader="sql"))
plan = reader.plan(ReadRequest())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = sum(batch.num_rows for batch in reader.read(plan.splits[0]))
print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout.split()
    assert int(out[0]) == 20_000_000
    assert int(out[1]) < 150_000  # KiB; the result is 320 MB


def test_cancel_interrupts_a_running_query() -> None:
    made = reader("select count(*) from range(1000000000000) t where hash(t.range) % 7 = 3")
    plan = made.plan(ReadRequest())
    timer = threading.Timer(0.3, made.cancel)
    timer.start()
    start = time.monotonic()
    with pytest.raises(CancelledError):
        list(made.read(plan.splits[0]))
    assert time.monotonic() - start < 10
    timer.join()


def test_a_snapshot_is_read_again_when_an_upstream_has_a_new_commit(numbers: Upstream) -> None:
    def made(seq: int) -> SqlReader:
        table = numbers.model_copy(update={"seq": seq})
        return reader('select * from "air-lines"', table, incremental=Incremental(strategy="snapshot"))

    cursor = made(1).plan(ReadRequest()).cursor
    assert cursor is not None
    assert made(1).plan(ReadRequest(cursor=cursor)).unchanged
    assert made(1).probe(cursor) is None
    assert not made(2).plan(ReadRequest(cursor=cursor)).unchanged
    assert made(2).probe(cursor) == "air-lines:2"


@pytest.mark.parametrize(
    ("column", "low", "kept"),
    [
        ("k::BIGINT", pa.scalar(3, pa.int64()), [None, 3, 4]),
        ("k::INTEGER", pa.scalar(3, pa.int32()), [None, 3, 4]),
        ("k::DOUBLE", pa.scalar(2.5), [None, 3, 4]),
        ("s", pa.scalar("c"), [None, 3, 4]),
        ("d", pa.scalar(date(2024, 1, 3)), [None, 3, 4]),
        ("d::TIMESTAMP", pa.scalar(datetime(2024, 1, 3), pa.timestamp("us")), [None, 3, 4]),
        ("d::TIMESTAMP_NS", pa.scalar(1704240000000000001, pa.timestamp("ns")), [None, 4]),
        ("d::TIMESTAMPTZ", pa.scalar(datetime(2024, 1, 3), pa.timestamp("us", "UTC")), [None, 3, 4]),
    ],
)
def test_rows_below_the_cursor_are_left_out_by_the_query(column: str, low: Any, kept: list[int | None]) -> None:
    values = ", ".join(f"({n}, '{'abcd'[n - 1]}', DATE '2024-01-0{n}')" for n in range(1, 5))
    query = f'SELECT k AS id, {column} AS "At" FROM (VALUES {values}, (NULL, NULL, NULL)) t(k, s, d)'
    stored = CursorValues("At", low.type).store(low)
    request = ReadRequest(cursor={"field": "At", "type": type_name(low.type), "value": stored})
    for strategy, expected in (("append", kept), ("updated_at", kept), ("full_refresh", [None, 1, 2, 3, 4])):
        made = reader(query, incremental=Incremental(strategy=strategy, cursor_field="At"))  # type: ignore[arg-type]
        plan = made.plan(request)
        rows = [batch.to_pydict()["id"] for split in plan.splits for batch in made.read(split)]
        assert sorted((n for some in rows for n in some), key=lambda n: n or 0) == expected


def test_column_lineage_goes_through_ctes_joins_unions_and_stars() -> None:
    query = """
        with x as (
            select f.origin, avg(f.delay + a.extra) as d, count(*) as n
            from flights f join "air-lines" a using (carrier) group by all
        )
        select *, upper(origin) as o, 1 as one from x union all select name, 1, 2, carrier, 3 from "air-lines"
    """
    schemas = {
        "flights": {"origin": "string", "delay": "float64", "carrier": "string"},
        "air-lines": {"carrier": "string", "name": "string", "extra": "float64"},
    }
    assert column_lineage(query, schemas) == {
        "origin": [("air-lines", "name"), ("flights", "origin")],
        "d": [("air-lines", "extra"), ("flights", "delay")],
        "n": [],
        "o": [("air-lines", "carrier"), ("flights", "origin")],
        "one": [],
    }


def test_lineage_of_a_query_it_can_not_read_is_empty() -> None:
    assert column_lineage("selec * frm", {"f": {"a": "int64"}}) == {}
    assert column_lineage("create table x as select 1", {}) == {}


def test_lineage_imports_neither_arrow_nor_duckdb() -> None:
    code = "import sys, dativo_assets.readers.sql as m; m.column_lineage('select a from f', {'f': {'a': 'int64'}}); "
    code += "print(sorted({'pyarrow', 'duckdb', 'dagster'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout.strip() == b"[]"
