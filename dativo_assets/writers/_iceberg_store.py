"""Iceberg tables through pyiceberg: field ids, partition specs, and a transaction that is never rebased."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
from dativo_plugin_sdk import AuthenticationError, DativoError, TransientError, ValidationError
from dativo_plugin_sdk.posix import fsync
from pyiceberg.exceptions import (
    CommitFailedException,
    ForbiddenError,
    NoSuchNamespaceError,
    NoSuchTableError,
    TableAlreadyExistsError,
    UnauthorizedError,
    ValidationException,
)
from pyiceberg.io import load_file_io
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
    schema_to_pyarrow,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.schema import Schema
from pyiceberg.table import TableProperties, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.typedef import Record
from pyiceberg.types import BinaryType, DecimalType, FixedType, UUIDType

from ._iceberg_catalog import Catalog
from ._iceberg_spec import fields_of, spec_of
from ._iceberg_table import JOINED, IcebergTable, OneLook, new_snapshot, property_of
from ._iceberg_upkeep import SUMMARY, expire, expired, unnamed
from ._lake_table import Change, Fit, LakeFile, LakeStore, LakeTable, Layout, MovedError, fitted, holds, stored_type

_TRIES = 20


class IcebergStore(LakeStore):
    """One table by its identifier."""

    format: ClassVar[str] = "iceberg"

    def __init__(self, catalog: Catalog, identifier: tuple[str, ...], partition_by: Sequence[str]) -> None:
        super().__init__(f"{'.'.join(identifier)} in {catalog.place}")
        self._catalog, self._identifier, self._partition_by = catalog, identifier, tuple(partition_by)
        self.secrets = catalog.secrets
        self._io: Any = None

    def load(self) -> LakeTable | None:
        if not self._catalog.exists():
            return None
        try:
            table = self._catalog.get().load_table(self._identifier)
        except (NoSuchTableError, NoSuchNamespaceError):
            return None
        self._io = table.io
        # pyiceberg's own retry puts a late commit on top of whatever came between.
        alone = {**table.properties, TableProperties.COMMIT_NUM_RETRIES: "0"}
        table.metadata = table.metadata.model_copy(update={"properties": alone})
        return IcebergTable(self.name, table, self.stored)

    def layout(self, table: LakeTable | None, schema: pa.Schema, fit: Fit) -> Layout:
        columns, added, _ = fitted(self, table, schema, fit)
        rewrites = False
        if isinstance(table, IcebergTable):
            transaction: Transaction = OneLook(table.iceberg)
            rewrites = _evolve(transaction, table.columns, columns, fit)
        else:
            transaction = self._new(columns)
        metadata = transaction.table_metadata
        self._check_spec(metadata)
        there = {field.name: field for field in schema_to_pyarrow(metadata.schema(), include_field_ids=True)}
        folder = metadata.properties.get(TableProperties.WRITE_DATA_PATH) or f"{metadata.location.rstrip('/')}/data"
        return Layout(
            schema=pa.schema([there[name] for name in columns.names]),
            folder=folder.rstrip("/"),
            parts=tuple(_parts(metadata, columns)),
            target=transaction,
            added=tuple(added),
            rewrites=rewrites,
        )

    def _new(self, columns: pa.Schema) -> Transaction:
        """A transaction that makes the table. Raises: MovedError: where it was made since it was looked for."""
        catalog = self._catalog.get()
        namespace = self._identifier[:-1]
        try:
            catalog.create_namespace_if_not_exists(namespace)
        except Exception:  # another process made it between this one's look and its try
            if not catalog.namespace_exists(namespace):
                raise
        try:
            transaction = catalog.create_table_transaction(self._identifier, schema=columns)
            if self._partition_by:
                schema = transaction.table_metadata.schema()
                spec = spec_of(self._partition_by, schema)
                transaction = catalog.create_table_transaction(self._identifier, schema=schema, partition_spec=spec)
        except TableAlreadyExistsError as error:
            raise MovedError(str(error)) from error
        self._io = transaction._table.io
        return transaction

    def _check_spec(self, metadata: TableMetadata) -> None:
        if not self._partition_by:
            return
        there = fields_of(metadata.spec(), metadata.schema())
        wanted = fields_of(spec_of(self._partition_by, metadata.schema()), metadata.schema())
        if there != wanted:
            raise ValidationError(
                f"{self.name} is divided by {', '.join(there) or 'nothing'}, not by {', '.join(wanted)}",
                hint="set target.partition_by to what the table has, or change the table's partition spec",
            )

    def stored(self, data_type: pa.DataType) -> pa.DataType | None:
        return stored_type(data_type, _scalar_type)

    def swap(self, table: LakeTable | None, change: Change) -> None:
        transaction: Transaction = change.layout.target
        record = change.commit.model_dump_json()
        metadata = transaction.table_metadata
        files = [self._data_file(file, metadata) for file in change.added]
        try:
            update = transaction.update_snapshot(snapshot_properties={JOINED if change.joins else SUMMARY: record})
            with new_snapshot(update, removes=bool(change.removed)) as snapshot:
                for gone in change.removed:
                    snapshot.delete_data_file(gone.handle)
                for new in files:
                    snapshot.append_data_file(new)
            if not change.joins:
                transaction.set_properties({property_of(change.commit.job): record})
            transaction.commit_transaction()
        except (CommitFailedException, TableAlreadyExistsError, NoSuchTableError) as error:
            raise MovedError(str(error)) from error

    def expire(self, keep_s: float, *, dry_run: bool) -> tuple[int, str | None]:
        for _ in range(_TRIES):
            table = self._catalog.get().load_table(self._identifier)
            gone = expired(table, keep_s)
            try:
                if gone and not dry_run:
                    expire(lambda: self._catalog.get().load_table(self._identifier), table, gone)
                return len(gone), None
            except CommitFailedException:
                continue
        return 0, f"{self.name} changes all the time: nothing is expired"

    def orphans(self, keep_s: float) -> list[str]:
        return unnamed(lambda: self._catalog.get().load_table(self._identifier), keep_s)

    def _data_file(self, file: LakeFile, metadata: TableMetadata) -> DataFile:
        schema, spec = metadata.schema(), metadata.spec()
        with self.input(file.path) as stream:
            size = stream.size()
            footer = pq.read_metadata(stream)
        statistics = data_file_statistics_from_parquet_metadata(
            parquet_metadata=footer,
            stats_columns=compute_statistics_plan(schema, metadata.properties),
            parquet_column_mapping=parquet_path_to_id_mapping(schema),
        )
        results = [field.field_type for field in spec.partition_type(schema).fields]
        values = [
            Decimal(value) if isinstance(kind, DecimalType) and value is not None else value
            for kind, value in zip(results, file.partition or [None] * len(results), strict=True)
        ]
        return DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=file.path if "://" in file.path else f"file://{file.path}",
            file_format=FileFormat.PARQUET,
            partition=Record(*values),
            file_size_in_bytes=size,
            sort_order_id=None,
            spec_id=metadata.default_spec_id,
            equality_ids=None,
            key_metadata=None,
            **statistics.to_serialized_dict(),
        )

    # -- files -----------------------------------------------------------------------------------------------------

    def _file_io(self) -> Any:
        if self._io is None:
            self.load()
        if self._io is None:  # files of a table that is not made yet
            self._io = load_file_io(self._catalog.get().properties)
        return self._io

    def output(self, path: str) -> Any:
        return self._file_io().new_output(path).create(overwrite=False)

    def input(self, path: str) -> Any:
        return self._file_io().new_input(path).open()

    def remove(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self._file_io().delete(path)

    def settle(self, path: str) -> None:
        if path.startswith(("file://", "/")):
            local = Path(path.removeprefix("file://"))
            fsync(local)
            fsync(local.parent)

    def known_error(self, error: Exception, text: str) -> DativoError | None:
        if isinstance(error, (ForbiddenError, UnauthorizedError)):
            return AuthenticationError(text, hint="check the credentials of the catalog's connection")
        if isinstance(error, ValidationException):
            return ValidationError(text)
        if "database is locked" in text:
            return TransientError(text, "TARGET_LOCKED")
        if isinstance(error, (ValueError, TypeError, NotImplementedError)):
            return ValidationError(text)
        return None


def _evolve(transaction: Transaction, old: pa.Schema, new: pa.Schema, fit: Fit) -> bool:
    """Stage what makes the table fit. Returns: whether its files have to be written anew."""
    gone = [name for name in old.names if fit.replaces and name not in new.names]
    both = [(field, old.field(field.name)) for field in new if field.name in old.names]
    retyped = [now.name for now, was in both if not (now.type.equals(was.type) or _promotes(was.type, now.type))]
    if gone or retyped:
        with transaction.update_schema(allow_incompatible_changes=True) as update:
            for name in [*gone, *retyped]:
                update.delete_column((name,))
    if gone or retyped or len(both) < len(new) or any(not now.type.equals(was.type) for now, was in both):
        with transaction.update_schema() as update:  # an empty one takes long where there are many snapshots
            update.union_by_name(new)
    return bool(retyped) and not fit.replaces


def _promotes(old: pa.DataType, new: pa.DataType) -> bool:
    """Whether Iceberg reads values of the old type as ones of the new, files untouched."""
    types = pa.types
    if types.is_decimal(old) and types.is_decimal(new):
        return bool(old.scale == new.scale and holds(new, old))
    return (old, new) in ((pa.int32(), pa.int64()), (pa.float32(), pa.float64()))


def _parts(metadata: TableMetadata, columns: pa.Schema) -> Iterator[tuple[str, Callable[[pa.Array], pa.Array]]]:
    schema: Schema = metadata.schema()
    for field in metadata.spec().fields:
        source = schema.find_field(field.source_id)
        if source.name not in columns.names:
            raise ValidationError(
                f"the table is divided by {source.name!r}, which is not a column of the data",
                hint=f"columns are: {', '.join(columns.names)}",
            )
        if isinstance(source.field_type, (BinaryType, FixedType, UUIDType)):
            raise ValidationError(f"this writer can't divide a table by {source.name}, which is {source.field_type}")
        yield source.name, partial(_integers, field.transform.pyarrow_transform(source.field_type))


def _integers(transform: Callable[[pa.Array], pa.Array], values: pa.Array) -> pa.Array:
    values, types = transform(values), pa.types
    if types.is_date32(values.type):
        return values.cast(pa.int32())
    return values.cast(pa.int64()) if types.is_timestamp(values.type) or types.is_time(values.type) else values


def _scalar_type(data_type: pa.DataType) -> pa.DataType | None:
    types = pa.types
    if types.is_integer(data_type) and data_type.bit_width < 32:
        return pa.int32()
    if types.is_time(data_type):
        return pa.time64("us")
    return {pa.uint32(): pa.int64(), pa.uint64(): pa.decimal128(20, 0)}.get(data_type, data_type)
