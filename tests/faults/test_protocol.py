"""The protocol of `dativo_assets/state/commit.py`, its real code in every order of events.

The target is the weakest that may call itself one: data lies beside the commits and is only referred to, as with an object
store or a lake's catalog; a request may fail before or after it took effect, or take effect long after its sender gave
up; and it keeps nothing but a sequence. A run follows the steps of `pipeline/run.py`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import pytest
from dativo_plugin_sdk import (
    AssetDefinition,
    BaseWriter,
    Commit,
    CommitConflictError,
    Committable,
    ConnectionError,
    DativoError,
    TargetConfig,
    is_retryable_error,
)

from dativo_assets.state import commit, commit_once, look, new_record

from .explore import Explored, Process, Schedule, Violation, World, explore

SOAK = bool(os.environ.get("DATIVO_SOAK"))
THIS = sys.modules[__name__]
CONFLICT, FAILED = "conflict", "failed"
JOB, TARGET = AssetDefinition(name="j"), TargetConfig()


class Store:
    """The server: what has arrived. objects: what attempts staged, {attempt: (base, rows)}."""

    def __init__(self) -> None:
        self.commits: list[Commit] = []
        self.objects: dict[str, tuple[int, tuple[int, ...]]] = {}
        self.under_way: list[Commit] = []

    def swap(self, record: Commit) -> Commit:
        if len(self.commits) != record.seq - 1:
            raise CommitConflictError(f"sequence {record.seq} is taken")
        self.commits.append(record)
        return record

    def visible(self) -> list[int]:
        """Rows that a reader sees: of what is missing it sees none."""
        start = max((at for at, done in enumerate(self.commits) if done.mode == "overwrite"), default=0)
        names = [name for done in self.commits[start:] for name in done.files]
        return [row for name in names for row in self.objects.get(name, (0, ()))[1]]


class StoreWriter(BaseWriter):
    """A client of the store: each of its calls is a step."""

    def __init__(self, store: Store, schedule: Schedule, attempt: str) -> None:
        super().__init__(JOB, TARGET)
        self.store, self.schedule, self.attempt = store, schedule, attempt

    def _ask(self, what: str, answer: Callable[[], Any]) -> Any:
        return self.schedule.step(what, {"done": answer, "refused": _fail})

    def last_commit(self) -> Commit | None:
        return self._ask(  # type: ignore[no-any-return]
            "last_commit", lambda: self.store.commits[-1] if self.store.commits else None
        )

    def commit_of(self, run_id: str) -> Commit | None:
        return self._ask(  # type: ignore[no-any-return]
            "commit_of", lambda: next((done for done in self.store.commits if done.run_id == run_id), None)
        )

    def sweep(self) -> None:
        """Remove what nobody can commit any more: it began with a commit that is not the newest, and isn't used."""
        found = self.schedule.step("list", {"done": lambda: dict(self.store.objects)})
        if found:
            seq, used = self.schedule.step("newest and used", {"done": lambda: (len(self.store.commits), self._used())})
            gone = [name for name, (base, _) in found.items() if name not in used and base < seq]
            if gone:
                self.schedule.step("sweep", {"done": lambda: [self.store.objects.pop(name, None) for name in gone]})

    def _used(self) -> tuple[str, ...]:
        return tuple(name for done in self.store.commits for name in done.files)

    def stage(self, base: int, rows: tuple[int, ...]) -> list[Committable]:
        self.schedule.step("stage", {"done": lambda: self.store.objects.update({self.attempt: (base, rows)})})
        return [Committable(rows=len(rows), payload={"file": self.attempt})]

    def commit(self, committables: Sequence[Committable], commit: Commit) -> Commit:
        record = commit.model_copy(update={"files": tuple(item.payload["file"] for item in committables)})

        def lost() -> None:
            self.store.swap(record)
            _fail()

        def late() -> None:
            self.store.under_way.append(record)
            _fail()

        offers = {"done": lambda: self.store.swap(record), "refused": _fail, "lost": lost, "late": late}
        return self.schedule.step("commit", offers)  # type: ignore[no-any-return]

    def abort(self) -> None:
        self.schedule.step("abort", {"done": lambda: self.store.objects.pop(self.attempt, None)})


def _fail() -> None:
    raise ConnectionError("the line is dead")


