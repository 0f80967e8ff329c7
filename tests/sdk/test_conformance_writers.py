"""The writer suite: correct writers pass it, and each of its checks catches the writer that breaks it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from dativo_plugin_sdk import (
    BaseWriter,
    Commit,
    CommitConflictError,
    Committable,
    ConfigurationError,
    Options,
    Snapshot,
    SplitWriter,
    WriteRequest,
    WriteTask,
)
from dativo_plugin_sdk.testing import WriterConformance, run_suite
from pydantic import field_validator


class Part(SplitWriter):
    """Rows of one worker in a staged file."""

    def __init__(self, path: Path, kind: str) -> None:
        self.path, self.kind, self.rows = path, kind, 0
        self.file = path.open("w", encoding="utf-8")

    def write(self, batch: Any) -> None:
        for row in pa.record_batch(batch).to_pylist():
            self.file.write(json.dumps(row, default=str) + "\n")
            self.rows += 1

    def finish(self) -> Sequence[Committable]:
        self.file.close()
        return [Committable(kind=self.kind, rows=self.rows, payload={"file": self.path.name})]  # type: ignore[arg-type]

    def abort(self) -> None:
        self.file.close()
        self.path.unlink(missing_ok=True)


class Lines(BaseWriter):
    """A correct level-3 writer: `out.json` names the files of each commit, and is created by link, once a sequence."""

    needs_path = True
    quarantines = True

    @property
    def home(self) -> Path:
        return Path(self.target_config.root, str(self.target_config.path) + ".d")

    def place(self, kind: str) -> Path:
        return self.home / f"{kind}-{self.run}"

    def commits(self) -> list[dict[str, Any]]:
        return [json.loads(p.read_text()) for p in sorted(self.home.glob("*.commit"))]

    def history(self) -> Sequence[Commit]:
        return tuple(Commit.model_validate(item["record"]) for item in self.commits())

    def last_commit(self) -> Commit | None:
        return next(reversed(self.history()), None)

    def open(self, request: WriteRequest) -> None:
        try:
            self.home.mkdir(exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"{self.home} can't be made: {error.strerror}") from error
        self.run = f"{request.run_id}-{os.urandom(3).hex()}"
        for kind in ("data", "quarantine"):
            self.place(kind).mkdir()

    def writer(self, task: WriteTask) -> SplitWriter:
        return Part(self.place(task.kind) / f"{task.index}.jsonl", task.kind)

    def files(self, items: Sequence[Committable], kind: str) -> tuple[str, ...]:
        return tuple(str(self.place(kind) / str(item.payload["file"])) for item in items if item.kind == kind)

    def commit(self, committables: Sequence[Committable], commit: Commit) -> Commit:
        before = [] if commit.mode == "overwrite" or commit.seq == 1 else self.commits()[-1]["files"]
        kept = commit.model_copy(update={"quarantine": self.files(committables, "quarantine")})
        body = {"record": kept.model_dump(), "files": [*before, *self.files(committables, "data")]}
        new = self.home / f"{self.run}.new"
        new.write_text(json.dumps(body))
        try:
            os.link(new, self.home / f"{commit.seq:09d}.commit")
        except FileExistsError as error:
            raise CommitConflictError(f"sequence {commit.seq} is taken") from error
        finally:
            new.unlink()
        return kept

    def abort(self) -> None:
        for kind in ("data", "quarantine"):
            for path in self.place(kind).glob("*"):
                path.unlink()

    def snapshot(self) -> Snapshot | None:
        commits = self.commits()
        return Snapshot(len(commits), str(self.home), "jsonl", tuple(commits[-1]["files"])) if commits else None


class TestLines(WriterConformance):
    writer = Lines


class RowFiles(BaseWriter):
    """Level 1."""

    def write_batch(self, records: list[dict[str, Any]], file_counter: int) -> list[dict[str, Any]]:
        path = Path(self.output_base) / f"part-{file_counter:05d}.jsonl"
        path.write_text("".join(json.dumps(row, default=str) + "\n" for row in records))
        return [{"path": str(path), "size_bytes": path.stat().st_size, "record_count": len(records)}]


class TestRowFiles(WriterConformance):
    writer = RowFiles

    def read_back(self, writer: BaseWriter) -> Sequence[Mapping[str, Any]] | None:
        files = writer.table.files()  # type: ignore[attr-defined]
        return [json.loads(line) for path in files for line in Path(path).read_text().splitlines()]


BROKEN: dict[str, tuple[type[BaseWriter], str]] = {}
"""By the check that must fail: the writer, and what the check must say."""


def breaks(check: str, says: str) -> Callable[[type[BaseWriter]], type[BaseWriter]]:
    def note(writer: type[BaseWriter]) -> type[BaseWriter]:
        BROKEN[check] = writer, says
        return writer

    return note


@breaks("test_it_is_a_writer_of_this_api", "modes are ['upsert']")
class HasOtherModes(Lines):
    modes = frozenset({"upsert"})


@breaks("test_check_connection_answers", "returned NoneType")
class AnswersNothing(Lines):
    def check_connection(self) -> Any:
        return None


@breaks("test_close_may_come_early_and_twice", "connection")
class ClosesWhatItNeverOpened(Lines):
    def close(self) -> None:
        del self.connection


@breaks("test_rows_of_several_workers_land", "250 rows, not 500")
class ForgetsTheSecondWorker(Lines):
    def files(self, items: Sequence[Committable], kind: str) -> tuple[str, ...]:
        return super().files(items, kind)[:1]


@breaks("test_the_commit_is_kept", "cursor None")
class DropsTheCursor(Lines):
    def commit(self, committables: Sequence[Committable], commit: Commit) -> Commit:
        super().commit(committables, commit.model_copy(update={"cursor": None}))
        return commit


@breaks("test_nothing_is_visible_before_the_commit", "before the commit there is out/data-")
class StagesInTheTable(Lines):
    @property
    def home(self) -> Path:
        return Path(self.target_config.root, str(self.target_config.path))


@breaks("test_an_aborted_run_leaves_nothing", "abort left out.d/data-run-2")
class LeavesItsFiles(Lines):
    def abort(self) -> None:
        pass


@breaks("test_a_commit_without_rows_is_kept", "IndexError")
class WantsRows(Lines):
    def commit(self, committables: Sequence[Committable], commit: Commit) -> Commit:
        self.first = committables[0]
        return super().commit(committables, commit)


@breaks("test_rejected_rows_stay_apart", "15 rows, not 10")
class LandsRejects(Lines):
    def files(self, items: Sequence[Committable], kind: str) -> tuple[str, ...]:
        return super().files(items, kind) + (super().files(items, "quarantine") if kind == "data" else ())


@breaks("test_append_adds_and_overwrite_replaces", "after overwrite")
class NeverReplaces(Lines):
    def commit(self, committables: Sequence[Committable], commit: Commit) -> Commit:
        return super().commit(committables, commit.model_copy(update={"mode": "append"}))


@breaks("test_a_crash_leaves_the_next_run_unharmed", "FileExistsError")
class TripsOverItsStaging(Lines):
    def open(self, request: WriteRequest) -> None:
        super().open(request)
        (self.home / request.run_id).mkdir()


class Overwrites(Lines):
    def commit(self, committables: Sequence[Committable], commit: Commit) -> Commit:
        newest = len(self.commits())
        return super().commit(committables, commit.model_copy(update={"seq": newest + 1}))


breaks("test_a_run_that_is_tried_again_commits_once", "as sequence 2")(Overwrites)
breaks("test_of_two_runs_from_one_commit_one_wins", "a sequence that another one had")(Overwrites)


@breaks("test_a_cancelled_run_ends_soon", "stopping took more than")
class WaitsForItsServer(Lines):
    def cancel(self) -> None:
        threading.Event().wait(3)


@breaks("test_a_target_that_cannot_be_written_is_an_error_of_the_tree", "tells the password")
class TellsThePassword(Lines):
    def open(self, request: WriteRequest) -> None:
        if not self.home.parent.is_dir():
            raise ConfigurationError(f"refused: {self.target_config.credentials}")
        super().open(request)


@breaks("test_secrets_are_not_told", "the password is in")
class PrintsItsCredentials(Lines):
    def __repr__(self) -> str:
        return f"Lines({self.target_config.credentials})"


@breaks("test_options_have_a_schema", "not a pydantic model")
class OptionsAreAClass(Lines):
    class Options:  # type: ignore[assignment]
        @classmethod
        def model_validate(cls, value: Any) -> Any:
            return cls()


@breaks("test_an_unknown_option_is_refused", "no_such_option was taken")
class TakesAnyOption(Lines):
    class Options(Options, extra="ignore"):  # type: ignore[call-arg]
        pass


@breaks("test_hostile_option_values_are_refused_or_taken", "raised KeyError")
class Stumbles(Lines):
    class Options(Options):
        codec: str = "none"

        @field_validator("codec")
        @classmethod
        def _known(cls, value: str) -> str:
            return {"none": "none"}[value]


@breaks("test_repeated_use_takes_no_more_memory", "bytes behind")
class KeepsWhatItWrote(Lines):
    kept: ClassVar[list[Any]] = []

    def writer(self, task: WriteTask) -> SplitWriter:
        self.kept.append(bytearray(100_000))
        return super().writer(task)


CHECKS = sorted(name for name in dir(WriterConformance) if name.startswith("test_"))


@pytest.mark.parametrize("check", CHECKS)
def test_each_check_catches_what_breaks_it(check: str) -> None:
    writer, says = BROKEN[check]
    suite = type("Suite", (TestLines,), {"writer": writer, "cancel_s": 0.5})
    (outcome,) = run_suite(suite, checks=[check]).outcomes
    assert not outcome.passed
    assert says in outcome.remark
