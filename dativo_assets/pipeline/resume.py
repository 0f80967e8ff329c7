"""What a long run finishes on its way is kept: one that follows a crash, or the next attempt, reads the rest and commits all.

A worker that has moved splits for a while closes its files between two splits and notes these splits beside them, in the
run's staging folder. The next run of the same job from the same commit takes the folder over, if its process is dead, and
with it the splits that it would read itself: of the same id and payload. Files of other splits, and files not noted, go.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dativo_plugin_sdk import BaseReader, BaseWriter, Checkpoint, Commit, Split
from dativo_plugin_sdk.arrow import schema_text

from dativo_assets.plan import JobPlan

from .evolve import schema_of
from .incremental import CursorFilter
from .settings import RunSettings

if TYPE_CHECKING:
    from dativo_assets.contract import Checker

    from .move import Shared, Worker


def resume_key(plan: JobPlan, base: Commit | None, mode: str, *attempt: object) -> str:
    """What two runs have in common if one can go on with what the other has finished: the job, its plugins and the commit that
    it follows, and behind a dot what an attempt has found out.
    """
    contract = plan.contract
    rules = None if contract is None else [contract.on_violation, *map(repr, (*contract.columns, *contract.rules))]
    plugins = [plan.reader.load().name, plan.writer.load().name]
    following = None if base is None else [base.seq, base.run_id]
    run = [plan.job.digest, rules, plugins, following, mode]
    return f"{_digest(run)}.{_digest(list(attempt))}"


def can_resume(
    plan: JobPlan, writer: BaseWriter, splits: Sequence[Split], settings: RunSettings, *, filters: bool
) -> bool:
    """Whether rows that are finished need not come from the source again. filters: whether they are filtered here by a cursor:
    a row that came to a finished split since may lie below the cursor that the others lead to, and would never be read.
    """
    wanted = plan.job.retry.resume and settings.checkpoint_s is not None and len(splits) > 1
    if not wanted or not writer.resumes:
        return False
    remembers = plan.contract is not None and bool(plan.contract.keys)
    return (writer.rereads or not remembers) and not (filters and any(split.version is None for split in splits))


class Resume:
    """One attempt's checkpoints: those it took over, and those it makes."""

    def __init__(self, writer: BaseWriter, reader: BaseReader, splits: Sequence[Split], settings: RunSettings) -> None:
        assert settings.checkpoint_s is not None
        self._writer, self._reader, self._every_s = writer, reader, settings.checkpoint_s
        self._digests = _Digests(splits)
        self.taken = tuple(writer.finished(self._digests))
        done = {digest for checkpoint in self.taken for digest in checkpoint.splits}
        self.splits = tuple(split for split in splits if not done or self._digests.of(split) not in done)
        self.total = len(splits)
        self.first_task = 1 + max((checkpoint.details["task"] for checkpoint in self.taken), default=-1)
        self._tasks = itertools.count(self.first_task + settings.workers)

    @property
    def input_schema(self) -> Any:
        """Of the splits taken over; None where there are none."""
        if not self.taken:
            return None
        text = self.taken[0].details["input"]
        return None if text is None else schema_of(text)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person may want to know of it, with what the reader said then."""
        if not self.taken:
            return ()
        done = self.total - len(self.splits)
        said = [note for checkpoint in self.taken for note in checkpoint.details["notes"]]
        return (f"resumed: {done} of {self.total} splits were finished by an attempt before", *said)

    def restore(self, worker: Worker) -> None:
        """Give a worker that has moved nothing what was taken over, before others begin. Raises: DativoError."""
        settled = worker.shared.settled
        for checkpoint in self.taken:
            details = checkpoint.details
            if details["cursor"] is not None and settled is not None and isinstance(settled.cursor, CursorFilter):
                settled.cursor.restore(details["cursor"])
            worker.committables.extend(checkpoint.committables)
            worker.rows_read += details["rows_read"]
            worker.rows_written += details["rows_written"]
            worker.rows_rejected += details["rows_rejected"]
            checker = None if settled is None else settled.checker
            if checker is not None and details["counts"] is not None:
                checker.add(details["counts"])
                if checker.remembers:
                    self._remember(checker, checkpoint)

    def _remember(self, checker: Checker, checkpoint: Checkpoint) -> None:
        """Let a later row be judged by those taken over."""
        columns = sorted({name for rule in checker.keys for name in rule.columns})
        for item in checkpoint.committables:
            if item.kind == "data":
                for batch in self._writer.reread(item, columns):
                    checker.remember(batch.select(columns))

    def moved(self, worker: Worker) -> None:
        """To be called between two splits: close the worker's files and note them, if it is time."""
        if time.monotonic() - worker.noted_s >= self._every_s:
            self.note(worker)

    def note(self, worker: Worker) -> None:
        """Note what a worker has finished since its last checkpoint, if that is all there is to know of it: else a run that
        goes on reads it again. Raises: DativoError.
        """
        since = worker.closed() if worker.unnoted else None
        if since is not None and since.alone:
            names = tuple(f"{split.id}: " for split in since.splits)
            details = {
                "task": worker.task,
                "rows_read": since.rows_read,
                "rows_written": since.rows_written,
                "rows_rejected": since.rows_rejected,
                "counts": since.counts,
                "cursor": since.cursor,
                "input": _text(worker.shared),
                "notes": [note for note in self._reader.notes if note.startswith(names)],
            }
            digests = tuple(map(self._digests.of, since.splits))
            self._writer.checkpoint(Checkpoint(digests, tuple(since.committables), details))
        worker.task, worker.noted_s = next(self._tasks), time.monotonic()


class _Digests(Collection[str]):
    """The digests of a plan's splits, made when somebody asks: a plan may be long, and most runs have nothing to resume."""

    def __init__(self, splits: Sequence[Split]) -> None:
        self._splits = splits

    def of(self, split: Split) -> str:
        return _digest([split.id, split.payload, split.version])

    def __contains__(self, digest: object) -> bool:
        return digest in self._all

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    @cached_property
    def _all(self) -> frozenset[str]:
        return frozenset(map(self.of, self._splits))


def _text(shared: Shared) -> dict[str, str] | None:
    return None if shared.input_schema is None else schema_text(shared.input_schema)


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
