"""A run of some partitions: which rows it takes, and when it may not run at all."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dativo_plugin_sdk import BaseWriter, Commit, ConfigurationError
from dativo_plugin_sdk.cursor_values import CursorValues

if TYPE_CHECKING:
    import pyarrow as pa
    from dativo_plugin_sdk.partition_rows import PartitionSelection

    from dativo_assets.config import JobConfig

DETAIL = "partitions"
_BY_VALUE = ("append", "updated_at")
_WHOLE = ("full_refresh", "snapshot")


class PartitionRows:
    """The rows of a source that are in the partitions, and that no later run of an incremental job would load again."""

    def __init__(self, selection: PartitionSelection, schema: pa.Schema, cursor_field: str | None, base: Commit | None):
        """cursor_field: rows beyond the last commit's value of it are left to the next incremental run."""
        self._selection, self._schema, self._field = selection, schema, cursor_field
        self._last = None
        if cursor_field is not None and base is not None:
            self._last = CursorValues(cursor_field, schema.field(cursor_field).type).read(base.cursor or {})
        self._lock = threading.Lock()
        self.skipped = 0

    def part(self) -> PartitionRows:
        """What one worker uses: no row is judged by others."""
        return self

    def new_rows(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Before the contract: the rows in the partitions, where the columns that tell have their types already."""
        names = [part.column for part in self._selection.ranges]
        types = {name: self._schema.field(name).type for name in names if name in self._schema.names}
        known = all(name in batch.schema.names and batch.schema.field(name).type == types.get(name) for name in names)
        return self._taken(batch) if known else batch

    def unseen(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """After the contract: the rows in the partitions."""
        import pyarrow.compute as pc

        batch = self._taken(batch)
        if self._last is None or self._field is None or not self._last.is_valid:
            return batch
        before = pc.fill_null(pc.less_equal(batch.column(self._field), self._last), True)
        return self._kept(batch, before)

    def unseen_rejected(self, rejected: pa.RecordBatch) -> pa.RecordBatch:
        """Rejected rows, each time: the place of one may be what is wrong with it."""
        return rejected

    def _taken(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return self._kept(batch, self._selection.mask(batch))

    def _kept(self, batch: pa.RecordBatch, mask: Any) -> pa.RecordBatch:
        kept = batch.filter(mask)
        with self._lock:
            self.skipped += batch.num_rows - kept.num_rows
        return kept


def check_partitions(job: JobConfig, writer: BaseWriter, base: Commit | None) -> str | None:
    """Returns: the field that bounds what an incremental job may load again, where it has one.

    Raises: ConfigurationError: where a run of some partitions would lose or double rows.
    """
    mode = job.target.mode
    if mode not in writer.replaces_partitions and writer.replaces_partitions:
        raise _refused(
            job,
            f"mode {mode} can't replace partitions with writer {job.target.writer}",
            f"use target.mode: {' or '.join(sorted(writer.replaces_partitions))}, or load all of it",
        )
    if not writer.replaces_partitions:
        raise _refused(
            job,
            f"writer {job.target.writer} can't replace partitions",
            "use parquet in a local directory, delta, iceberg or a database, or load all of it: a run without partitions",
        )
    if job.is_by_file:
        return None
    incremental = job.incremental
    if incremental is None or loads_whole(job) or job.target.mode == "merge":
        return None
    if incremental.strategy not in _BY_VALUE:
        raise _refused(
            job,
            f"strategy {incremental.strategy} knows what was read by its files, not by partitions",
            "use target.mode: merge with keys, or remove source.incremental",
        )
    if base is None or "field" not in (base.cursor or {}):
        raise _refused(
            job,
            "nothing is loaded yet, so the next incremental run would load these rows again",
            "run the job once without partitions, or remove source.incremental",
        )
    return incremental.cursor_field


def loads_whole(job: JobConfig) -> bool:
    """Whether a run of all partitions reads all of the source, so that runs of each come to the same."""
    return job.incremental is None or job.incremental.strategy in _WHOLE


def check_whole(job: JobConfig) -> None:
    """Raises: ConfigurationError: for a job that each run loads one file of."""
    if job.is_by_file:
        raise _refused(
            job,
            "each of its files is a partition, and a run loads one",
            f"name it, or load what is new: dativo run {job.name}",
        )


def change_of(selection: PartitionSelection, history: Sequence[Commit]) -> str | None:
    """What a person should know where the table was divided otherwise before."""
    for commit in reversed(history):
        before = commit.details.get(DETAIL)
        if before is not None:
            if before["definition"] == selection.definition:
                return None
            return (
                f"partitions were {before['definition']} up to commit {commit.seq}, and are {selection.definition} now: "
                "what Dagster shows as materialized before is of the old ones"
            )
    return None


def _refused(job: JobConfig, message: str, hint: str) -> ConfigurationError:
    error = ConfigurationError(message, "PARTITIONS_NOT_SUPPORTED", hint=hint)
    error.at(job=job.name, **job.location("partitions").details())
    return error
