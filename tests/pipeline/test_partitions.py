"""A run of some partitions: exactly their rows are replaced, again and again the same, on every target that can."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

import pytest

from dativo_assets.config import load_project
from dativo_assets.config.partition_keys import selected
from dativo_assets.pipeline import RunResult, RunSettings, run
from dativo_assets.plan import bind

from .targets import Target

DAILY = "{daily: {start: 2024-01-01, column: at}}"
SCHEMA = """
schema:
  - {name: id, type: int64}
  - {name: at, type: "timestamp[us]"}
  - {name: region, type: string}
"""
ROWS = [
    "1,2024-01-01T00:00:00,eu",
    "2,2024-01-01T23:59:59.999999,us",
    "3,2024-01-02T00:00:00,eu",
    "4,2024-01-03T10:00:00,us",
]


class Table:
    """A job over one CSV file, and its table."""

    def __init__(self, bench: Any, target: Target) -> None:
        self.bench, self.target = bench, target

    def offer(self, *rows: str) -> None:
        self.bench.write("in.csv", "\n".join(["id,at,region", *rows]) + "\n")

    def job(self, partitions: str = DAILY, more: str = "", **target: Any) -> None:
        self.bench.job(
            f"source: {{reader: csv, files: in.csv{more}}}\n{self.target.yaml(**target)}partitions: {partitions}\n{SCHEMA}"
        )

    def load(self, partition: str | None = None, **more: Any) -> RunResult:
        project = load_project(self.bench.root)
        assert not project.broken, project.broken
        job = project.jobs["job"]
        chosen = None if partition is None else selected(job, partition)
        return run(bind(job, project), RunSettings(workers=2, retries=False, partition=chosen, **more))

    def ok(self, partition: str | None = None) -> RunResult:
        result = self.load(partition)
        assert result.error is None, result.error.to_dict()
        return result

    def ids(self) -> list[int]:
        return sorted(row[0] for row in self.target.rows("id"))


@pytest.fixture
def table(bench: Any, target: Target) -> Table:
    found = Table(bench, target)
    found.offer(*ROWS)
    return found


def test_a_read_that_starts_over_is_not_taken_for_a_cancelled_run(table: Table) -> None:
    table.job()
    table.ok()
    table.offer("10,2024-01-01T12:00:00,eu", "no number,2024-01-03T10:00:00,us")
    table.ok("2024-01-01")  # it is read again from proven record starts, the row of another day being what it is
    assert table.ids() == [3, 4, 10]


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_a_run_of_partitions_replaces_exactly_their_rows(table: Table, mode: str) -> None:
    table.job(mode=mode)
    table.ok()
    assert table.ids() == [1, 2, 3, 4]
    table.offer("10,2024-01-01T12:00:00,eu", "30,2024-01-02T12:00:00,eu", "40,2024-01-03T12:00:00,us")
    result = table.ok("2024-01-01..2024-01-02")
    assert table.ids() == [4, 10, 30]
    assert (result.rows_written, result.rows_skipped) == (2, 1)
    table.ok("2024-01-01..2024-01-02")
    assert table.ids() == [4, 10, 30]


def test_partitions_are_loaded_one_after_another_into_a_new_table(table: Table) -> None:
    table.job()
    for day in ("2024-01-02", "2024-01-01", "2024-01-03", "2024-01-01"):
        table.ok(day)
    assert table.ids() == [1, 2, 3, 4]


def test_a_partition_that_has_become_empty_is_emptied(table: Table) -> None:
    table.job()
    table.ok()
    table.offer("3,2024-01-02T00:00:00,eu")
    table.ok("2024-01-01")
    assert table.ids() == [3, 4]
    table.ok("2024-01-03")
    assert table.ids() == [3]


def test_named_partitions_and_those_of_two_parts_replace_their_rows(table: Table) -> None:
    table.job("{static: {values: [eu, us, asia], column: region}}")
    table.ok()
    table.offer("30,2024-01-02T00:00:00,eu", "40,2024-01-02T00:00:00,us")
    table.ok("eu")
    assert table.ids() == [2, 4, 30]
    both = (
        "{multi: {day: {daily: {start: 2024-01-01, column: at}}, region: {static: {values: [eu, us], column: region}}}}"
    )
    table.job(both)
    table.ok("2024-01-03|us")
    assert table.ids() == [2, 30]


def test_an_incremental_job_loads_again_what_it_has_loaded_and_leaves_the_rest_to_its_next_run(table: Table) -> None:
    table.job(more=", incremental: {strategy: append, cursor_field: at}", mode="append")
    refused = table.load("2024-01-03")
    assert refused.error is not None and refused.error.error_code == "PARTITIONS_NOT_SUPPORTED"
    first = table.ok()
    table.offer(*ROWS[:3], "44,2024-01-03T09:00:00,us", "5,2024-01-03T20:00:00,us")
    again = table.ok("2024-01-03")
    assert table.ids() == [1, 2, 3, 44]
    assert first.commit and again.commit and first.commit.cursor == again.commit.cursor
    table.ok()
    assert table.ids() == [1, 2, 3, 5, 44]


def test_a_definition_that_changed_after_data_landed_is_told(table: Table) -> None:
    table.job()
    assert not any("partitions were" in note for note in table.ok("2024-01-01").notes)
    table.job("{monthly: {start: 2024-01-01, column: at}}")
    (note,) = [note for note in table.ok("2024-01-01").notes if "partitions were" in note]
    assert "partitions were daily by at in UTC up to commit 1, and are monthly by at in UTC now" in note
    assert table.ids() == [1, 2, 3, 4]


# -- one target ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def parquet(bench: Any) -> Table:
    found = Table(bench, Target("parquet", bench.root, {}))
    found.offer(*ROWS)
    return found


def test_files_that_hold_no_row_of_the_partitions_stay_as_they_are(parquet: Table) -> None:
    parquet.job(mode="append", partition_by=["day(at)"])
    parquet.ok()
    before = {path.name: path.stat().st_ino for path in parquet.bench.root.glob("out/1/at_day=2024-01-03/*.parquet")}
    result = parquet.ok("2024-01-01..2024-01-02")
    kept = {
        path.name: path.stat().st_ino
        for path in (parquet.bench.root / "out").resolve().glob("2/at_day=2024-01-03/*.parquet")
    }
    assert list(kept.values()) == list(before.values())
    assert (parquet.ids(), result.table_rows) == ([1, 2, 3, 4], 4)


def test_a_target_that_can_not_replace_rows_says_so_and_nothing_lands(bench: Any) -> None:
    table = Table(bench, Target("parquet", bench.root, {}))
    table.offer(*ROWS)
    bench.job(
        f"source: {{reader: csv, files: in.csv}}\ntarget: {{writer: csv, path: out}}\npartitions: {DAILY}\n{SCHEMA}"
    )
    error = table.load("2024-01-01").error
    assert error is not None and error.error_code == "PARTITIONS_NOT_SUPPORTED"
    assert "writer csv can't replace partitions" in error.message and error.details["line"] == 3
    assert not (bench.root / "out").exists()
    table.job(mode="merge", keys=["id"])
    error = table.load("2024-01-01").error
    assert error is not None and "mode merge can't replace partitions" in error.message


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("{name: at, type: string}", "column 'at' is string, which the partitions can't be told by"),
        ("{name: day, type: string}", "the partitions' column 'at' is not a column of the data"),
    ],
)
def test_a_column_that_can_not_tell_partitions_is_named(bench: Any, schema: str, said: str) -> None:
    bench.write("in.csv", "day\n2024-01-01\n" if "day" in schema else "at\n2024-01-01\n")
    bench.job(
        f"source: {{reader: csv, files: in.csv}}\ntarget: {{writer: parquet, path: out}}\n"
        f"partitions: {DAILY}\nschema: [{schema}]\n"
    )
    project = load_project(bench.root)
    job = project.jobs["job"]
    error = run(bind(job, project), RunSettings(partition=selected(job, "2024-01-01"))).error
    assert error is not None and said in error.message


def test_a_query_reads_the_rows_of_the_partitions_alone(parquet: Table) -> None:
    parquet.job()
    parquet.ok()
    parquet.bench.job(
        'source: {reader: sql, query: \'SELECT id, "at", CAST("at" AS DATE) AS day FROM job\'}\n'
        "target: {writer: parquet, path: derived, mode: append}\n"
        "partitions: {multi: {day: {daily: {start: 2024-01-01, column: at}}, id: {static: {values: ['1', '2'], column: id}}}}\n",
        "derived",
    )
    project = load_project(parquet.bench.root)
    job = project.jobs["derived"]
    result = run(bind(job, project), RunSettings(partition=selected(job, "2024-01-01|2")))
    assert result.error is None, result.error.to_dict()
    assert [row["id"] for row in parquet.bench.rows("derived")] == [2]
    assert result.rows_skipped == 0
    assert result.to_dict()["partitions"] == "2024-01-01|2"


def test_rows_belong_to_the_day_of_the_time_zone(bench: Any) -> None:
    table = Table(bench, Target("parquet", bench.root, {}))
    table.offer(
        "1,2024-03-30T22:59:59Z,a", "2,2024-03-30T23:00:00Z,a", "3,2024-03-31T21:59:59Z,a", "4,2024-03-31T22:00:00Z,a"
    )
    daily = "{daily: {start: 2024-01-01, column: at, timezone: Europe/Berlin}}"
    bench.job(
        f"source: {{reader: csv, files: in.csv}}\ntarget: {{writer: parquet, path: out}}\npartitions: {daily}\n"
        + SCHEMA.replace("timestamp[us]", "timestamp[us, UTC]")
    )
    table.ok("2024-03-31")  # a day of 23 hours
    assert table.ids() == [2, 3]


KILLED = """
import os, signal, sys
from dativo_assets.config import load_project
from dativo_assets.config.partition_keys import selected
from dativo_assets.pipeline import RunSettings, run
from dativo_assets.plan import bind
from dativo_plugin_sdk.directory import DirectoryTable

