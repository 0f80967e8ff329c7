"""What a dead attempt had finished is kept where rows are judged by other rows: by their keys, and beside the cursor."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from .conftest import Workbench
from .targets import Target

# Each file is a split. One that is read to its end is a line of `read`; after the one named in `fault`, the source is away.
READER = """
from pathlib import Path
from dativo_assets.readers.csv import CsvReader
from dativo_assets.readers.json import JsonReader
class Failing:
    def read(self, split):
        yield from super().read(split)
        root = Path(self.source_config.root)
        fault = root / "fault"
        if fault.exists() and fault.read_text() == split.id:
            fault.unlink()
            (root / "meanwhile").exists() and exec((root / "meanwhile").read_text())
            raise TransientError("the source is away")
        with open(root / "read", "a") as file:
            file.write(split.id + "\\n")
class Files(Failing, CsvReader): ...
class Lines(Failing, JsonReader): ...
class Unversioned(Files):
    def plan_files(self, files, request):
        plan = super().plan_files(files, request)
        return replace(plan, splits=tuple(replace(split, version=None) for split in plan.splits))
"""
RETRY = "retry: {max_attempts: 2, delay: 0.001}\n"
KEYED = "schema: [{name: id, type: int64, primary_key: true}, {name: mail, type: string, unique: true}, {name: n, type: int64}]\n"
Rows = Sequence[Sequence[object]]


class Files:
    """A job over files of a folder, into a table."""

    def __init__(self, root: Path, kind: str, source: str, more: str, **target: Any) -> None:
        root.mkdir(exist_ok=True)
        self.bench, self.target = Workbench(root), Target(kind, root, {})
        self.bench.write("plugin.py", "from dataclasses import replace\nfrom dativo_plugin_sdk import *\n" + READER)
        self.bench.job(f"source: {source}\n{self.target.yaml(**target)}{more}{RETRY}")

    def give(self, head: str, files: dict[str, Rows]) -> None:
        for name, rows in files.items():
            lines = [head, *(",".join("" if cell is None else str(cell) for cell in row) for row in rows)]
            self.bench.write(f"data/{name}.csv", "\n".join(lines) + "\n")

    def run(self, fault: str | None = None, meanwhile: str = "") -> Any:
        """A run, whose first attempt ends once it has read a file."""
        (self.bench.root / "read").unlink(missing_ok=True)
        if fault is not None:
            (path,) = self.bench.root.glob(f"data/{fault}.*")
            self.bench.write("fault", f"data/{path.name}")
            self.bench.write("meanwhile", meanwhile)
        result = self.bench.ok(workers=1, checkpoint_s=0.0)
        assert result.attempts == (1 if fault is None else 2)
        assert result.rows_read == result.rows_written + result.rows_rejected
        assert self.target.leftovers() == []
        return result

    @property
    def read(self) -> list[str]:
        """The files read to their end, in all attempts of the last run."""
        return [Path(line).stem for line in (self.bench.root / "read").read_text().splitlines()]


def keyed(root: Path, kind: str = "parquet", more: str = "on_violation: quarantine\n", **target: Any) -> Files:
    return Files(root, kind, "{reader: 'plugin.py:Files', files: [data/*.csv]}", KEYED + more, **target)


def people(file: int, rows: int = 5) -> list[list[object]]:
    return [[file * rows + i, f"p{file * rows + i}@x", 0] for i in range(rows)]


def told(result: Any) -> tuple[Any, ...]:
    """What a run tells of its rows."""
    return (
        result.rows_written,
        result.rows_rejected,
        {check.name: (check.checked, check.violations) for check in result.checks},
    )


@pytest.mark.parametrize("target", [{}, {"mode": "merge", "keys": ["id"]}, {"writer": "rust_parquet"}])
@pytest.mark.parametrize("kind", ["parquet", "sqlite", "delta", "iceberg"])
def test_keys_of_what_is_kept_are_known(tmp_path: Path, kind: str, target: dict[str, Any]) -> None:
    if "writer" in target and kind != "parquet":
        target = {"mode": "overwrite"}
    job = keyed(tmp_path / "job", kind, **target)
    job.give("id,mail,n", {f"f{n}": people(n) for n in range(5)})
    job.give("id,mail,n", {"f4": [*people(4), [3, "new@x", 1], [99, "p6@x", 1], [98, "p98@x", 1]]})
    result = job.run(fault="f3")
    assert (result.splits_resumed, job.read) == (3, ["f0", "f1", "f2", "f3", "f4"])
    assert told(result) == (26, 2, {**told(result)[2], "primary_key": (28, 1), "mail_unique": (28, 1)})
    assert sorted(row[0] for row in job.target.rows("id")) == [*range(25), 98]
    assert sorted(row[0] for row in job.target.rows("id", "out_quarantine")) == [3, 99]


def test_a_split_whose_rows_repeat_those_of_others_is_read_again(tmp_path: Path) -> None:
    job = keyed(tmp_path / "job")
    files = {f"f{n}": people(n) for n in range(5)}
    job.give("id,mail,n", {**files, "f1": [*people(1), [0, "again@x", 1]]})
    result = job.run(fault="f3")
    assert (result.splits_resumed, job.read) == (2, ["f0", "f1", "f2", "f1", "f3", "f4"])
    assert told(result)[:2] == (25, 1)


def test_a_target_that_cannot_be_read_again_starts_over(tmp_path: Path) -> None:
    job = keyed(tmp_path / "job", writer="jsonl", more="")
    job.give("id,mail,n", {f"f{n}": people(n) for n in range(3)})
    assert job.run(fault="f2").splits_resumed == 0


def test_keys_are_those_of_a_run_that_did_not_fail(tmp_path: Path) -> None:
    chance, resumed = random.Random(7), 0
    for turn in range(6):
        on = chance.choice(["quarantine", "warn"])
        files = {}
        for n in range(5):
            drawn = chance.sample(range(60), chance.randint(0, 6)) if chance.random() < 0.5 else range(n * 6, n * 6 + 4)
            files[f"f{n}"] = [[i, f"p{chance.choice([i, i, i, i + 1])}@x", 0] for i in drawn] or [[100 + n, "", 0]]
        jobs = [keyed(tmp_path / f"{turn}{name}", more=f"on_violation: {on}\n") for name in ("whole", "fails")]
        for job in jobs:
            job.give("id,mail,n", files)
        whole, fails = jobs[0].run(), jobs[1].run(fault=f"f{chance.randint(1, 4)}")
        resumed += fails.splits_resumed
        assert told(fails) == told(whole)
        assert jobs[1].target.rows("id, mail") == jobs[0].target.rows("id, mail")
        assert jobs[1].target.rows("id", "out_quarantine") == jobs[0].target.rows("id", "out_quarantine")
    assert resumed > 3


def by_cursor(
    root: Path, kind: str, more: str = "", strategy: str = "append", reader: str = "Files", **target: Any
) -> Files:
    incremental = json.dumps({"strategy": strategy, "cursor_field": "at", **target.pop("incremental", {})})
    schema = "schema: [{name: id, type: int64}, {name: at, type: int64}]\n"
    source = f"{{reader: 'plugin.py:{reader}', files: [data], incremental: {incremental}}}"
    return Files(root, kind, source, schema + more, **target)


def test_the_cursor_of_what_is_kept_counts(tmp_path: Path) -> None:
    job = by_cursor(tmp_path / "job", "parquet")
    job.give("id,at", {"f0": [[0, 1], [1, 9]], "f1": [[2, 3]], "f2": [[3, 4]], "f3": [[4, 5]]})
    result = job.run(fault="f2")
    assert (result.splits_resumed, result.commit.cursor["value"]) == (2, "9")
    job.give("id,at", {"f4": [[5, 8], [6, 9], [7, 10]]})
    job.run()
    assert sorted(row[0] for row in job.target.rows("id")) == [0, 1, 2, 3, 4, 6, 7]


@pytest.mark.parametrize("reader", ["Files", "Lines"])
def test_a_file_that_changed_since_is_read_again(tmp_path: Path, reader: str) -> None:
    job = by_cursor(tmp_path / "job", "parquet", reader=reader)
    files = {"f0": [[0, 1]], "f1": [[1, 2]], "f2": [[2, 9]]}
    if reader == "Files":
        job.give("id,at", files)
        name, more = "f0.csv", "7,3\\n"
    else:
        for file, rows in files.items():
            job.bench.write(f"data/{file}.jsonl", "".join(f'{{"id": {i}, "at": {at}}}\n' for i, at in rows))
        name, more = "f0.jsonl", '{"id": 7, "at": 3}\\n'
    result = job.run(
        fault="f2", meanwhile=f"path = root / 'data' / '{name}'; path.write_text(path.read_text() + '{more}')"
    )
    assert (result.splits_resumed, job.read) == (1, ["f0", "f1", "f0", "f2"])
    assert sorted(row[0] for row in job.target.rows("id")) == [0, 1, 2, 7]


def test_a_reader_that_tells_no_versions_starts_over(tmp_path: Path) -> None:
    job = by_cursor(tmp_path / "job", "parquet", reader="Unversioned")
    job.give("id,at", {f"f{n}": [[n, n]] for n in range(4)})
    assert job.run(fault="f2").splits_resumed == 0


@pytest.mark.parametrize(
    ("kind", "more", "target"),
    [
        ("parquet", "", {}),
        ("parquet", "", {"incremental": {"lookback": 3}}),
        ("sqlite", "", {}),
        ("sqlite", "", {"mode": "merge", "keys": ["id"], "strategy": "updated_at"}),
        ("delta", "on_violation: quarantine\n", {"reject": True}),
        ("parquet", "on_violation: quarantine\n", {"reject": True}),
    ],
)
def test_a_run_that_failed_commits_what_it_would_have(
    tmp_path: Path, kind: str, more: str, target: dict[str, Any]
) -> None:
    chance, resumed = random.Random(11), 0
    rejects = target.pop("reject", False)
    for turn in range(2):
        given = {"incremental": {"null_cursor": "include", **target.get("incremental", {})}}
        jobs = [by_cursor(tmp_path / f"{turn}{name}", kind, more, **{**target, **given}) for name in ("whole", "fails")]
        if rejects:
            for job in jobs:
                path = job.bench.root / "jobs" / "job.yaml"
                path.write_text(path.read_text().replace("{name: id, type: int64}", "{name: id, type: int64, max: 6}"))
        for round_ in range(3):
            low = 3 * round_
            files = {
                f"f{n}": [
                    [chance.randint(0, 8), chance.choice([None, *range(low, low + 5)])]
                    for _ in range(chance.randint(1, 6))
                ]
                for n in range(5)
            }
            for job in jobs:
                job.give("id,at", files)
            whole = jobs[0].run()
            fails = jobs[1].run(fault=f"f{chance.randint(2, 4)}")
            resumed += fails.splits_resumed
            assert told(fails) == told(whole)
            assert cursor_of(fails) == cursor_of(whole)
            for table in ("out", "out_quarantine") if rejects else ("out",):
                assert Counter(jobs[1].target.rows("id, at", table)) == Counter(jobs[0].target.rows("id, at", table))
    assert resumed > 3


def cursor_of(result: Any) -> list[tuple[str, Any]]:
    """A commit's cursor without the times of its files."""
    return sorted((name, value) for name, value in result.commit.cursor.items() if name != "files")
