"""A table of a DuckDB file."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any, ClassVar

import pyarrow as pa
from dativo_plugin_sdk import DativoError, PluginError, TransientError, ValidationError

from ._database_file import DatabaseFileWriter

_LOCK_S = 60.0
_BATCHES = "_dativo_batches"


class DuckdbWriter(DatabaseFileWriter):
    """Writes one table of the DuckDB file `target.path`; the file is open for as long as a commit takes, no longer."""

    format: ClassVar[str] = "duckdb"
    suffix: ClassVar[str] = ".duckdb"
    begin: ClassVar[str] = "BEGIN TRANSACTION"

    def connect(self) -> Any:
        duckdb = _duckdb()
        path = self.made()
        until = time.monotonic() + _LOCK_S
        while True:
            try:
                return duckdb.connect(str(path))
            except duckdb.OperationalError as error:
                # One process at a time may write a DuckDB file, and one thread at a time may open or close it.
                if not any(busy in str(error) for busy in ("lock", "already attached")):
                    raise ValidationError(
                        f"{self.path}: {str(error).splitlines()[0]}", details={"file": str(self.path)}
                    ) from error
                if time.monotonic() > until:
                    raise TransientError(
                        f"{self.path} is locked by another process",
                        "TARGET_LOCKED",
                        {"file": str(self.path)},
                        hint="close it there: DuckDB lets one process write",
                    ) from error
                time.sleep(random.uniform(0.01, 0.1))

    def run(self, connection: Any, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        found = connection.execute(statement, list(values) or None)
        return list(found.fetchall()) if found.description else []

    def columns(self, connection: Any, name: str) -> dict[str, str]:
        return dict(
            self.run(
                connection,
                "SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = current_database()"
                " AND schema_name = coalesce(?, current_schema()) AND table_name = ? ORDER BY column_index",
                (self.schema, name),
            )
        )

    def types(self, connection: Any, schema: Any) -> dict[str, str]:
        connection.register(_BATCHES, schema.empty_table())
        try:
            return {row[0]: row[1] for row in self.run(connection, f"DESCRIBE SELECT * FROM {_BATCHES}")}
        finally:
            connection.unregister(_BATCHES)

    def load(self, connection: Any, name: str, batches: Any, *, temporary: bool = False) -> None:
        table = self.quote(name) if temporary else self.qualified(name)
        connection.register(_BATCHES, batches)
        try:
            self.run(connection, f"INSERT INTO {table} BY NAME SELECT * FROM {_BATCHES}")
        finally:
            connection.unregister(_BATCHES)

    def stored(self, data_type: Any) -> Any:
        if pa.types.is_dictionary(data_type):
            return self.stored(data_type.value_type)
        if pa.types.is_float16(data_type):
            return pa.float32()
        if pa.types.is_null(data_type):
            return pa.string()
        if pa.types.is_timestamp(data_type) and data_type.tz:
            return pa.timestamp("us", data_type.tz)
        if pa.types.is_time(data_type):
            return pa.time64("us")
        return None if pa.types.is_decimal256(data_type) else data_type

    def tidy(self, connection: Any) -> str:
        self.run(connection, "CHECKPOINT")
        return "the log is moved into the file, and its free blocks are used again"

    def error(self, error: Exception) -> DativoError | None:
        text = str(error).strip().splitlines()[0]
        if isinstance(error, _duckdb().IOException) and "space" in text.lower():
            return ValidationError(f"{self.path}: {text}", "DISK_FULL", hint="free some space")
        if isinstance(error, _duckdb().TransactionException):
            return TransientError(f"{self.path}: {text}")
        known = isinstance(error, _duckdb().Error)
        return ValidationError(f"{self.path}: {text}", details={"file": str(self.path)}) if known else None


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise PluginError("writer duckdb needs duckdb", hint="pip install 'dativo-assets[duckdb]'") from error
    return duckdb
