"""What a Delta table's log and folder no longer need: files of replaced versions, and entries past the table's retention."""

from __future__ import annotations

import json
import math
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Schema

from ._delta_table import KEY, DeltaLakeTable
from ._lake_table import ORPHAN_S, archive_of

_DAY_S = 86400.0
_UNITS_S = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": _DAY_S, "week": 7 * _DAY_S}
_INTERVAL = re.compile(r"(\d+)\s+(second|minute|hour|day|week)s?", re.IGNORECASE)
_CHECKPOINT_EVERY = 10
NO_CLEANUP = PostCommitHookProperties(cleanup_expired_logs=False)
"""Entries of the log go once what they say of commits is kept elsewhere, and not before."""


def vacuum(table: DeltaLakeTable, keep_s: float, *, dry_run: bool) -> int:
    """Remove the files of versions that were replaced more than `keep_s` ago. Returns: how many."""
    delta, hours = table.delta, math.ceil(keep_s / 3600)
    gone = delta.vacuum(hours, dry_run=True, enforce_retention_duration=False)
    if gone and not dry_run:
        delta.vacuum(
            hours,
            dry_run=False,
            enforce_retention_duration=False,
            commit_properties=_carrying(table.newest_entry()),
            post_commithook_properties=NO_CLEANUP,
        )
    return len(gone)


def unnamed(delta: DeltaTable, keep_s: float) -> list[str]:
    """Files in the table's folder that its log does not know, older than any run."""
    hours = math.ceil(max(keep_s, ORPHAN_S) / 3600)
    return list(delta.vacuum(hours, dry_run=True, enforce_retention_duration=False, full=True))


def clean_log(
    table: DeltaLakeTable, checkpoint: int, write: Callable[[str, bytes], None], archived: list[str], *, dry_run: bool
) -> int:
    """Note the table's state in a checkpoint, and remove the entries that the table's own retention lets go, what they say
    of commits moved to its history. checkpoint: version of the newest one. Returns: how many versions go.
    """
    delta = table.delta
    entries = delta.history()
    until = (time.time() - _retention_s(delta.metadata().configuration)) * 1000
    old = [entry for entry in entries if entry.get("timestamp", until) < until]
    if dry_run:
        return len(old)
    if old:
        texts = [json.dumps(record) for entry in entries if (record := _own_record(entry)) is not None]
        path = f"_dativo/history-{uuid.uuid4()}.jsonl"
        write(path, archive_of([*texts, *archived]))
        # An entry of its own: the newest of a job may be among those that go.
        delta.create_write_transaction(
            [],
            mode="append",
            schema=Schema.from_arrow(pa.schema(delta.schema().to_arrow())),
            commit_properties=_carrying({**table.newest_entry(), "history": path}),
            post_commithook_properties=NO_CLEANUP,
        )
    if old or delta.version() - checkpoint >= _CHECKPOINT_EVERY:
        delta.update_incremental()
        delta.create_checkpoint()
    if old:
        delta.cleanup_metadata()
    return len(old)


def _own_record(entry: dict[str, Any]) -> dict[str, Any] | None:
    """The record of the commit that made an entry."""
    value = entry.get(KEY)
    records = value.get("records") if isinstance(value, dict) and "job" in value else None
    return None if not isinstance(records, dict) else records.get(value["job"])  # type: ignore[index]


def _carrying(entry: dict[str, Any]) -> CommitProperties:
    return CommitProperties(custom_metadata={KEY: entry}, max_commit_retries=0)


def _retention_s(configuration: dict[str, Any]) -> float:
    found = _INTERVAL.search(str(configuration.get("delta.logRetentionDuration", "interval 30 days")))
    return 30 * _DAY_S if found is None else int(found[1]) * _UNITS_S[found[2].lower()]
