"""A table of an SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, ClassVar

import pyarrow as pa
from dativo_plugin_sdk import (
    AssetDefinition,
    ConfigurationError,
    DativoError,
    TargetConfig,
    TransientError,
    ValidationError,
)

from ._database_file import DatabaseFileWriter

_LOCK_S = 60.0
_TIDY_S = 5.0
_ROWS = 10_000


class SqliteWriter(DatabaseFileWriter):
    """Writes one table of the SQLite file `target.path`.

    SQLite has no types for decimals, dates and times: they are texts, in ISO 8601 and with all their digits. Nested
    values are JSON.
    """

    format: ClassVar[str] = "sqlite"
    suffix: ClassVar[str] = ".db"
    begin: ClassVar[str] = "BEGIN IMMEDIATE"

    def __init__(self, asset_definition: AssetDefinition, target_config: TargetConfig, output_base: str = "") -> None:
        super().__init__(asset_definition, target_config, output_base)
        if self.schema:
            raise ConfigurationError(f"SQLite has no schemas: {target_config.table}", hint="remove the part before .")

    def connect(self) -> Any:
        path = self.made()
        connection = sqlite3.connect(path, timeout=_LOCK_S, isolation_level=None)
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def columns(self, connection: Any, name: str) -> dict[str, str]:
        return dict(self.run(connection, "SELECT name, type FROM pragma_table_info(?)", (name,)))

    def types(self, connection: Any, schema: Any) -> dict[str, str]:
        return {field.name: _kind(field.type) for field in schema}

    def load(self, connection: Any, name: str, batches: Any, *, temporary: bool = False) -> None:
        table = self.quote(name) if temporary else self.qualified(name)
        columns = batches.schema.names
        statement = (
            f"INSERT INTO {table} ({', '.join(map(self.quote, columns))}) VALUES ({', '.join('?' * len(columns))})"
        )
        for batch in batches:
            for start in range(0, batch.num_rows, _ROWS):
                part = batch.slice(start, _ROWS)
                values = [_values(column).to_pylist() for column in part.columns]
                connection.executemany(statement, zip(*values, strict=True))

    def stored(self, data_type: Any) -> Any:
        if pa.types.is_dictionary(data_type):
            return self.stored(data_type.value_type)
        if pa.types.is_nested(data_type) or pa.types.is_null(data_type):
            return pa.string()
        return pa.int64() if pa.types.is_uint64(data_type) else data_type

    def widen(self, connection: Any, column: str, kind: str) -> None:
        table, copy = self.qualified(self.name), self.quote("_dativo_wider")
        kinds = {**self.columns(connection, self.name), column: kind}
        self.run(connection, f"CREATE TABLE {copy} ({self.definition(kinds)})")
        self.run(connection, f"INSERT INTO {copy} SELECT * FROM {table}")
        self.run(connection, f"DROP TABLE {table}")
        self.run(connection, f"ALTER TABLE {copy} RENAME TO {self.quote(self.name)}")
        if self._merges:
            self.index(connection, self.target_config.keys)

    def literal(self, value: Any) -> Any:
        return _values(pa.array([value]))[0].as_py()

    def index(self, connection: Any, keys: Sequence[str]) -> None:
        name = self.quote(f"_dativo_keys_{self.name}")
        columns = ", ".join(map(self.quote, keys))
        self.run(connection, f"CREATE UNIQUE INDEX {name} ON {self.qualified(self.name)} ({columns})")

    def delete_matching(self, table: str, new: str, condition: str) -> str:
        # From the new rows to the table's by its index: SQLite would scan the table for a correlated condition.
        rows = f"SELECT t.rowid FROM {new} AS n CROSS JOIN {table} AS t WHERE {condition}"
        return f"DELETE FROM {table} WHERE rowid IN ({rows})"

    def tidy(self, connection: Any) -> str:
        before = self.path.stat().st_size
        self.run(connection, f"PRAGMA busy_timeout = {int(_TIDY_S * 1000)}")
        self.run(connection, "VACUUM")
        self.run(connection, "PRAGMA wal_checkpoint(TRUNCATE)")
        self.run(connection, "PRAGMA optimize")
        return f"the file is {max(0, before - self.path.stat().st_size):,} bytes smaller"

    def error(self, error: Exception) -> DativoError | None:
        details = {"file": str(self.path)}
        if not isinstance(error, (sqlite3.Error, OverflowError)):
            return None
        if "locked" in str(error) or "busy" in str(error):
            return TransientError(
                f"{self.path} is locked by another process", "TARGET_LOCKED", details, hint="close it there"
            )
        if "full" in str(error):
            return ValidationError(f"{self.path}: {error}", "DISK_FULL", details, hint="free some space")
        return ValidationError(f"{self.path}: {error}", details=details)


def _kind(data_type: pa.DataType) -> str:
    types = pa.types
    if types.is_boolean(data_type):
        return "BOOLEAN"
    if types.is_integer(data_type):
        return "INTEGER"
    if types.is_floating(data_type):
        return "REAL"
    if types.is_binary(data_type) or types.is_large_binary(data_type) or types.is_fixed_size_binary(data_type):
        return "BLOB"
    if types.is_date(data_type):
        return "DATE"
    return "TIMESTAMP" if types.is_timestamp(data_type) else "TEXT"


def _values(column: pa.Array) -> pa.Array:
    """A column as values that SQLite has."""
    types = pa.types
    if types.is_temporal(column.type) or types.is_decimal(column.type):
        return column.cast(pa.string())
    return column.cast(pa.int8()) if types.is_boolean(column.type) else column
