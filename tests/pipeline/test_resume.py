"""A run that follows a crash keeps what the dead one had finished, and commits once."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import pytest
from dativo_plugin_sdk import CommitConflictError, ConnectionError

from dativo_assets.pipeline import RunSettings
from dativo_assets.state import commit_once
from dativo_assets.writers._delta_store import DeltaStore

from .targets import KINDS, Target

SPLITS, ROWS = 12, 50

# Each split that is read to its end is a line of `read`; at the one named in `die`, the process ends.
READER = f"""
import os
from pathlib import Path
class Rows(BaseReader):
    def plan(self, request):
        version = Path(self.source_config.root, "version")
        numbers = version.read_text() if version.exists() else "0" * {SPLITS}
        return ReadPlan(splits=tuple(Split(f"s{{i}}", {{"at": i, "version": v}}) for i, v in enumerate(numbers)))
    def read(self, split):
        root, at = Path(self.source_config.root), split.payload["at"]
        for part in range(0, {ROWS}, 10):
            yield [{{"id": at * {ROWS} + i, "version": split.payload["version"]}} for i in range(part, part + 10)]
            time.sleep(float(os.environ.get("PAUSE_S", "0")))
        fault = root / f"fault-{{at}}"
        if fault.exists():
            kind = fault.read_text()
            fault.unlink()
            if kind == "kill":
                os.kill(os.getpid(), 9)
            raise TransientError("the source is away")
        with open(root / "read", "a") as file:
            file.write(f"{{at}}\\n")
