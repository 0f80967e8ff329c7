"""The delivery protocol of a local directory, with real processes, real renames and real full disks."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import duckdb
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dativo_plugin_sdk import (
    Commit,
    CommitConflictError,
    ConfigurationError,
    DirectoryTable,
    ValidationError,
    commit_log,
    directory,
    posix,
    staging,
)

SETUP = """
import os, sys
from pathlib import Path
from dativo_plugin_sdk import Commit, DirectoryTable

def stage(table, run, *values):
    import pyarrow as pa, pyarrow.parquet as pq
    table.open(run)
    pq.write_table(pa.table({"v": list(values)}), table.staging / "part.parquet")

def record(seq, run, mode="append"):
    return Commit(job="j", seq=seq, run_id=run, mode=mode, files=("part.parquet",))
"""


def stage(table: DirectoryTable, run: str, *values: int) -> None:
    table.open(run)
    pq.write_table(pa.table({"v": list(values)}), table.staging / "part.parquet")


def record(seq: int, run: str, mode: str = "append") -> Commit:
    return Commit(job="j", seq=seq, run_id=run, mode=mode, files=("part.parquet",))  # type: ignore[arg-type]


def deliver(root: Path, run: str, mode: str, *values: int) -> Commit:
    table = DirectoryTable(root)
    last = table.last_commit()
    stage(table, run, *values)
    return table.commit(record(1 if last is None else last.seq + 1, run, mode))


def visible(root: Path) -> list[int]:
    """What strangers see through a plain glob; all of them must see the same."""
    pattern = f"{root}/**/*.parquet"
    by_polars, by_duckdb = [], []
    with suppress(FileNotFoundError, polars.exceptions.ComputeError):
        by_polars = polars.scan_parquet(pattern).collect()["v"].to_list()
    with suppress(duckdb.IOException):
        by_duckdb = [row[0] for row in duckdb.sql(f"select v from '{pattern}'").fetchall()]
    own = [value for file in DirectoryTable(root).files() for value in pq.read_table(file)["v"].to_pylist()]
    assert sorted(by_polars) == sorted(by_duckdb) == sorted(own)
    return sorted(own)


def run_child(code: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", SETUP + textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def test_a_run_that_another_one_overtakes_while_it_opens_an_empty_target_has_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "t"
    table, scandir = DirectoryTable(root), os.scandir

    def overtaken(folder: Path) -> object:
        if folder == root:
            monkeypatch.undo()
            deliver(root, "faster", "append", 1)
        return scandir(folder)

    root.mkdir()
    monkeypatch.setattr(os, "scandir", overtaken)
    stage(table, "late", 2)
    with pytest.raises(CommitConflictError):
        table.commit(record(1, "late"))
    assert visible(root) == [1]


def test_append_and_overwrite_in_any_order(tmp_path: Path) -> None:
    root = tmp_path / "t"
    assert DirectoryTable(root).last_commit() is None
    expected: list[int] = []
    modes = ["append", "append", "overwrite", "append", "overwrite", "overwrite", "append", "append"]
    for seq, mode in enumerate(modes, 1):
        deliver(root, f"r{seq}", mode, seq)
        expected = [seq] if mode == "overwrite" else [*expected, seq]
        assert visible(root) == expected
        last = DirectoryTable(root).last_commit()
        assert last is not None
        assert (last.seq, last.run_id) == (seq, f"r{seq}")
        assert len(list(DirectoryTable(root).commits())) == len(expected)
    assert not (tmp_path / ".t.staging").exists()


def test_an_overwrite_can_be_the_first_commit(tmp_path: Path) -> None:
    root = tmp_path / "t"
    in_flight: tuple[str, ...] = ()
    for seq in (1, 2, 3):
        deliver(root, f"r{seq}", "overwrite", seq)
        assert visible(root) == [seq]
        assert all(pq.read_table(file).num_rows for file in in_flight)  # a reader under way keeps its version
        in_flight = DirectoryTable(root).files()
    deliver(root, "r4", "append", 4)
    assert visible(root) == [3, 4]


def test_an_existing_empty_directory_is_a_target(tmp_path: Path) -> None:
    for mode in ("append", "overwrite"):
        root = tmp_path / mode
        root.mkdir()
        deliver(root, "r1", mode, 1)
        assert visible(root) == [1]


@pytest.mark.parametrize("mode", ["append", "overwrite"])
@pytest.mark.parametrize("first", [True, False])
def test_of_two_runs_of_one_base_one_wins(tmp_path: Path, mode: str, first: bool) -> None:
    root = tmp_path / "t"
    if not first:
        deliver(root, "r0", "append", 0)
    seq = 1 if first else 2
    one, two = DirectoryTable(root), DirectoryTable(root)
    stage(one, "one", 1)
    stage(two, "two", 2)
    one.commit(record(seq, "one", mode))
    seen = visible(root)
    with pytest.raises(CommitConflictError) as caught:
        two.commit(record(seq, "two", mode))
    assert caught.value.details == {"winner": "one", "seq": seq}
    two.close()
    assert visible(root) == seen
    assert not (tmp_path / ".t.staging").exists()


@pytest.mark.parametrize("mode", ["append", "overwrite"])
@pytest.mark.parametrize("first", [True, False])
def test_a_race_up_to_the_rename_has_one_winner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, first: bool
) -> None:
    """The other run commits after this one looked and before it renames."""
    root = tmp_path / "t"
    if not first:
        deliver(root, "r0", "append", 0)
    seq = 1 if first else 2
    one, two = DirectoryTable(root), DirectoryTable(root)
    stage(one, "one", 1)
    stage(two, "two", 2)
    seal = DirectoryTable._seal

    def late(table: DirectoryTable, folder: Path, what: Commit) -> None:
        monkeypatch.setattr(DirectoryTable, "_seal", seal)
        two.commit(record(seq, "two", mode))
        seal(table, folder, what)

    monkeypatch.setattr(DirectoryTable, "_seal", late)
    with pytest.raises(CommitConflictError) as caught:
        one.commit(record(seq, "one", mode))
    one.close()
    assert caught.value.details["winner"] == "two"
    assert visible(root) == ([2] if first or mode == "overwrite" else [0, 2])


@pytest.mark.parametrize("before", ["append", "overwrite"])
@pytest.mark.parametrize("mode", ["append", "overwrite"])
@pytest.mark.parametrize("overwrites", [1, 2, 5])
def test_a_run_stopped_at_its_rename_has_lost_when_it_wakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, mode: str, overwrites: int
) -> None:
    """The folder it was to be renamed into has been replaced, or even removed, and there its name would be free."""
    root = tmp_path / "t"
    deliver(root, "r1", before, 1)
    stopped = DirectoryTable(root)
    stage(stopped, "stopped", 99)
    take = directory.take

    def late(source: Path, folder: Path, seq: int) -> int:
        monkeypatch.setattr(directory, "take", take)
        for number in range(overwrites):
            deliver(root, f"other{number}", "overwrite", number)
        return take(source, folder, seq)

    monkeypatch.setattr(directory, "take", late)
    with pytest.raises(CommitConflictError):
        stopped.commit(record(2, "stopped", mode))
    stopped.close()
    assert visible(root) == [overwrites - 1]
    assert deliver(root, "next", "append", 7).seq == overwrites + 2
    assert visible(root) == [overwrites - 1, 7]


@pytest.mark.parametrize("before", ["append", "overwrite"])
def test_a_run_stopped_while_it_publishes_never_points_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    root = tmp_path / "t"
    deliver(root, "r1", before, 1)
    stopped = DirectoryTable(root)
    stage(stopped, "stopped", 2)
    exchange, replace = directory.exchange, os.replace

    def late(*names: Path) -> None:
        monkeypatch.setattr(directory, "exchange", exchange)
        monkeypatch.setattr(os, "replace", replace)
        monkeypatch.setattr(posix, "_LOCK_S", 0.01)
        for number in range(5):
            deliver(root, f"other{number}", "overwrite", number)
            last = DirectoryTable(root).last_commit()
            assert last is not None
            assert last.run_id == f"other{number}"
        (exchange if before == "append" else replace)(*names)

    monkeypatch.setattr(directory, "exchange", late)
    monkeypatch.setattr(os, "replace", late)
    stopped.commit(record(2, "stopped", "overwrite"))
    assert [commit.run_id for commit in DirectoryTable(root).commits()] == ["other4"]
    deliver(root, "next", "append", 7)
    assert visible(root) == [4, 7]


def test_what_a_new_run_makes_is_not_taken_for_a_dead_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "t"
    deliver(root, "r1", "overwrite", 1)
    entries = staging.entries

    def late(folder: Path) -> list[Path]:
        found = entries(folder)
        if folder.name == ".t.staging":
            monkeypatch.setattr(staging, "entries", entries)
            deliver(root, "new", "overwrite", 2)
        return found

    monkeypatch.setattr(staging, "entries", late)
    with pytest.raises(CommitConflictError):
        deliver(root, "r3", "append", 3)
    assert visible(root) == [2]


@pytest.mark.parametrize("step", ["open", "rename"])
def test_a_folder_taken_for_a_dead_ones_before_its_lock_is_held_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    root = tmp_path / "t"
    function = getattr(os, step)
    swept: list[Path] = []

    def late(path: str | Path, *arguments: object, **keywords: object) -> object:
        if not swept and posix.NEW in str(path):
            swept.extend((tmp_path / ".t.staging").iterdir())
            for run in swept:
                posix.bury(run)
        return function(path, *arguments, **keywords)

    monkeypatch.setattr(os, step, late)
    deliver(root, "r1", "append", 1)
    assert swept
    assert visible(root) == [1]
    assert not (tmp_path / ".t.staging").exists()


def test_what_is_read_while_versions_go_is_one_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "t"
    deliver(root, "r1", "append", 1)
    deliver(root, "r2", "append", 2)
    sequences = commit_log.CommitLog.sequences

    def late(log: commit_log.CommitLog) -> list[int]:
        found = sequences(log)
        if found and log.folder == root:
            monkeypatch.setattr(commit_log.CommitLog, "sequences", sequences)
            for number in range(5):
                deliver(root, f"other{number}", "overwrite", number)
        return found

    monkeypatch.setattr(commit_log.CommitLog, "sequences", late)
    assert [Path(file).parent.name for file in DirectoryTable(root).files()] == ["7"]


def test_what_fails_after_the_commit_does_not_fail_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "t"
    deliver(root, "r1", "overwrite", 1)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert deliver(root, "r2", "overwrite", 2).seq == 2
    last = DirectoryTable(root).last_commit()
    assert last is not None
    assert last.run_id == "r2"
    monkeypatch.undo()
    deliver(root, "r3", "append", 3)
    assert visible(root) == [2, 3]


def test_a_lost_version_is_no_empty_table(tmp_path: Path) -> None:
    root = tmp_path / "t"
    deliver(root, "r1", "overwrite", 1)
    shutil.rmtree(tmp_path / ".t.versions")
    with pytest.raises(ValidationError, match="is missing: there is no commit in"):
        deliver(root, "r2", "append", 2)


def test_many_processes_racing_never_share_a_sequence(tmp_path: Path) -> None:
    root = tmp_path / "t"
    code = """
    from dativo_plugin_sdk import CommitConflictError
    root, name, mode, wins = Path(sys.argv[1]), sys.argv[2], sys.argv[3], []
    for turn in range(12):
        table = DirectoryTable(root)
        last = table.last_commit()
        seq = 1 if last is None else last.seq + 1
        run = f"{name}-{turn}"
        stage(table, run, seq)
        try:
            table.commit(record(seq, run, mode if turn % 3 == 0 else "append"))
            wins.append(seq)
        except CommitConflictError:
            pass
        finally:
            table.close()
    print(*wins)
    """
    children = [run_child(code, root, f"c{index}", ("append", "overwrite")[index % 2]) for index in range(4)]
    wins = [int(seq) for child in children for seq in child.communicate()[0].split()]
    assert all(child.returncode == 0 for child in children)
    assert sorted(wins) == list(range(1, len(wins) + 1))
    last = DirectoryTable(root).last_commit()
    assert last is not None
    assert last.seq == len(wins)
    assert visible(root) == [commit.seq for commit in DirectoryTable(root).commits()]


def test_one_run_id_writes_once(tmp_path: Path) -> None:
    root = tmp_path / "t"
    deliver(root, "r1", "append", 1)
    table = DirectoryTable(root)
    stage(table, "r1", 99)
    assert table.commit(record(2, "r1")).seq == 1
    table.close()
    assert visible(root) == [1]


def test_one_run_id_writes_once_though_others_came_after_it(tmp_path: Path) -> None:
    root = tmp_path / "t"
    early, late = DirectoryTable(root), DirectoryTable(root)
    stage(early, "r1", 99)
    stage(late, "r1", 1)
    late.commit(record(1, "r1"))
    deliver(root, "r2", "append", 2)
    assert early.commit(record(1, "r1")).seq == 1
    early.close()
    found = DirectoryTable(root).commit_of("r1")
    assert found is not None
    assert (found.seq, DirectoryTable(root).commit_of("r3"), visible(root)) == (1, None, [1, 2])


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_a_woken_attempt_of_the_same_run_can_not_harm_its_retry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    root = tmp_path / "t"
    deliver(root, "r0", "append", 0)
    stopped, retry = DirectoryTable(root), DirectoryTable(root)
    stage(stopped, "r1", 99)
    stage(retry, "r1", 1)
    seal = DirectoryTable._seal

    def late(table: DirectoryTable, folder: Path, what: Commit) -> None:
        monkeypatch.setattr(DirectoryTable, "_seal", seal)
        retry.commit(record(2, "r1", mode))
        seal(table, folder, what)

    monkeypatch.setattr(DirectoryTable, "_seal", late)
    assert stopped.commit(record(2, "r1", mode)).run_id == "r1"
    stopped.close()
    assert visible(root) == ([1] if mode == "overwrite" else [0, 1])


def test_a_dead_run_is_cleaned_up_and_a_live_one_is_not(tmp_path: Path) -> None:
    root = tmp_path / "t"
    live = run_child("stage(DirectoryTable(sys.argv[1]), 'live', 1)\nprint('up', flush=True)\nsys.stdin.read()", root)
    dead = run_child("stage(DirectoryTable(sys.argv[1]), 'dead', 1)\nprint('up', flush=True)\nsys.stdin.read()", root)
    assert live.stdout is not None
    assert dead.stdout is not None
    live.stdout.readline()
    dead.stdout.readline()
    dead.kill()
    dead.communicate()
    staging = tmp_path / ".t.staging"
    try:
        assert {entry.name.partition(".")[0] for entry in staging.iterdir()} == {"live", "dead"}
        deliver(root, "r1", "append", 1)
        assert {entry.name.partition(".")[0] for entry in staging.iterdir()} == {"live"}
        assert list(staging.glob("live.*/commit/part.parquet"))
    finally:
        live.communicate()
    deliver(root, "r2", "append", 2)
    assert visible(root) == [1, 2]
    assert not staging.exists()


KILLED = """
import itertools, shutil
from dativo_plugin_sdk import directory
before, seq, mode = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]

