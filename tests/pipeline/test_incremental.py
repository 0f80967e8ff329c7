"""Only what is new is read, and rows at the boundary of two runs are neither lost nor doubled."""

from __future__ import annotations

import json
import os
import sqlite3
import textwrap
from contextlib import closing
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

FILES = """
source:
  reader: csv
  files: [data/*.csv]
  incremental: {strategy: file_modified_time}
target: {writer: parquet, path: out}
"""

CURSOR = """
source:
  reader: csv
  files: [data/*.csv]
  incremental: {strategy: append, cursor_field: at}
target: {writer: parquet, path: out}
"""


def ids(bench: Any) -> list[int]:
    return sorted(row["id"] for row in bench.rows())


def test_a_run_after_no_change_reads_nothing_and_commits_nothing(bench: Any) -> None:
    bench.write("data/a.csv", "id\n1\n2\n")
    bench.job(FILES)
    assert bench.ok().rows_read == 2
    again = bench.ok()
    assert (again.status, again.rows_read, again.commit.seq) == ("unchanged", 0, 1)
    assert ids(bench) == [1, 2]


def test_only_new_files_are_read(bench: Any) -> None:
    bench.write("data/a.csv", "id\n1\n")
    bench.job(FILES)
    bench.ok()
    bench.write("data/b.csv", "id\n2\n3\n")
    result = bench.ok()
    assert (result.rows_read, result.commit.seq) == (2, 2)
    assert ids(bench) == [1, 2, 3]
    assert bench.ok().status == "unchanged"


def test_no_file_yet_is_nothing_new(bench: Any) -> None:
    bench.job(FILES)
    result = bench.ok()
    assert (result.status, result.commit) == ("unchanged", None)


def test_full_refresh_forgets_the_cursor_and_replaces_the_table(bench: Any) -> None:
    bench.write("data/a.csv", "id\n1\n")
    bench.job(FILES)
    bench.ok()
    assert bench.ok(full_refresh=True).rows_read == 1
    assert ids(bench) == [1]
    assert bench.ok().status == "unchanged"


@pytest.mark.parametrize(
    ("first", "second"),
    [("2024-01-01 00:00:00", "2024-01-02 00:00:00"), ("1", "2"), ("2024-01-01", "2024-01-02"), ("1.5", "2.5")],
)
def test_rows_above_the_cursor_are_appended(bench: Any, first: str, second: str) -> None:
    bench.write("data/a.csv", f"id,at\n1,{first}\n2,{first}\n")
    bench.job(CURSOR)
    bench.ok()
    bench.write("data/a.csv", f"id,at\n1,{first}\n2,{first}\n3,{second}\n")
    result = bench.ok()
    assert (result.rows_read, result.rows_written, result.rows_skipped) == (1, 1, 2)
    assert ids(bench) == [1, 2, 3]


def test_equal_cursor_values_across_a_boundary_are_neither_lost_nor_doubled(bench: Any) -> None:
    bench.write("data/a.csv", "id,at\n1,5\n2,5\n2,5\n")
    bench.job(CURSOR)
    bench.ok()
    bench.write("data/a.csv", "id,at\n1,5\n2,5\n2,5\n2,5\n3,5\n0,4\n")
    bench.ok()
    assert ids(bench) == [1, 2, 2, 2, 3], "a row below the cursor stays out; a third equal row is new"


def test_lookback_reads_again_without_doubling(bench: Any) -> None:
    bench.write("data/a.csv", "id,at\n1,2024-01-01T00:00:00\n2,2024-01-03T00:00:00\n")
    bench.job(CURSOR.replace("cursor_field: at", "cursor_field: at, lookback: 1d"))
    bench.ok()
    late = "id,at\n1,2024-01-01T00:00:00\n2,2024-01-03T00:00:00\n9,2024-01-02T12:00:00\n8,2024-01-01T12:00:00\n"
    bench.write("data/a.csv", late)
    bench.ok()
    assert ids(bench) == [1, 2, 9], "late rows inside the lookback land, older ones do not"


