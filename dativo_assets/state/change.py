"""What a person does to a job's state: each change is a commit like a run's, without data, so that a run under way loses to it.

The cursor changes, the table does not: its rows and columns stay as they are. Who did it, and what, is in the record.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from dativo_plugin_sdk import BaseWriter, Commit, ConfigurationError, ValidationError, WriteRequest
from dativo_plugin_sdk.records import parse_record

from .commit import commit_once, new_record

DOCUMENT = "dativo-state"
VERSION = 1


def rewound(history: Sequence[Commit], seq: int) -> Commit:
    """The commit to go back to. Raises: ConfigurationError: when its record is not there."""
    found = next((commit for commit in history if commit.seq == seq), None)
    if found is None:
        known = f"{history[0].seq} to {history[-1].seq}" if history else "none"
        raise ConfigurationError(
            f"there is no record of commit {seq}",
            hint=f"records that can be seen: {known}; `dativo state history` lists them",
        )
    return found


def change(
    writer: BaseWriter,
    base: Commit | None,
    whose: tuple[str, str],
    cursor: Mapping[str, Any] | None,
    action: str,
    **facts: object,
) -> Commit:
    """Commit this cursor behind `base`. whose: job and stream. action: the command's word. facts: of it, for the audit log.

    Raises: CommitConflictError: when a run or another change committed first; nothing is changed then.
    """
    run_id = f"{action}-{uuid.uuid4().hex}"
    job, stream = whose
    writer.open(WriteRequest(job=job, stream=stream, run_id=run_id, base_seq=0 if base is None else base.seq))
    try:
        record = new_record(
            base,
            job=job,
            stream=stream,
            run_id=run_id,
            cursor=None if cursor is None else dict(cursor),
            schema_text={} if base is None else base.schema_text,
            schema_hash="" if base is None else base.schema_hash,
            details={"state": {"action": action, **facts}},
        )
        return commit_once(writer, [], record)
    finally:
        writer.abort()


def exported(last: Commit) -> dict[str, Any]:
    """The document that `imported` reads."""
    return {
        "format": DOCUMENT,
        "version": VERSION,
        "job": last.job,
        "exported_at": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        "commit": last.model_dump(mode="json"),
    }


def imported(text: str | bytes, whose: tuple[str, str], history: Sequence[Commit], *, force: bool) -> Commit:
    """The commit whose cursor an exported document holds. whose: job and stream.

    force: also onto a table whose commits are none of the document's.
    Raises: ValidationError: for what is no such document, or a newer version's. ConfigurationError: for another job's, or a
    table that went another way.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ValidationError(f"the document is no JSON: {error}", hint=_HINT) from error
    if not isinstance(document, dict) or document.get("format") != DOCUMENT:
        raise ValidationError("the document is no exported state", hint=_HINT)
    version = document.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise ValidationError(
            f"the document was written by a newer version (format {version})", hint="upgrade dativo-assets"
        )
    try:
        commit = parse_record(json.dumps(document.get("commit")), "the document's commit")
    except ValueError as error:
        raise ValidationError(
            f"the document's commit can't be read: {str(error).splitlines()[0]}", hint=_HINT
        ) from error
    if (commit.job, commit.stream) != whose:
        words = [
            job if stream == "default" else f"{job}, stream {stream}"
            for job, stream in ((commit.job, commit.stream), whose)
        ]
        raise ConfigurationError(
            f"the document is of job {words[0]}, not {words[1]}",
            hint="if the job was only renamed, change `job` in the document's commit",
        )
    same = any((known.seq, known.run_id) == (commit.seq, commit.run_id) for known in history)
    if history and not same and not force:
        raise ConfigurationError(
            f"the table holds commits of its own (the newest is {history[-1].seq}), and the document's commit {commit.seq} "
            "is none of them",
            hint="`--force` sets the cursor all the same: rows between the two cursors are then lost or doubled",
        )
    return commit


_HINT = "`dativo state export JOB` writes one"