def deadly(function, calls, at):
    def call(*arguments, **keywords):
        if next(calls) == at:
            os.kill(os.getpid(), 9)
        return function(*arguments, **keywords)
    return call

def replace_all_but_the_last(table, seq):
    folder, commits, files = table.version()
    names = table.keep(folder, files[-1:])
    commit = record(seq, "victim", "merge").model_copy(update={"files": (*names, "part.parquet")})
    table.commit(commit, replaces=True, table=(2, 2))

def victim(root, at):
    table = DirectoryTable(root)
    calls = itertools.count(1)
    for name in ("rename", "replace", "symlink", "rmdir", "mkdir", "open", "write", "link"):
        setattr(os, name, deadly(getattr(os, name), calls, at))
    for name in ("fsync", "exchange", "take", "settle"):
        setattr(directory, name, deadly(getattr(directory, name), calls, at))
    table.open("victim")
    shutil.copy(sys.argv[4], table.staging / "part.parquet")
    (table.quarantine_staging / "q.parquet").write_bytes(b"q")
    if mode == "replace":
        replace_all_but_the_last(table, seq)
    else:
        table.commit(record(seq, "victim", mode))

for at in itertools.count(1):
    copy = before.parent / str(at)
    shutil.copytree(before, copy, symlinks=True)
    child = os.fork()
    if not child:
        victim(copy / "t", at)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_rejected_rows_that_could_not_be_settled_go_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    table = DirectoryTable(tmp_path / "t")
    stage(table, "r1", 1)
    (table.quarantine_staging / "q.parquet").write_bytes(b"q")
    settle = directory.fsync

    def full(path: Path) -> None:
        if path == tmp_path and (tmp_path / "t.quarantine").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        settle(path)

    monkeypatch.setattr(directory, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        table.commit(record(1, "r1", mode))
    table.close()
    assert not list((tmp_path / "t.quarantine").iterdir())
    assert visible(tmp_path / "t") == []


@pytest.mark.parametrize("before", [[], ["append"], ["overwrite"], ["append", "overwrite"]])
@pytest.mark.parametrize("mode", ["append", "overwrite", "replace"])
def test_a_kill_at_any_step_leaves_the_old_or_the_new_version(tmp_path: Path, before: list[str], mode: str) -> None:
    template = tmp_path / "before"
    template.mkdir()
    part = tmp_path / "part.parquet"
    pq.write_table(pa.table({"v": [7]}), part)
    old: list[int] = []
    for seq, earlier in enumerate(before, 1):
        deliver(template / "t", f"r{seq}", earlier, seq)
        old = [seq] if earlier == "overwrite" else [*old, seq]
    new = {"append": [*old, 7], "overwrite": [7], "replace": [*old[-1:], 7]}[mode]

    child = run_child(KILLED, template, len(before) + 1, mode, part)
    child.communicate()
    assert child.returncode == 0
    outcomes = set()
    for folder in tmp_path.glob("[0-9]*"):
        root = folder / "t"
        last = DirectoryTable(root).last_commit()
        landed = last is not None and last.run_id == "victim"
        outcomes.add(landed)
        glob = sorted(value for file in root.glob("**/*.parquet") for value in pq.read_table(file)["v"].to_pylist())
        assert glob in (old, new)
        deliver(root, "after", "append", 8)  # recovers, then goes on from whatever is there
        assert visible(root) == [*(new if landed else old), 8]
        assert not (folder / ".t.staging").exists()
        assert landed or not list((folder / "t.quarantine").glob("*-victim*"))
    assert outcomes == {False, True}


@pytest.fixture
def short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (commit_log, directory):
        monkeypatch.setattr(module, "CHUNK", 4)


@pytest.mark.usefixtures("short_chunks")
def test_the_log_knows_every_commit_whatever_became_of_its_data(tmp_path: Path) -> None:
    root = tmp_path / "t"
    modes = ["append"] * 9 + ["overwrite"] + ["append"] * 4 + ["overwrite"] * 3 + ["append"] * 6
    shown: list[int] = []
    for seq, mode in enumerate(modes, 1):
        deliver(root, f"r{seq}", mode, seq)
        shown = [seq] if mode == "overwrite" else [*shown, seq]
        table = DirectoryTable(root)
        assert [commit.seq for commit in table.history()] == list(range(1, seq + 1))
        assert [commit.seq for commit in table.commits()] == shown
        for run in range(1, seq + 1):
            found = table.commit_of(f"r{run}")
            assert found is not None and found.seq == run
        assert table.commit_of("r") is None


@pytest.mark.usefixtures("short_chunks")
@pytest.mark.parametrize("broken", ["no chunk", "half a chunk", "a commit moved away"])
def test_a_log_that_was_not_written_is_done_without(tmp_path: Path, broken: str) -> None:
    root = tmp_path / "t"
    for seq in range(1, 10):
        deliver(root, f"r{seq}", "append", seq)
    chunk = root / "_dativo" / "8.log"
    last = 9
    if broken == "no chunk":
        chunk.unlink()
    elif broken == "half a chunk":
        chunk.write_bytes(chunk.read_bytes()[:-300])
    else:
        shutil.move(root / "9", tmp_path / "9")
        shutil.move(root / "8", tmp_path / "8")
        last = 7
    table = DirectoryTable(root)
    assert [commit.seq for commit in table.history()] == list(range(1, last + 1))
    assert [commit.seq for commit in table.commits()] == list(range(1, last + 1))
    found = table.commit_of("r7")
    assert found is not None and found.seq == 7
    assert deliver(root, "next", "append", 0).seq == last + 1


@pytest.mark.usefixtures("short_chunks")
def test_a_gap_is_not_taken_for_the_end(tmp_path: Path) -> None:
    root = tmp_path / "t"
    for seq in range(1, 11):
        deliver(root, f"r{seq}", "append", seq)
    shutil.move(root / "9", tmp_path / "9")
    last = DirectoryTable(root).last_commit()
    assert last is not None and last.seq == 10


def test_a_file_with_a_second_name_is_still_the_one_of_its_run(tmp_path: Path) -> None:
    root = tmp_path / "t"
    for seq in (1, 2, 3):
        deliver(root, f"r{seq}", "append", seq)
    for seq in (4, 5):
        table = DirectoryTable(root)
        stage(table, f"r{seq}", seq)
        folder, _, files = table.version()
        names = table.keep(folder, files[1:])
        commit = record(seq, f"r{seq}", "merge").model_copy(update={"files": (*names, "part.parquet")})
        table.commit(commit, replaces=True, table=(len(names) + 1, 1))
    table = DirectoryTable(root)
    assert visible(root) == [3, 4, 5]
    found = [table.commit_of_file(file) for file in table.files()]
    assert sorted(commit.seq for commit in found if commit) == [3, 4, 5]


def test_a_corrupt_or_newer_record_is_a_typed_error(tmp_path: Path) -> None:
    root = tmp_path / "t"
    deliver(root, "r1", "append", 1)
    path = root / "1" / "_commit.json"
    good = path.read_text()
    newer = json.dumps({**json.loads(good), "format_version": 2})
    for content, message in (
        (good[:20], "can't be read"),
        ("[]", "can't be read"),
        ('{"a": 1}', "can't be read"),
        (newer, "newer"),
    ):
        path.write_text(content)
        with pytest.raises(ValidationError, match=message) as caught:
            DirectoryTable(root).last_commit()
        assert caught.value.hint
        with pytest.raises(ValidationError, match=message):
            DirectoryTable(root).open("r2")
    path.unlink()
    with pytest.raises(ValidationError, match="missing"):
        DirectoryTable(root).last_commit()


def test_a_target_of_someone_else_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "t"
    root.mkdir()
    (root / "mine.parquet").write_bytes(b"x")
    with pytest.raises(ConfigurationError, match=r"mine\.parquet"):
        DirectoryTable(root).open("r1")
    file = tmp_path / "file"
    file.write_bytes(b"x")
    with pytest.raises(ConfigurationError, match="is a file"):
        DirectoryTable(file).open("r1")
    with pytest.raises(ConfigurationError, match="is a file"):
        DirectoryTable(file / "below").open("r1")


@pytest.mark.parametrize("run", ["", "..", "../x", "a/b", ".new-x", "x" * 200, "a\nb", "a\n", "a\0"])
def test_a_hostile_run_id_is_refused(tmp_path: Path, run: str) -> None:
    with pytest.raises(ConfigurationError, match="run id"):
        DirectoryTable(tmp_path / "t").open(run)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a b", "-rf", "ü", "*", "[x]", "a'b\"c", "1", ".hidden", "new\nline", "%2e"])
def test_a_table_may_have_any_name(tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    for seq, mode in enumerate(("append", "overwrite", "append", "overwrite", "append"), 1):
        deliver(root, f"r{seq}", mode, seq)
    table = DirectoryTable(root)
    assert [pq.read_table(file)["v"][0].as_py() for file in table.files()] == [4, 5]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=False).returncode:
        pytest.skip("no right to mount")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_a_full_disk_leaves_the_previous_version(small_disk: Path, mode: str) -> None:
    root = small_disk / "t"
    deliver(root, "r1", "append", 1)
    table = DirectoryTable(root)
    stage(table, "r2", 2)
    filler = small_disk / "filler"
    subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=4k"], check=False, capture_output=True)
    with pytest.raises(OSError, match="space"):
        table.commit(record(2, "r2", mode))
    table.close()
    assert visible(root) == [1]
    filler.unlink()
    deliver(root, "r3", mode, 3)
    assert visible(root) == ([3] if mode == "overwrite" else [1, 3])


def test_a_read_only_disk_is_no_surprise(small_disk: Path) -> None:
    root = small_disk / "t"
    deliver(root, "r1", "append", 1)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(OSError, match="Read-only"):
        DirectoryTable(root).open("r2")
    assert visible(root) == [1]


def test_a_retry_that_finds_its_commit_makes_sure_that_strangers_see_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run was killed, or the disk full, between its claim of the sequence and the swap of the symlink."""
    root = tmp_path / "t"
    deliver(root, "r1", "overwrite", 1)
    with monkeypatch.context() as patch:
        patch.setattr(DirectoryTable, "_publish", lambda table: None)
        deliver(root, "r2", "overwrite", 2)
    done = DirectoryTable(root).commit_of("r2")
    assert done is not None
    assert visible(root) == [2]


def test_a_run_that_finds_nothing_new_makes_sure_that_strangers_see_what_it_goes_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "t"
    deliver(root, "one", "append", 1)
    with monkeypatch.context() as patch:  # killed after its commit and before it is published
        patch.setattr(DirectoryTable, "_publish", lambda table: None)
        deliver(root, "two", "overwrite", 2)
    assert list(root.glob("*/part.parquet")) == [root / "1" / "part.parquet"]
    found = DirectoryTable(root).last_commit()
    assert found is not None and found.run_id == "two"
    assert visible(root) == [2]