def test_row_groups_below_the_cursor_are_not_read_and_nulls_are_met_all_the_same(bench: Any) -> None:
    def write(*at: int | None) -> None:
        table = pa.table({"id": range(len(at)), "at": pa.array(at, pa.int64())})
        (bench.root / "data").mkdir(exist_ok=True)
        pq.write_table(table, bench.root / "data/a.parquet", row_group_size=2)

    bench.job(CURSOR.replace("csv", "parquet"))
    write(1, 2, 3, 4)
    bench.ok()
    write(1, 2, 3, 4, 4, 5)
    result = bench.ok()
    assert (result.rows_read, result.rows_written, result.rows_skipped) == (2, 2, 2), "those at the cursor are compared"
    assert ids(bench) == [0, 1, 2, 3, 4, 5]
    write(1, None, 3, 4, 4, 5)
    assert "cursor field 'at' is null" in bench.run().error.message
    write(1, 2, 3, 4)
    assert bench.ok().rows_read == 0
    assert bench.ok().status == "unchanged"


def test_touching_a_file_without_new_rows_moves_no_row(bench: Any) -> None:
    path = bench.write("data/a.csv", "id,at\n1,5\n")
    bench.job(CURSOR)
    bench.ok()
    os.utime(path, ns=(1, 1))
    assert bench.ok().rows_written == 0
    assert bench.ok().status == "unchanged"
    assert ids(bench) == [1]


def test_a_null_cursor_fails_and_says_what_to_do(bench: Any) -> None:
    bench.write("data/a.csv", "id,at\n1,5\n2,\n")
    bench.job(CURSOR)
    result = bench.run()
    assert result.status == "failed"
    assert "null_cursor: include" in result.error.hint
    bench.job(CURSOR.replace("cursor_field: at", "cursor_field: at, null_cursor: include"))
    assert bench.ok().rows_written == 2


@pytest.mark.parametrize("schema", ["", "schema: [{name: id, type: int64}, {name: at, type: int64}]\n"])
def test_a_null_cursor_can_be_set_aside(bench: Any, schema: str) -> None:
    bench.write("data/a.csv", "id,at\n1,5\n2,\n")
    job = textwrap.dedent(CURSOR).replace("cursor_field: at", "cursor_field: at, null_cursor: quarantine") + schema
    bench.job(job)
    refused = bench.refused()
    assert "on_violation: quarantine" in refused.hint and refused.details["line"]
    bench.job(job + "on_violation: quarantine\n")
    result = bench.ok()
    assert (result.rows_written, result.rows_rejected) == (1, 1)
    assert {check.name: check.violations for check in result.checks}["null_cursor"] == 1
    bench.write("data/a.csv", "id,at\n1,5\n2,\n3,6\n")
    assert bench.ok().rows_written == 1
    assert ids(bench) == [1, 3]


def test_another_cursor_field_is_refused(bench: Any) -> None:
    bench.write("data/a.csv", "id,at\n1,5\n")
    bench.job(CURSOR)
    bench.ok()
    bench.write("data/b.csv", "id,at\n2,6\n")
    bench.job(CURSOR.replace("cursor_field: at", "cursor_field: id"))
    assert "full-refresh" in bench.run().error.hint


def test_a_new_column_is_refused_unless_the_job_evolves(bench: Any) -> None:
    bench.write("data/a.csv", "id\n1\n")
    bench.job(FILES)
    bench.ok()
    bench.write("data/b.csv", "id,extra\n2,x\n")
    refused = bench.run()
    assert refused.error.error_code == "SCHEMA_CHANGED"
    assert "add_columns" in refused.error.hint
    assert ids(bench) == [1]
    bench.job(FILES + "evolve: add_columns\n")
    assert bench.ok().schema_changes == ("column 'extra' (string) is new",)
    assert ids(bench) == [1, 2]


def test_a_file_of_nulls_keeps_the_tables_types(bench: Any) -> None:
    bench.write("data/a.csv", "id,v\n1,5\n")
    bench.job(FILES)
    bench.ok()
    bench.write("data/b.csv", "id,v\n2,\n")
    assert bench.ok().schema_text == {"id": "int64", "v": "int64"}