class Runs(World):
    """Attempts of runs on one target. attempts: {attempt: (run id, mode)}; two of one run are its retry, or its zombie.

    An append reads what comes after the cursor, an overwrite all there is. A killed attempt is one that is never scheduled
    again, so every kill is in here, and every zombie.
    """

    def __init__(self, attempts: Mapping[str, tuple[str, str]], rows: int = 1, **budget: int) -> None:
        super().__init__(**budget)
        self.to_come = rows
        self.attempts = attempts
        self.store = Store()
        self.rows = 1

    def processes(self, schedule: Schedule) -> Mapping[str, Callable[[], Hashable]]:
        self.schedule = schedule
        return {name: lambda name=name: self._attempt(name) for name in self.attempts}  # type: ignore[misc]

    def events(self) -> Mapping[str, Callable[[], Any]]:
        """Rows arrive; requests that their senders gave up arrive, or never do."""
        rows = {"a row arrives": self._row} if self.to_come else {}
        return {**rows, **({"a late request arrives": self._arrive} if self.store.under_way else {})}

    def _arrive(self) -> None:
        record = self.store.under_way.pop(0)
        if len(self.store.commits) == record.seq - 1:
            self.store.commits.append(record)

    def _row(self) -> None:
        self.rows, self.to_come = self.rows + 1, self.to_come - 1

    def _attempt(self, name: str) -> Hashable:
        """As `pipeline/run.py` does it."""
        run_id, mode = self.attempts[name]
        writer = StoreWriter(self.store, self.schedule, name)
        try:
            base, done = look(writer, run_id)
            if done is not None:
                return done.seq
            writer.sweep()
            start = 0 if base is None or mode == "overwrite" else (base.cursor or {})["rows"]
            until = self.schedule.step("read", {"done": lambda: self.rows})
            staged = writer.stage(0 if base is None else base.seq, tuple(range(start, until)))
            count = until - start
            record = new_record(
                base, job="j", run_id=run_id, mode=mode, cursor={"rows": until}, rows_read=count, rows_written=count
            )
            return commit_once(writer, staged, record).seq
        except Exception as error:
            if not is_retryable_error(error):
                writer.abort()
            return CONFLICT if isinstance(error, CommitConflictError) else FAILED

    def seen(self, value: Any) -> Hashable:
        return (value.run_id, value.seq) if isinstance(value, Commit) else repr(value)

    def state(self) -> Hashable:
        commits = tuple((c.run_id, c.mode, c.files, str(c.cursor)) for c in self.store.commits)
        late = tuple((c.run_id, c.seq, c.files) for c in self.store.under_way)
        return commits, late, tuple(sorted(self.store.objects.items())), self.rows, self.to_come

    def check(self, processes: Mapping[str, Process]) -> None:
        commits = self.store.commits
        cursor = (commits[-1].cursor or {})["rows"] if commits else 0
        visible = self.store.visible()
        assert len(visible) == len(set(visible)), f"rows are doubled: {visible}"
        assert visible == list(range(cursor)), f"the cursor is at {cursor}, and the rows are {visible}"
        runs = [done.run_id for done in commits]
        assert len(runs) == len(set(runs)), f"a run committed twice: {runs}"
        data = [name for done in commits for name in done.files]
        for name, (run_id, _) in self.attempts.items():
            result = processes[name].result
            assert result != CONFLICT or name not in data, (
                f"{name} was told that it lost, and what it staged is committed"
            )
            assert not isinstance(result, int) or run_id in runs[result - 1 : result], (
                f"{name} was told a commit that isn't its"
            )


A, B = {"a": ("A", "append")}, {"b": ("B", "append")}
RETRY, OVERWRITE = {"a2": ("A", "append")}, {"b": ("B", "overwrite")}
WORLDS: dict[str, tuple[Mapping[str, tuple[str, str]], dict[str, int]]] = {
    "one run": (A, {"refused": 2, "lost": 1, "late": 1}),
    "two runs": ({**A, **B}, {"refused": 0, "lost": 1, "late": 1}),
    "a run and its retry": ({**A, **RETRY}, {"refused": 0, "lost": 1, "late": 1}),
    "an append and an overwrite": ({**A, **OVERWRITE}, {"refused": 0, "lost": 1, "late": 1}),
    "a run, its retry and another run": ({**A, **RETRY, **B}, {"refused": 0, "lost": 0, "late": 0, "rows": 0}),
}
LONG = {
    "a run, its retry and another run, lost": ({**A, **RETRY, **B}, {"refused": 0, "lost": 1, "late": 0}),
    "a run, its retry and another run, late": ({**A, **RETRY, **B}, {"refused": 0, "lost": 0, "late": 1}),
    "a run, its retry and an overwrite": ({**A, **RETRY, **OVERWRITE}, {"refused": 1, "lost": 0, "late": 1}),
    "two runs, refused": ({**A, **B}, {"refused": 2, "lost": 2, "late": 1}),
}


