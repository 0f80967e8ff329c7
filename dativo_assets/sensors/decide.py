"""Whether something new starts a run now: the waits that its trigger asks for, and what became of earlier runs of it."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import dagster as dg

CHANGE_TAG = "dativo/change"
_FIRST_RETRY_S = 30.0
_MAX_RETRY_S = 3600.0
_KEYS_AT_ONCE = 100  # of one question to the instance, which answers with no more than _RUNS_LOOKED_AT runs
_RUNS_LOOKED_AT = 1000
_KEY_CHARACTERS = 120


class Waits(Protocol):
    """What a trigger says of when."""

    @property
    def debounce_s(self) -> float: ...
    @property
    def quiet_period_s(self) -> float: ...
    @property
    def max_lag_s(self) -> float | None: ...


@dataclass(frozen=True)
class Change:
    """Something new that a probe found. key: of the job and its watermark. Times in s since the epoch.

    first_s: when the first of the changes was seen that no run was started for. since_s: when this one was.
    """

    key: str
    first_s: float
    since_s: float

    @classmethod
    def seen(cls, job: str, watermark: str, before: "Change | None", now_s: float) -> "Change":
        """The change that a watermark is. job: or one of its partitions. before: its last change that waits."""
        key = f"{_shortened(job)}:{_shortened(watermark)}"
        if before is None:
            return cls(key, now_s, now_s)
        return before if before.key == key else cls(key, before.first_s, now_s)


def _shortened(text: str) -> str:
    if len(text) <= _KEY_CHARACTERS:
        return text
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


@dataclass(frozen=True)
class Tried:
    """Runs of one change, the latest last. ended_s: when the last one did; started_s: when it was asked for."""

    failed: int
    last: dg.DagsterRunStatus
    run_id: str
    ended_s: float
    started_s: float


@dataclass(frozen=True)
class Decision:
    """attempt: of the run to start, from 1; 0 for none. why: in one line, for a person. waits: for the trigger's waits alone."""

    attempt: int
    why: str
    waits: bool = False


def tried(keys: Iterable[str], instance: dg.DagsterInstance) -> Mapping[str, Tried]:
    """What became of the changes with these keys, of those that a run was started for."""
    wanted = list(keys)
    found: dict[str, Tried] = {}
    for at in range(0, len(wanted), _KEYS_AT_ONCE):
        some = dg.RunsFilter(tags={CHANGE_TAG: wanted[at : at + _KEYS_AT_ONCE]})
        _add_tried(found, instance.get_run_records(some, limit=_RUNS_LOOKED_AT))
    return found


def _add_tried(found: dict[str, Tried], records: Sequence[dg.RunRecord]) -> None:
    """records: the newest first, as Dagster gives them."""
    for record in reversed(records):
        run = record.dagster_run
        key = run.tags[CHANGE_TAG]
        created_s = record.create_timestamp.timestamp()
        failed = (found[key].failed if key in found else 0) + (run.status is dg.DagsterRunStatus.FAILURE)
        found[key] = Tried(failed, run.status, run.run_id, record.end_time or created_s, created_s)


def decide(change: Change, waits: Waits, before: Tried | None, last_run_s: float | None, now_s: float) -> Decision:
    """before: the runs of this change. last_run_s: when the job's last run of another change was asked for."""
    if before is not None:
        return _again(before, now_s)
    late = waits.max_lag_s is not None and now_s - change.first_s >= waits.max_lag_s
    if late:
        return Decision(1, f"new since its last commit, and waiting for {waits.max_lag_s:g} s, its maximum lag")
    if (left := change.since_s + waits.debounce_s - now_s) > 0:
        return Decision(
            0, f"new, but it changed {now_s - change.since_s:.0f} s ago: {left:.0f} s of debounce left", True
        )
    if last_run_s is not None and (left := last_run_s + waits.quiet_period_s - now_s) > 0:
        return Decision(0, f"new, but its last run is recent: {left:.0f} s of its quiet period left", True)
    return Decision(1, "new since its last commit")


def _again(before: Tried, now_s: float) -> Decision:
    run = before.run_id[:8]
    if before.last is dg.DagsterRunStatus.SUCCESS:
        return Decision(0, f"run {run} succeeded, and its source tells the same as before that")
    if before.last in (dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.CANCELING):
        return Decision(0, f"run {run} of this was cancelled; start it by hand, or the next change does")
    if before.last is not dg.DagsterRunStatus.FAILURE:
        return Decision(0, f"run {run} is on its way")
    wait_s = min(_FIRST_RETRY_S * 2 ** (before.failed - 1), _MAX_RETRY_S)
    if (left := before.ended_s + wait_s - now_s) > 0:
        return Decision(0, f"run {run} failed, attempt {before.failed}; the next one is in {left:.0f} s")
    return Decision(before.failed + 1, f"run {run} failed: attempt {before.failed + 1}")
