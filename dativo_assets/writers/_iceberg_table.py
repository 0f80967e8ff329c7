"""An Iceberg table as its catalog told it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import date, datetime, time
from typing import Any

import pyarrow as pa
from dativo_plugin_sdk import Commit, ValidationError
from dativo_plugin_sdk.records import parse_record
from pyiceberg.expressions import AlwaysTrue, And, GreaterThanOrEqual, LessThanOrEqual
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.table import Table, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import ancestors_of
from pyiceberg.table.update import AddSnapshotUpdate, TableUpdate
from pyiceberg.table.update.snapshot import UpdateSnapshot

from ._iceberg_upkeep import SUMMARY, archived_commits
from ._lake_files import as_json
from ._lake_table import LakeFile, LakeTable, Range

JOINED = "dativo.compact"
"""The property of a snapshot that only joined files."""

_FIELD_ID = b"PARQUET:field_id"
_EPOCH = date(1970, 1, 1)


def property_of(job: str) -> str:
    """The table's property that holds a job's newest record."""
    return f"{SUMMARY}.{job}"


class IcebergTable(LakeTable):
    """An Iceberg table as its catalog told it."""

    def __init__(self, name: str, iceberg: Table, stored: Callable[[pa.DataType], pa.DataType | None]) -> None:
        self._name, self.iceberg = name, iceberg
        snapshot = iceberg.current_snapshot()
        self.version = f"{iceberg.metadata.table_uuid} {snapshot.snapshot_id if snapshot else ''}"
        plain = schema_to_pyarrow(iceberg.schema(), include_field_ids=False)
        self.columns = pa.schema([(field.name, stored(field.type) or field.type) for field in plain])

    def records(self, job: str) -> Iterator[Commit]:
        newest = self.iceberg.properties.get(property_of(job))
        if newest is None:
            return
        last = self._record(newest, f"commit record of {job} among the properties of {self._name}")
        current = {
            snapshot.snapshot_id for snapshot in ancestors_of(self.iceberg.current_snapshot(), self.iceberg.metadata)
        }
        told = False
        for snapshot in sorted(
            self.iceberg.snapshots(), key=lambda snapshot: snapshot.sequence_number or 0, reverse=True
        ):
            text = None if snapshot.summary is None else snapshot.summary.additional_properties.get(SUMMARY)
            if text is None:
                continue
            found = self._record(text, f"commit record in snapshot {snapshot.snapshot_id} of {self._name}")
            if found.job != job:
                continue
            if not told:
                self.restored = found.seq >= last.seq and snapshot.snapshot_id not in current
                yield last
                told = True
            if found.seq < last.seq:
                yield found
        if not told:
            yield last

    def archived(self, job: str, mention: str = "") -> Iterator[Commit]:
        return archived_commits(self.iceberg, job, mention)

    def joined(self) -> Iterator[Commit]:
        for snapshot in reversed(self.iceberg.snapshots()):
            text = None if snapshot.summary is None else snapshot.summary.additional_properties.get(JOINED)
            if text is not None:
                yield self._record(text, f"record in snapshot {snapshot.snapshot_id} of {self._name}")

    def _record(self, text: str, where: str) -> Commit:
        try:
            return parse_record(text, where)
        except ValueError as error:
            raise ValidationError(
                f"{where} can't be read: {str(error).splitlines()[0]}",
                hint="restore it; without the property the job loads the table anew",
            ) from error

    def files(self, ranges: Mapping[str, Range] | None = None) -> list[LakeFile]:
        row_filter: Any = AlwaysTrue()
        for name, (low, high) in (ranges or {}).items():
            with suppress(TypeError, ValueError):  # values that its filters have no literal for
                row_filter = And(row_filter, *_within(name, low, high))
        files = [task.file for task in self.iceberg.scan(row_filter=row_filter).plan_files()]
        return [
            LakeFile(
                file.file_path,
                tuple(_as_json(file.partition[at]) for at in range(len(file.partition))),
                file.record_count,
                file.file_size_in_bytes,
                file,
            )
            for file in files
        ]

    def names(self, schema: pa.Schema) -> list[str]:
        current = self.iceberg.schema()
        found = []
        for field in schema:
            number = (field.metadata or {}).get(_FIELD_ID)
            name = field.name if number is None else current.find_column_name(int(number))
            found.append(name if name is not None else "")
        return found

    def constants(self, file: LakeFile) -> Mapping[str, Any]:
        """Values of identity partitions: files that were imported may lack the columns."""
        metadata = self.iceberg.metadata
        found: dict[str, Any] = {}
        for at, field in enumerate(metadata.specs()[file.handle.spec_id].fields):
            if str(field.transform) == "identity":
                name = metadata.schema().find_column_name(field.source_id)
                if name is not None and name in self.columns.names:
                    found[name] = _scalar(file.handle.partition[at], self.columns.field(name).type)
        return found

    def check_rewritable(self) -> None:
        snapshot = self.iceberg.current_snapshot()
        if snapshot is None:
            return
        summary = {} if snapshot.summary is None else snapshot.summary.additional_properties
        if int(summary.get("total-delete-files", "0")):
            raise ValidationError(
                f"{self._name} has rows that are deleted by delete files",
                hint="rewrite its data files first (CALL rewrite_data_files), then run again",
            )
        specs = {manifest.partition_spec_id for manifest in snapshot.manifests(self.iceberg.io)}
        if specs - {self.iceberg.spec().spec_id}:
            raise ValidationError(
                f"{self._name} has files of an older partition spec",
                hint="rewrite its data files first (CALL rewrite_data_files), then run again",
            )


class OneLook(Transaction):
    """A transaction that works its metadata out once for each change: pyiceberg copies every snapshot each time that it is asked,
    and asks a dozen times a commit.
    """

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self._seen: tuple[TableMetadata, tuple[TableUpdate, ...], TableMetadata] | None = None

    @property
    def table_metadata(self) -> TableMetadata:
        base, updates = self._table.metadata, self._updates
        if not updates:
            return base
        if self._seen is None or self._seen[0] is not base or self._seen[1] is not updates:
            self._seen = (base, updates, super().table_metadata)
        return self._seen[2]


def new_snapshot(update: UpdateSnapshot, *, removes: bool) -> Any:
    """The next snapshot of a transaction. removes: whether it will remove files."""
    snapshot: Any = update.overwrite() if removes else update.fast_append()
    evaluator, commit = snapshot._build_manifest_evaluator, snapshot._commit
    # pyiceberg looks at manifests on many threads with one evaluator, which holds what it looks at: files are overlooked.
    snapshot._build_manifest_evaluator = lambda spec_id: lambda manifest: evaluator(spec_id)(manifest)
    snapshot._commit = lambda: _in_order(update._transaction._table.metadata, *commit())
    return snapshot


def _in_order(base: TableMetadata, updates: tuple[TableUpdate, ...], requirements: Any) -> tuple[Any, Any]:
    """No snapshot is older than the one before, whatever the clock says: catalogs refuse such a table."""
    least = max([base.last_updated_ms, *(entry.timestamp_ms for entry in base.snapshot_log[-1:])])

    def dated(update: TableUpdate) -> TableUpdate:
        if not isinstance(update, AddSnapshotUpdate) or update.snapshot.timestamp_ms >= least:
            return update
        return AddSnapshotUpdate(snapshot=update.snapshot.model_copy(update={"timestamp_ms": least}))

    return tuple(map(dated, updates)), requirements


def _as_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return round(value.timestamp() * 1_000_000)
    if isinstance(value, date):
        return (value - _EPOCH).days
    if isinstance(value, time):
        return ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond
    return as_json(value)


def _scalar(value: Any, data_type: pa.DataType) -> pa.Scalar:
    types = pa.types
    if types.is_date32(data_type):
        return pa.scalar(_as_json(value), pa.int32()).cast(data_type)
    if types.is_timestamp(data_type) or types.is_time(data_type):
        return pa.scalar(_as_json(value), pa.int64()).cast(data_type)
    return pa.scalar(value, data_type)


def _within(name: str, low: Any, high: Any) -> tuple[Any, Any]:
    column: Any = name
    return GreaterThanOrEqual(column, low), LessThanOrEqual(column, high)  # type: ignore[call-arg]