def explored(name: str) -> Explored:
    attempts, budget = {**WORLDS, **LONG}[name]
    return explore(lambda: Runs(attempts, **budget))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", [*WORLDS, *(LONG if SOAK else ())])
def test_in_every_order_of_events_no_row_is_lost_or_doubled(
    name: str, record_property: Callable[[str, object], None]
) -> None:
    found = explored(name)
    record_property("explored", f"protocol, {name}: {found}")
    assert found.schedules > 10


def test_rows_that_do_not_add_up_are_not_committed() -> None:
    record = new_record(None, job="j", run_id="r", rows_read=3, rows_written=1, rows_rejected=1)
    with pytest.raises(DativoError, match="3 rows were read, but 1 written and 1 rejected"):
        commit_once(BaseWriter(JOB, TARGET), [], record)


def own_before_newest(writer: BaseWriter, run_id: str) -> tuple[Commit | None, Commit | None]:
    own = writer.commit_of(run_id)
    return writer.last_commit(), own


def no_look(writer: BaseWriter, run_id: str) -> tuple[Commit | None, Commit | None]:
    return writer.last_commit(), None


def no_compare(store: Store, record: Commit) -> Commit:
    store.commits.append(record)
    return record


def conflict_is_final(error: Exception, writer: BaseWriter, record: Commit) -> Any:
    if isinstance(error, CommitConflictError):
        raise error
    return look(writer, record.run_id)


def died_is_lost(error: Exception, writer: BaseWriter, record: Commit) -> Any:
    raise CommitConflictError("the line died, so it did not happen") from error


def died_is_done(error: Exception, writer: BaseWriter, record: Commit) -> Any:
    return None, look(writer, record.run_id)[1] or record


def in_two_steps(*order: str) -> Callable[[StoreWriter, Sequence[Committable], Commit], Commit]:
    """The data and the cursor each by a request of its own."""

    def commit(writer: StoreWriter, committables: Sequence[Committable], record: Commit) -> Commit:
        store = writer.store
        whole = record.model_copy(update={"files": tuple(item.payload["file"] for item in committables)})
        half = {
            "cursor": record,
            "data": whole.model_copy(update={"cursor": store.commits[-1].cursor if store.commits else {"rows": 0}}),
        }[order[0]]
        writer.schedule.step(order[0], {"done": lambda: store.swap(half)})
        writer.schedule.step(order[1], {"done": lambda: store.commits.__setitem__(record.seq - 1, whole)})
        return whole

    return commit


def sweep_at_once(writer: StoreWriter) -> None:
    found = writer.schedule.step("list", {"done": lambda: dict(writer.store.objects)})
    used = writer.schedule.step("used", {"done": writer._used})
    gone = [name for name in found if name not in used]
    writer.schedule.step("sweep", {"done": lambda: [writer.store.objects.pop(name, None) for name in gone]})


MUTANTS: dict[str, tuple[str, list[tuple[object, str, object]]]] = {
    "the run's own commit is looked for before the newest": (
        "a run and its retry",
        [(commit, "look", own_before_newest), (THIS, "look", own_before_newest)],
    ),
    "the run id is ignored": ("a run and its retry", [(commit, "look", no_look), (THIS, "look", no_look)]),
    "the compare is dropped": ("two runs", [(Store, "swap", no_compare)]),
    "a conflict is final without a look": ("two runs", [(commit, "_look_after", conflict_is_final)]),
    "a line that died means lost": ("two runs", [(commit, "_look_after", died_is_lost)]),
    "a line that died means done": ("two runs", [(commit, "_look_after", died_is_done)]),
    "the cursor is written first": ("two runs", [(StoreWriter, "commit", in_two_steps("cursor", "data"))]),
    "the data is written first": ("two runs", [(StoreWriter, "commit", in_two_steps("data", "cursor"))]),
    "what was staged is removed while a request is under way": (
        "one run",
        [(THIS, "is_retryable_error", lambda error: False)],
    ),
    "what a dead run staged is swept at once": ("two runs", [(StoreWriter, "sweep", sweep_at_once)]),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_protocol_that_is_broken_on_purpose_is_found_out(
    monkeypatch: pytest.MonkeyPatch, mutant: str, record_property: Callable[[str, object], None]
) -> None:
    world, changes = MUTANTS[mutant]
    for owner, name, change in changes:
        monkeypatch.setattr(owner, name, change)
    with pytest.raises(Violation) as caught:
        explored(world)
    record_property("mutant", f"protocol: {mutant}: {str(caught.value).splitlines()[0]}")