"""
CHILD = """
import sys
from dativo_assets.config import load_project
from dativo_assets.pipeline import RunSettings, run
from dativo_assets.plan import bind
project = load_project(sys.argv[1])
result = run(bind(project.jobs["job"], project), RunSettings(workers=2, checkpoint_s=0.0), *sys.argv[2:])
sys.exit(result.error is not None and str(result.error))
"""
JOB = "source: {reader: 'plugin.py:Rows'}\n"


def run_child(bench: Any, *run_id: str, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", CHILD, str(bench.root), *run_id], env={**os.environ, **environment})


class Long:
    """A job of many splits."""

    def __init__(self, bench: Any, plugin: Any, target: Target) -> None:
        self.bench, self.target = bench, target
        plugin(READER)
        bench.job(JOB + target.yaml(mode="append"))

    def dies_at(self, split: int) -> None:
        """A run that is killed once it has read this split."""
        self.bench.write(f"fault-{split}", "kill")
        assert run_child(self.bench).wait(60) == -9
        assert self.target.rows("id") == []

    def read(self) -> list[int]:
        """The splits that were read to their end, in all attempts."""
        path = self.bench.root / "read"
        return sorted(map(int, path.read_text().split())) if path.exists() else []

    def ok(self, **settings: Any) -> Any:
        return self.bench.ok(checkpoint_s=0.0, **settings)

    def is_exact(self) -> bool:
        return self.has_all_rows() and not self.leftovers()

    def has_all_rows(self) -> bool:
        return Counter(self.target.rows("id")) == Counter((i,) for i in range(SPLITS * ROWS))

    def leftovers(self) -> list[str]:
        return self.target.leftovers()


@pytest.fixture(params=KINDS)
def target(request: pytest.FixtureRequest, bench: Any) -> Target:
    connection = request.getfixturevalue("server").database() if request.param == "postgres" else {}
    return Target(request.param, bench.root, connection)


@pytest.fixture
def long(bench: Any, plugin: Any, target: Target) -> Long:
    return Long(bench, plugin, target)


def test_what_a_killed_run_had_finished_is_not_read_again(long: Long) -> None:
    long.dies_at(8)
    done = long.read()
    assert len(done) >= 6
    result = long.ok()
    assert long.is_exact() and result.commit.seq == 1
    assert result.splits_resumed >= len(done) - 2, "each worker may have died before its note"
    assert len(long.read()) == SPLITS + len(done) - result.splits_resumed
    assert f"resumed: {result.splits_resumed} of {SPLITS} splits were finished by an attempt before" in result.notes
    assert (result.rows_read, result.rows_written) == (SPLITS * ROWS, SPLITS * ROWS)


def test_a_run_may_die_again_and_again(long: Long) -> None:
    for split in (3, 6, 9, 11):
        done = long.read()  # the other thread may be ahead of the one that was killed
        long.dies_at(next(later for later in range(split, SPLITS) if later not in done))
    assert long.ok().commit.seq == 1
    assert long.is_exact()
    assert len(long.read()) <= SPLITS + 2 * 4


def test_a_job_that_opts_out_reads_all_again(long: Long) -> None:
    long.bench.job(JOB + long.target.yaml(mode="append") + "retry: {resume: false}\n")
    long.dies_at(8)
    done = len(long.read())
    assert long.ok().splits_resumed == 0
    assert long.is_exact() and len(long.read()) == done + SPLITS


def test_a_split_that_changed_is_read_again(long: Long) -> None:
    long.dies_at(8)
    long.bench.write("version", "0101" + "0" * (SPLITS - 4))
    result = long.ok()
    assert long.is_exact() and 0 < result.splits_resumed <= 8
    of = Counter(row for row in long.target.rows("id, version") if row[1] == "1")
    assert set(of) == {(i, "1") for split in (1, 3) for i in range(split * ROWS, (split + 1) * ROWS)}


@pytest.mark.parametrize("change", ["job", "commit", "split"])
def test_another_job_or_another_commit_begins_anew(long: Long, change: str) -> None:
    long.dies_at(8)
    if change == "job":
        long.bench.job(
            JOB + long.target.yaml(mode="append") + "schema: [{name: id, type: int64}]\nevolve: add_columns\n"
        )
    elif change == "commit":
        long.bench.job("source: {reader: csv, files: [a.csv]}\n" + long.target.yaml(mode="append"), "other")
        long.bench.write(
            "jobs/job.yaml", "name: job\nsource: {reader: csv, files: [a.csv]}\n" + long.target.yaml(mode="append")
        )
        long.bench.write("a.csv", "id,version\n-1,x\n")
        long.bench.ok()
        long.bench.job(JOB + long.target.yaml(mode="append"))
    else:
        long.bench.write("version", "1" * SPLITS)
    assert long.ok().splits_resumed == 0
    assert long.leftovers() == []


def test_the_next_attempt_of_a_run_goes_on_where_the_source_failed(long: Long) -> None:
    long.bench.job(JOB + long.target.yaml(mode="append") + "retry: {max_attempts: 2, delay: 0.01}\n")
    long.bench.write("fault-7", "transient")
    result = long.ok()
    assert (result.attempts, result.splits_resumed >= 5) == (2, True)
    assert long.is_exact() and len(long.read()) <= SPLITS + 1


def test_a_commit_that_fails_is_tried_again_without_reading(long: Long, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["dativo_assets.pipeline.run"]

    def away(*_: object) -> None:
        monkeypatch.setattr(module, "commit_once", commit_once)
        raise ConnectionError("the target is away")

    monkeypatch.setattr(module, "commit_once", away)
    long.bench.job(JOB + long.target.yaml(mode="append") + "retry: {max_attempts: 2, delay: 0.01}\n")
    result = long.bench.ok(checkpoint_s=1000.0)
    assert (result.attempts, result.splits_resumed) == (2, SPLITS)
    assert long.is_exact() and len(long.read()) == SPLITS


def test_a_run_that_lost_leaves_nothing(long: Long, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["dativo_assets.pipeline.run"]

    def lost(*_: object) -> None:
        raise CommitConflictError("another run was faster")

    monkeypatch.setattr(module, "commit_once", lost)
    assert isinstance(long.bench.run(settings=RunSettings(workers=2, checkpoint_s=0.0)).error, CommitConflictError)
    assert long.leftovers() == []


def test_files_that_a_lost_swap_may_still_name_are_not_taken_over(
    bench: Any, plugin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = Long(bench, plugin, Target("delta", bench.root, {}))

    def lost(*_: object) -> None:
        raise ConnectionError("the catalog is away")

    with monkeypatch.context() as patch:
        patch.setattr(DeltaStore, "swap", lost)
        failed = bench.run(settings=RunSettings(workers=2, checkpoint_s=0.0, retries=False))
    assert isinstance(failed.error, ConnectionError)
    assert long.ok().splits_resumed == 0
    assert long.has_all_rows()


def test_a_file_that_is_gone_from_a_lakehouse_is_read_again(bench: Any, plugin: Any) -> None:
    long = Long(bench, plugin, Target("delta", bench.root, {}))
    long.dies_at(8)
    next((bench.root / "out").glob("part-*.parquet")).unlink()
    assert long.ok().splits_resumed > 0
    assert long.is_exact()


@pytest.mark.parametrize("writer", ["parquet", "rust_parquet", "sqlite"])
def test_counts_of_rules_and_rejected_rows_are_those_of_a_run_that_did_not_die(
    bench: Any, plugin: Any, writer: str
) -> None:
    target = Target("sqlite" if writer == "sqlite" else "parquet", bench.root, {})
    long = Long(bench, plugin, target)
    rules = "schema: [{name: id, type: int64, min: 20}, {name: version, type: string}]\non_violation: quarantine\n"
    bench.job(JOB + target.yaml(mode="append", writer=writer) + rules)
    long.dies_at(8)
    result = long.ok()
    assert result.splits_resumed > 0
    assert (result.rows_written, result.rows_rejected) == (SPLITS * ROWS - 20, 20)
    checks = {check.name: (check.checked, check.violations) for check in result.checks}
    assert checks["id_min"] == (SPLITS * ROWS, 20)
    assert [row[0] for row in target.rows("id")] == sorted(range(20, SPLITS * ROWS), key=lambda i: str((i,)))
    assert sorted(row[0] for row in target.rows("id", "out_quarantine")) == list(range(20))


@pytest.mark.parametrize("kind", ["parquet", "sqlite", "delta"])
def test_kills_at_random_moments_lose_and_double_no_row(bench: Any, plugin: Any, kind: str) -> None:
    long = Long(bench, plugin, Target(kind, bench.root, {}))
    chance, kills = random.Random(5), 0
    while True:
        child = run_child(bench, "r", PAUSE_S="0.01")
        enough = len(long.read()) + chance.randint(2, 4)
        while child.poll() is None and len(long.read()) < enough:
            time.sleep(chance.uniform(0, 0.02))
        if child.poll() is not None:
            break
        child.kill()
        child.wait()
        kills += 1
    assert child.returncode == 0 and kills >= 2
    assert long.has_all_rows()
    assert len(long.read()) <= SPLITS + 2 * kills, (
        "each worker loses no more than the split it was at, and its last note"
    )
