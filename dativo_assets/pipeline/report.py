"""What a run has found out, told in its result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dativo_plugin_sdk import BaseReader, BaseWriter, Commit, Committable, Snapshot, Split
from dativo_plugin_sdk.partition_rows import PartitionSelection

from dativo_assets.plan import JobPlan

from .move import Worker
from .partition import DETAIL
from .result import RunResult, StageMetrics


def tell_counts(
    result: RunResult,
    workers: Sequence[Worker],
    committables: Sequence[Committable],
    splits: Sequence[Split],
    skipped: int,
) -> None:
    """Rows and bytes, before the commit. bytes_read: as the plan has it, else in Arrow memory."""
    result.rows_skipped = skipped
    result.rows_read = sum(worker.rows_read for worker in workers)
    result.rows_written = sum(item.rows for item in committables if item.kind == "data")
    result.rows_rejected = sum(item.rows for item in committables if item.kind == "quarantine")
    arrow_bytes = sum(worker.stages["read"].bytes for worker in workers)
    result.bytes_read = sum(split.bytes or 0 for split in splits) or arrow_bytes
    result.bytes_written = sum(item.bytes for item in committables if item.kind == "data")


def counts_of(result: RunResult) -> dict[str, int]:
    """Rows and bytes as the commit's record has them."""
    return {name: getattr(result, name) for name in ("rows_read", "rows_written", "rows_rejected", "bytes_written")}


def tell_commit(result: RunResult, commit: Commit) -> None:
    """What is committed, by this attempt or by one before."""
    result.commit = commit
    result.rows_read, result.rows_written = commit.rows_read, commit.rows_written
    result.rows_rejected, result.bytes_written = commit.rows_rejected, commit.bytes_written or result.bytes_written
    result.schema_text = commit.schema_text


def tell_table(result: RunResult, table: Snapshot | None) -> None:
    """The table after the run. table: its files are those of this run's commit."""
    commit = result.commit
    if table is None or commit is None:
        return
    result.table_rows, result.table_bytes = table.rows, table.bytes
    result.schema_text = result.schema_text or dict(table.schema_text)
    if result.status == "succeeded":
        result.files = table.files


def tell_stages(
    result: RunResult, plan: JobPlan, workers: Sequence[Worker], reader: BaseReader, writer: BaseWriter
) -> None:
    """Times and amounts of each stage over all workers, and the memory of plugins that have processes of their own."""
    names = {"read": plan.reader.load().name, "write": plan.writer.load().name, "contract": ""}
    peaks = {name: getattr(plugin, "peak_rss_bytes", 0) for name, plugin in (("read", reader), ("write", writer))}
    for name, plugin in names.items():
        total = StageMetrics(plugin, peak_rss_bytes=peaks.get(name, 0))
        for worker in workers:
            total.add(worker.stages[name])
        if name != "contract" or plan.contract is not None:
            result.stages[name] = total


def details_of(plan: JobPlan, result: RunResult, partition: PartitionSelection | None) -> dict[str, Any]:
    """What else the commit's record says."""
    loaded = {"reader": plan.reader.load(), "writer": plan.writer.load()}
    digests = {kind: plugin.sha256 for kind, plugin in loaded.items() if plugin.sha256}
    details: dict[str, Any] = {"plugin_sha256": digests} if digests else {}
    if plan.contract is not None:
        details["contract"] = f"{plan.contract.name} {plan.contract.version}"
    if result.schema_changes:
        details["schema_changes"] = list(result.schema_changes)
    if result.column_tags:
        details["column_tags"] = result.column_tags
    if partition is not None:
        details[DETAIL] = {"definition": partition.definition, "keys": partition.keys}
    return details


def summary(result: RunResult) -> dict[str, Any]:
    """A line of the log."""
    keys = ("run_id", "status", "rows_read", "rows_written", "rows_rejected", "seconds")
    out = {"job": result.name, **{key: getattr(result, key) for key in keys}}
    return {**out, "error": str(result.error)} if result.error else out