at = sys.argv[1]
before = getattr(DirectoryTable, at)
def die(*args, **more):
    if at == "keep":
        before(*args, **more)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(DirectoryTable, at, die)
project = load_project(".")
job = project.jobs["job"]
run(bind(job, project), RunSettings(partition=selected(job, "2024-01-01")))
"""


@pytest.mark.parametrize("at", ["keep", "commit", "_publish"])
def test_a_run_that_is_killed_in_the_middle_leaves_the_old_rows_or_the_new_and_the_next_one_mends_it(
    parquet: Table, at: str
) -> None:
    parquet.job(mode="append")
    parquet.ok()
    parquet.offer("10,2024-01-01T12:00:00,eu")
    done = subprocess.run([sys.executable, "-c", KILLED, at], cwd=parquet.bench.root, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert parquet.ids() == [1, 2, 3, 4]
    parquet.ok("2024-01-01")
    assert parquet.ids() == [3, 4, 10]
    assert parquet.bench.leftovers() == []


def test_two_runs_of_different_partitions_both_land(parquet: Table, plugin: Any) -> None:
    parquet.job(mode="append")
    parquet.ok()
    parquet.offer("10,2024-01-01T12:00:00,eu", "30,2024-01-02T12:00:00,eu", "40,2024-01-03T12:00:00,us")
    project = load_project(parquet.bench.root)
    job = project.jobs["job"]
    other: list[RunResult] = []

    def meanwhile(progress: Any) -> None:
        if progress.stage == "commit" and not other:
            other.append(parquet.ok("2024-01-03"))

    settings = RunSettings(partition=selected(job, "2024-01-01"), on_progress=meanwhile)
    result = run(bind(job, project), settings)
    assert result.error is None and result.attempts == 2
    assert parquet.ids() == [3, 10, 40]
