"""Exactly one commit a run, whatever happens to the answer.

The rules, in the order the code has them:
1. rows_read = rows_written + rows_rejected, or nothing is committed.
2. A target whose newest commit has our run_id is already committed: the answer is that record.
3. The target compares and swaps n -> n+1. Losing the race is final.
4. When the outcome is unknown (the call died), read the newest commit: our run_id at n+1 means success, n means the
   swap did not happen and is tried again, anything else means that another run won.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone

from dativo_plugin_sdk import BaseWriter, Commit, CommitConflictError, Committable, DativoError, is_retryable_error

_ATTEMPTS = 3


def schema_hash(schema_text: Mapping[str, str]) -> str:
    """16 hexadecimal digits that change with any name, type or order of the columns."""
    return hashlib.sha256(json.dumps(list(schema_text.items())).encode()).hexdigest()[:16]


def new_record(base: Commit | None, **fields: object) -> Commit:
    """The record that follows `base`. fields: of Commit."""
    seq = 1 if base is None else base.seq + 1
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    return Commit.model_validate({"seq": seq, "committed_at": now, **fields})


def commit_once(writer: BaseWriter, committables: Sequence[Committable], record: Commit) -> Commit:
    """Commit `record` with the data, once.

    Returns: the record as the target holds it.
    Raises: CommitConflictError: another run committed first. DativoError: the target refused, or rule 1 is broken.
    """
    if record.rows_read != record.rows_written + record.rows_rejected:
        raise DativoError(
            f"{record.rows_read} rows were read, but {record.rows_written} written and {record.rows_rejected} rejected",
            "ROW_COUNT_MISMATCH",
            hint="a reader or writer plugin lost or doubled rows; nothing was committed",
        )
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return writer.commit(committables, record)
        except CommitConflictError:
            raise
        except Exception as error:
            last = writer.last_commit()
            if last is not None and last.run_id == record.run_id:
                return last
            if (0 if last is None else last.seq) >= record.seq:
                assert last is not None
                raise CommitConflictError(
                    f"{last.author} committed sequence {last.seq} first",
                    details={"winner": last.run_id, "seq": last.seq},
                    hint="nothing of this run is visible; run the job again",
                ) from error
            if attempt == _ATTEMPTS or not is_retryable_error(error):
                raise
    raise AssertionError("unreachable")