def test_a_wider_type_is_refused_unless_the_job_widens(bench: Any) -> None:
    bench.write("data/a.csv", "id,v\n1,5\n")
    bench.job(FILES)
    bench.ok()
    bench.write("data/b.csv", "id,v\n2,5.5\n")
    assert bench.run().error.error_code == "SCHEMA_CHANGED"
    bench.job(FILES + "evolve: widen\n")
    assert bench.ok().schema_changes == ("column 'v' was int64 and is float64",)


ELSEWHERE = {
    "duckdb": CURSOR.replace("writer: parquet, path: out", "writer: duckdb, path: x.db, table: out"),
    "sqlite": CURSOR.replace("writer: parquet, path: out", "writer: sqlite, path: x.db, table: out"),
    "jsonl": CURSOR.replace("writer: parquet, path: out", "writer: jsonl, path: out"),
}


def landed(bench: Any, kind: str) -> list[int]:
    path = bench.root / "x.db"
    if kind == "duckdb":
        with duckdb.connect(path) as table:
            return [row[0] for row in table.execute("SELECT id FROM out ORDER BY 1").fetchall()]
    if kind == "sqlite":
        with closing(sqlite3.connect(path)) as table:
            return [row[0] for row in table.execute("SELECT id FROM out ORDER BY 1")]
    return sorted(
        json.loads(line)["id"] for path in bench.root.glob("out/*/*.jsonl") for line in path.read_text().splitlines()
    )


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_equal_cursor_values_are_kept_apart_where_the_table_can_not_be_read(bench: Any, kind: str) -> None:
    bench.write("data/a.csv", "id,at\n1,5\n2,5\n2,5\n0,4\n")
    bench.job(ELSEWHERE[kind])
    bench.ok()
    bench.write("data/a.csv", "id,at\n1,5\n2,5\n2,5\n2,5\n3,5\n0,4\n")
    assert bench.ok().rows_written == 2
    bench.write("data/b.csv", "id,at\n4,5\n")
    assert bench.ok().rows_written == 1, "the rows before are not given again, and still known"
    os.utime(bench.root / "data/a.csv", ns=(1, 1))
    assert bench.ok().rows_written == 0
    bench.write("data/b.csv", "id,at\n4,5\n5,6\n")
    assert bench.ok().rows_written == 1
    assert landed(bench, kind) == [0, 1, 2, 2, 2, 3, 4, 5]


@pytest.mark.parametrize("kind", ["duckdb", "sqlite"])
def test_what_cannot_be_told_apart_is_refused(bench: Any, kind: str) -> None:
    bench.write("data/a.csv", "id,at\n1,5\n")
    bench.job(ELSEWHERE[kind].replace("cursor_field: at", "cursor_field: at, lookback: 1"))
    bench.ok()
    bench.write("data/a.csv", "id,at\n1,5\n2,6\n")
    assert "mode: merge" in bench.run().error.hint
    bench.job(ELSEWHERE[kind])
    bench.write("data/a.csv", "id,at\n" + "1,7\n" * 10_001)
    result = bench.run()
    assert "more than 10,000 rows have the cursor value 7" in str(result.error)
    assert landed(bench, kind) == [1]


@pytest.mark.parametrize("kind", ["duckdb", "sqlite"])
def test_a_merge_by_updated_at_changes_rows_and_adds_new_ones(bench: Any, kind: str) -> None:
    job = ELSEWHERE[kind].replace(
        "strategy: append, cursor_field: at", "strategy: updated_at, cursor_field: at, lookback: 2"
    )
    bench.job(job.replace("table: out", "table: out, mode: merge, keys: [id]"))
    bench.write("data/a.csv", "id,at\n1,5\n2,5\n3,5\n")
    bench.ok()
    bench.write("data/a.csv", "id,at\n1,5\n2,7\n3,1\n4,4\n5,9\n")
    result = bench.ok()
    assert landed(bench, kind) == [1, 2, 3, 4, 5]
    assert result.rows_skipped == 1, "the one below the window"
    bench.write("data/a.csv", "id,at\n1,5\n1,6\n" + "7,8\n" * 10_001)
    bench.ok(full_refresh=True)
    assert landed(bench, kind) == [1, 7], "a full refresh merges as well"
    bench.write("data/a.csv", "id,at,more\n1,9,x\n")
    assert "more" in str(bench.run().error), "a column more is the job's to allow"
