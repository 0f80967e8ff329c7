"""A partition a file: each run loads one, its rows say which, and whatever else the table holds stays."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dativo_assets.config import load_project
from dativo_assets.config.partition_keys import selected
from dativo_assets.pipeline import RunResult, RunSettings, run
from dativo_assets.pipeline.one_file import new_files
from dativo_assets.pipeline.preview import preview
from dativo_assets.plan import JobPlan, bind

from .targets import Target

PARQUET = "target: {writer: parquet, path: out}\n"
BY_FILE = "partitions: {files: {column: file}}\n"


def bound(bench: Any) -> JobPlan:
    project = load_project(bench.root)
    assert not project.broken, project.broken
    return bind(project.jobs["job"], project)


def loaded(bench: Any, file: str, **settings: Any) -> RunResult:
    plan = bound(bench)
    return run(plan, RunSettings(workers=2, partition=selected(plan.job, file), **settings))


def ok(bench: Any, file: str) -> RunResult:
    result = loaded(bench, file, retries=False)
    assert result.error is None, result.error.to_dict()
    return result


def new(bench: Any) -> list[str]:
    return list(new_files(bound(bench), os.environ)[1])


def test_a_file_replaces_its_own_rows_on_every_target(bench: Any, target: Target) -> None:
    bench.job(f"source: {{reader: csv, files: in/*.csv}}\n{target.yaml()}{BY_FILE}")
    bench.write("in/a.csv", "id\n1\n2\n")
    bench.write("in/b.csv", "id\n3\n")
    assert sorted(new(bench)) == ["in/a.csv", "in/b.csv"]
    for name in ("a", "b"):
        ok(bench, f"in/{name}.csv")
    assert target.rows("id, file") == [(1, "in/a.csv"), (2, "in/a.csv"), (3, "in/b.csv")]
    assert new(bench) == []
    bench.write("in/a.csv", "id\n20\n200\n2000\n")
    assert new(bench) == ["in/a.csv"]
    result = ok(bench, "in/a.csv")
    assert (result.rows_written, result.partitions) == (3, "in/a.csv")
    assert [row[0] for row in target.rows("id, file")] == [20, 200, 2000, 3]
    assert new(bench) == []


def rows_of(kind: str, path: Path) -> None:
    if kind == "parquet":
        pq.write_table(pa.table({"id": [1, 2]}), path)
    else:
        path.write_text('{"id": 1}\n{"id": 2}\n' if kind == "json" else "id\n1\n2\n")


@pytest.mark.parametrize("reader", ["csv", "json", "parquet", "rust_csv", "isolated"])
def test_every_reader_of_files_can(bench: Any, reader: str) -> None:
    kind, isolation = ("csv", ", isolation: process") if reader == "isolated" else (reader, "")
    suffix = {"json": "jsonl", "parquet": "parquet"}.get(reader, "csv")
    for name in "ab":
        bench.write(f"in/{name}.{suffix}", "")
        rows_of(kind, bench.root / f"in/{name}.{suffix}")
    bench.job(f"source: {{reader: {kind}, files: 'in/*'{isolation}}}\n{PARQUET}{BY_FILE}")
    assert sorted(new(bench)) == [f"in/a.{suffix}", f"in/b.{suffix}"]
    ok(bench, f"in/b.{suffix}")
    assert [tuple(row.values()) for row in bench.rows()] == [(1, f"in/b.{suffix}"), (2, f"in/b.{suffix}")]
    assert preview(bound(bench), 1).good == [{"id": 1, "file": f"in/a.{suffix}"}]


def test_a_contract_has_the_column_as_any_other_and_rejected_rows_say_their_file(bench: Any) -> None:
    bench.job(
        f"source: {{reader: csv, files: in/*.csv}}\n{PARQUET}{BY_FILE}on_violation: quarantine\n"
        "schema: [{name: file, type: string, required: true}, {name: id, type: int64, max: 9}]\n"
    )
    bench.write("in/a.csv", "id\n1\n10\n")
    result = ok(bench, "in/a.csv")
    assert bench.rows() == [{"file": "in/a.csv", "id": 1}]
    (rejected,) = bench.rows("out.quarantine")
    assert (result.rows_rejected, rejected["file"], rejected["id"]) == (1, "in/a.csv", 10)


def test_a_file_is_known_by_its_whole_name_and_no_other_is_read(bench: Any) -> None:
    bench.write("in/2024..2025.csv", "id\n1\n")
    bench.write("in/bad.csv", "id\n1,2,3\n")
    bench.job(f"source: {{reader: csv, files: in/*.csv}}\n{PARQUET}{BY_FILE}")
    ok(bench, "in/2024..2025.csv")
    assert bench.rows() == [{"id": 1, "file": "in/2024..2025.csv"}]
    error = loaded(bench, "in/2024").error
    assert error is not None and "there is no file in/2024" in error.message


def test_what_a_run_can_not_do_is_told_before_anything_lands(bench: Any, plugin: Any) -> None:
    bench.job(f"source: {{reader: csv, files: in/*.csv}}\n{PARQUET}{BY_FILE}")
    bench.write("in/a.csv", "id,file\n1,x\n")
    error = loaded(bench, "in/a.csv").error
    assert error is not None and "has a column 'file' of its own" in error.message
    whole = run(bound(bench)).error
    assert whole is not None and "a run loads one" in whole.message and whole.details["line"] == 3
    plugin("class R(BaseReader):\n    def extract(self, state_manager=None):\n        yield [{'id': 1}]\n")
    bench.job(f"source: {{reader: plugin.py:R, files: in/*.csv}}\n{PARQUET}{BY_FILE}")
    error = loaded(bench, "in/a.csv").error
    assert error is not None and "can't read one file alone" in error.message
    with pytest.raises(Exception, match="knows of no files"):
        new(bench)
    assert bench.rows() == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("trigger: {cron: '0 * * * *'}", "new files start the runs of files"),
        ("partitions: {files: {column: f}, per_run: 5}", "a run of files loads one"),
        (
            "source: {reader: csv, files: a.csv, incremental: {strategy: append, cursor_field: id}}",
            "the strategy is append",
        ),
        ("source: {reader: csv, files: [{path: a, object: a}, {path: b, object: b}]}", "a job of streams"),
    ],
)
def test_what_does_not_go_with_files_is_refused_at_its_line(bench: Any, more: str, said: str) -> None:
    job = {"source": "{reader: csv, files: in/*.csv}", "partitions": "{files: {column: file}}"}
    key, _, value = more.partition(": ")
    job[key] = value
    bench.job(PARQUET + "".join(f"{name}: {text}\n" for name, text in job.items()))
    (broken,) = load_project(bench.root).broken
    assert said in str(broken.error) and "line" in json.dumps(broken.error.details)


def test_many_files_at_once_all_land(bench: Any) -> None:
    names = [f"in/{number}.csv" for number in range(8)]
    for number, name in enumerate(names):
        bench.write(name, f"id\n{number}\n")
    bench.job(f"source: {{reader: csv, files: in/*.csv}}\n{PARQUET}{BY_FILE}retry: {{max_attempts: 2, delay: 0.01}}\n")
    results: list[RunResult] = []
    threads = [threading.Thread(target=lambda name=name: results.append(loaded(bench, name))) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.error for result in results] == [None] * 8
    assert max(result.attempts for result in results) > 2  # one that loses to others has not failed
    assert sorted(row["id"] for row in bench.rows()) == list(range(8))
    assert new(bench) == []
