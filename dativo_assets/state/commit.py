"""Exactly one commit a run, whatever happens to the answer.

A target keeps commits in a sequence and takes one more by a compare-and-swap: `commit` lands n+1, data and record
together, where n is the newest, and raises CommitConflictError where it isn't. That is all that is asked of it. The rules:

1. rows_read = rows_written + rows_rejected, or nothing is committed.
2. A run looks for the newest commit before it looks for its own: what it did not find then can't come to lie below
   the one it follows.
3. Whatever a commit raises, the target says what happened, and it is asked in the same order. The run's own record is
   there: it is committed, by this call, by an earlier one whose answer was lost, or by another attempt of the run.
   Else another run's record has the sequence: the run has lost, and nothing of it will ever be visible.
   Else a request may still be under way: it is sent again, and the sequence lets one of the two in.
4. Who does not learn the outcome does not guess: the error is retryable, and the next attempt begins with rule 2.
   What was staged stays, for a request that is under way refers to it, until the target has a newer commit.

tests/faults/test_protocol.py checks these rules in every order of events.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone

from dativo_plugin_sdk import (
    BaseWriter,
    Commit,
    CommitConflictError,
    Committable,
    DativoError,
    TransientError,
    is_retryable_error,
)

_ATTEMPTS = 3


def schema_hash(schema_text: Mapping[str, str]) -> str:
    """16 hexadecimal digits that change with any name, type or order of the columns."""
    return hashlib.sha256(json.dumps(list(schema_text.items())).encode()).hexdigest()[:16]


def look(writer: BaseWriter, run_id: str) -> tuple[Commit | None, Commit | None]:
    """The newest commit, and the one of this run, be it older (rule 2)."""
    newest = writer.last_commit()
    return newest, writer.commit_of(run_id)


def new_record(base: Commit | None, **fields: object) -> Commit:
    """The record that follows `base`. fields: of Commit."""
    seq = 1 if base is None else base.seq + 1
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    return Commit.model_validate({"seq": seq, "committed_at": now, **fields})


def commit_once(writer: BaseWriter, committables: Sequence[Committable], record: Commit) -> Commit:
    """Commit `record` with the data, once.

    Returns: the record as the target holds it.
    Raises: CommitConflictError: another run committed first. DativoError: the target refused, or rule 1 is broken; where
    it is retryable the outcome may not be known.
    """
    if record.rows_read != record.rows_written + record.rows_rejected:
        raise DativoError(
            f"{record.rows_read} rows were read, but {record.rows_written} written and {record.rows_rejected} rejected",
            "ROW_COUNT_MISMATCH",
            hint="a reader or writer plugin lost or doubled rows; nothing was committed",
        )
    refused = True  # every attempt so far met somebody's lock, so that nothing of this run is under way
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return writer.commit(committables, record)
        except Exception as error:
            refused = refused and isinstance(error, DativoError) and error.error_code == "TARGET_LOCKED"
            newest, own = _look_after(error, writer, record, refused=refused)
            if own is not None:
                return own
            if isinstance(error, CommitConflictError):
                raise
            if newest is not None and newest.seq >= record.seq:
                raise CommitConflictError(
                    f"{newest.author} committed sequence {newest.seq} first",
                    details={"winner": newest.run_id, "seq": newest.seq},
                    hint="nothing of this run is visible; run the job again",
                ) from error
            if attempt == _ATTEMPTS or not is_retryable_error(error):
                raise
    raise AssertionError("unreachable")


def _look_after(
    error: Exception, writer: BaseWriter, record: Commit, *, refused: bool
) -> tuple[Commit | None, Commit | None]:
    """What the target holds. refused: the error itself says that nothing was committed, should the target not answer."""
    try:
        return look(writer, record.run_id)
    except Exception as unanswered:
        if not is_retryable_error(unanswered):
            raise
        if refused:
            raise error from unanswered
        raise TransientError(
            f"whether sequence {record.seq} of {record.job} was committed is not known: {error}; asked again: {unanswered}",
            "COMMIT_UNKNOWN",
            {"seq": record.seq, "run_id": record.run_id},
            hint="run the job again once the target answers: it goes on from what the target holds",
        ) from error
