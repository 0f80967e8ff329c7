"""Commit records as targets keep them, and what a run is told whose rows or sequence a target can't take."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .errors import CommitConflictError, ConfigurationError, ValidationError
from .models import Commit

FORMAT_VERSION = 1


def parse_record(text: str | bytes, where: str, details: Mapping[str, Any] | None = None) -> Commit:
    """The commit of a record in JSON. where: the record, for a person.

    Raises: ValidationError: for a record of a newer version. ValueError: for a text that is none.
    """
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    version = value.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ValidationError(
            f"{where} was written by a newer version (format {version})",
            details=details,
            hint="upgrade dativo-assets",
        )
    return Commit.model_validate(value)


def conflict(commit: Commit, winner: Commit | None, gone: str) -> CommitConflictError:
    """The error of a run that lost its sequence. gone: what is said where there is no winner."""
    who = f"{winner.author} committed sequence {winner.seq}" if winner else gone
    return CommitConflictError(
        f"sequence {commit.seq} of {commit.job} was not committed: {who}",
        details={"winner": winner.run_id if winner else None, "seq": winner.seq if winner else None},
        hint="nothing of this run is visible; run the job again to continue from the newer commit",
    )


def owned(commit: Commit | None, job: str, adopted: Callable[[], str | None], place: str) -> Commit | None:
    """The newest commit of a table that is one job's. adopted: tells whose table it may have been before.

    Raises: ConfigurationError: where it is another job's: its cursor says nothing of this one's source.
    """
    if commit is None or not job or commit.job == job or commit.job == adopted():
        return commit
    raise ConfigurationError(
        f"{place} is the table of job {commit.job}, and {job} would go on from its cursor",
        "TARGET_TAKEN",
        {"job": commit.job},
        hint=f"choose another target.path; if {job} takes its place, as after a new name: "
        f"target.options: {{adopt: {commit.job}}}",
    )


def foreign_file(files: Sequence[str], place: str) -> ValidationError:
    """The error of a table among whose files lie some of somebody else. place: the table."""
    return ValidationError(
        f"{files[0]} is of no commit ({len(files)} such in {place})",
        "FOREIGN_FILE",
        {"files": list(files[:20])},
        hint=f"readers of {place} take its rows for the table's: move it out of there",
    )


def null_keys(rows: int, keys: Sequence[str]) -> ValidationError:
    """The error of a merge with rows that have no key."""
    return ValidationError(
        f"{rows} rows have no value in a key column ({', '.join(keys)})",
        hint="declare the keys as required, with on_violation: quarantine to set such rows aside",
    )


def duplicates(rows: int, keys: Sequence[str]) -> ValidationError:
    """The error of a merge whose rows share keys where they may not."""
    return ValidationError(
        f"{rows} rows have the key ({', '.join(keys)}) of another row of this run",
        details={"duplicates": rows},
        hint="mend the source, or let the newest of them count: target.options.duplicate_keys: last",
    )
