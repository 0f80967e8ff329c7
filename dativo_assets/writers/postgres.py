"""A table of a Postgres database."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Sequence
from typing import Any, ClassVar
from urllib.parse import quote

import pyarrow as pa
from dativo_plugin_sdk import (
    AuthenticationError,
    ConfigurationError,
    ConnectionError,
    DativoError,
    PluginError,
    TransientError,
    ValidationError,
)
from dativo_plugin_sdk.sql_writer import COMMITS, SqlWriter

_MAX_NAME_BYTES = 63
_CONNECT_S = 30
_IDLE_S = 60
_LOCK_S = 600.0
_TIDY_S = 5.0
_MARK = re.compile(r"""("(?:[^"]|"")*"|'(?:[^']|'')*')|\?""")
"""A parameter's mark, or a name or text in which it is an ordinary character."""


class PostgresWriter(SqlWriter):
    """Writes one table of the database that the connection names: host, port, database, user, password, sslmode, ...

    Rows go in by binary COPY from Arrow columns. Nested values are JSON.
    """

    format: ClassVar[str] = "postgres"
    keeps_connection: ClassVar[bool] = True

    @property
    def _parameters(self) -> dict[str, Any]:
        given = {**self.target_config.connection, **self.target_config.credentials}
        return {key: value for key, value in given.items() if value is not None}

    def place(self) -> str:
        given = self._parameters
        return f"postgres://{given.get('host', 'localhost')}:{given.get('port', 5432)}/{self._database}"

    @property
    def _database(self) -> str:
        given = self._parameters
        found = given.get("database") or given.get("dbname")
        if not found:
            raise ConfigurationError(
                "writer postgres needs a connection with host, database, user and password",
                hint="connection: {host: ..., database: ..., user: ..., password: '${PGPASSWORD}'}",
            )
        return str(found)

    def connect(self) -> Any:
        try:
            from adbc_driver_postgresql import dbapi
        except ImportError as error:
            raise PluginError(
                "writer postgres needs adbc-driver-postgresql", hint="pip install 'dativo-assets[postgres]'"
            ) from error
        given = {k: v for k, v in self._parameters.items() if k not in ("database", "dbname")}
        user, password = given.pop("user", None), given.pop("password", None)
        host, port = given.pop("host", "localhost"), given.pop("port", 5432)
        secret = "" if password is None else f":{_safe(password)}"
        who = "" if user is None else f"{_safe(user)}{secret}@"
        rest = {"connect_timeout": _CONNECT_S, **given}
        query = "&".join(f"{_safe(key)}={_safe(value)}" for key, value in rest.items())
        return dbapi.connect(f"postgresql://{who}{_safe(host)}:{port}/{_safe(self._database)}?{query}", autocommit=True)

    def quote(self, name: str) -> str:
        if len(name.encode()) > _MAX_NAME_BYTES:
            raise ConfigurationError(
                f"name {name!r} is longer than the {_MAX_NAME_BYTES} bytes that Postgres allows", hint="shorten it"
            )
        return super().quote(name)

    def run(self, connection: Any, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        numbers = itertools.count(1)
        return super().run(connection, _MARK.sub(lambda found: found[1] or f"${next(numbers)}", statement), values)

    def lock(self, connection: Any) -> None:
        # Who was stopped in a commit, or whose host is gone, must not keep the others out for ever.
        self.run(connection, f"SET LOCAL idle_in_transaction_session_timeout = '{_IDLE_S}s'")
        self.run(connection, f"SET LOCAL lock_timeout = {int(_LOCK_S * 1000)}")
        # Two that make the table of records at the same time would get in each other's way, whatever they load.
        for name in (self.name,) if self.columns(connection, COMMITS) else (COMMITS, self.name):
            key = hashlib.sha256(f"{self.schema}.{name}".encode()).digest()
            self.run(connection, f"SELECT pg_advisory_xact_lock({int.from_bytes(key[:8], 'big', signed=True)})")

    def columns(self, connection: Any, name: str) -> dict[str, str]:
        space = "current_schema()" if self.schema is None else _literal(self.schema)
        return dict(
            self.run(
                connection,
                "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute"
                " JOIN pg_class ON attrelid = pg_class.oid JOIN pg_namespace ON relnamespace = pg_namespace.oid"
                f" WHERE nspname = {space} AND relname = {_literal(name)} AND attnum > 0 AND NOT attisdropped"
                " ORDER BY attnum",
            )
        )

    def types(self, connection: Any, schema: Any) -> dict[str, str]:
        return {field.name: _kind(field.type) for field in schema}

    def load(self, connection: Any, name: str, batches: Any, *, temporary: bool = False) -> None:
        schema = None if temporary else self.schema
        with connection.cursor() as cursor:
            cursor.adbc_ingest(name, batches, mode="append", db_schema_name=schema, temporary=temporary)
        if temporary:
            self.run(connection, f"ANALYZE {self.quote(name)}")

    def stored(self, data_type: Any) -> Any:
        types = pa.types
        if types.is_dictionary(data_type):
            return self.stored(data_type.value_type)
        if types.is_nested(data_type) or types.is_null(data_type) or types.is_large_string(data_type):
            return pa.string()
        if types.is_timestamp(data_type):
            return pa.timestamp("us", data_type.tz)
        if types.is_time(data_type):
            return pa.time64("us")
        if types.is_date(data_type):
            return pa.date32()
        wider = {
            pa.int8(): pa.int16(),
            pa.uint8(): pa.int16(),
            pa.uint16(): pa.int32(),
            pa.uint32(): pa.int64(),
            pa.uint64(): pa.decimal128(20, 0),
            pa.float16(): pa.float32(),
            pa.large_binary(): pa.binary(),
        }
        return wider.get(data_type, None if types.is_duration(data_type) else data_type)

    def accepts(self, found: str, wanted: str) -> bool:
        return wanted == "text" and found.startswith("character varying")

    def index(self, connection: Any, keys: Sequence[str]) -> None:
        columns = ", ".join(map(self.quote, keys))
        self.run(connection, f"CREATE UNIQUE INDEX ON {self.qualified(self.name)} ({columns})")

    def tidy(self, connection: Any) -> str:
        there = [name for name in (self.name, f"{self.name}_quarantine", COMMITS) if self.columns(connection, name)]
        self.run(connection, f"SET lock_timeout = {int(_TIDY_S * 1000)}")
        for name in there:
            self.run(connection, f"VACUUM (ANALYZE) {self.qualified(name)}")
        return f"vacuumed and analyzed: {', '.join(there)}"

    def error(self, error: Exception) -> DativoError | None:
        text = (str(error).strip() or type(error).__name__).splitlines()[0]
        message = f"{self.place()}: {text}"
        state = str(getattr(error, "sqlstate", None) or "")
        if state.startswith("28") or "authentication failed" in text:
            return AuthenticationError(message, hint="check the connection's user and password")
        if state == "42501":
            return AuthenticationError(message, hint="grant the user the right to create and write the table")
        if state == "55P03":
            return TransientError(
                f"{self.place()}: another transaction has kept {self.name} locked for longer than this one waits",
                "TARGET_LOCKED",
                hint="see who holds it in pg_stat_activity",
            )
        if state.startswith(("40", "53", "55")):
            return TransientError(message)
        if state.startswith(("22", "23", "42")):
            return ValidationError(message)
        return ConnectionError(message, hint="check the connection's host, port and database")


def _kind(data_type: pa.DataType) -> str:
    types = pa.types
    if types.is_decimal(data_type):
        return f"numeric({data_type.precision},{data_type.scale})"
    if types.is_timestamp(data_type):
        return "timestamp with time zone" if data_type.tz else "timestamp without time zone"
    if types.is_time(data_type):
        return "time without time zone"
    return {
        pa.bool_(): "boolean",
        pa.int16(): "smallint",
        pa.int32(): "integer",
        pa.int64(): "bigint",
        pa.float32(): "real",
        pa.float64(): "double precision",
        pa.date32(): "date",
        pa.binary(): "bytea",
    }.get(data_type, "text")


def _safe(value: object) -> str:
    return quote(str(value), safe="")


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
