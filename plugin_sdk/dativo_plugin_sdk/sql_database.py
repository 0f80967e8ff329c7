"""What a writer knows of its database: its types, its statements, its errors. Delivery is in sql_writer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar
from weakref import finalize

from .errors import ConfigurationError, ConnectionError, DativoError, PluginError
from .models import AssetDefinition, TargetConfig
from .writer import BaseWriter


class SqlDatabase(BaseWriter):
    """A subclass gives `connect`, `place`, `columns`, `types` and `load`; the rest where its database differs."""

    format: ClassVar[str] = ""
    """The database's name in a snapshot."""
    begin: ClassVar[str] = "BEGIN"
    keeps_connection: ClassVar[bool] = False
    """Whether one call leaves its connection to the next, where making one takes long and an idle one bars nobody."""
    schema: str | None
    """The target's schema in the database."""
    name: str
    """The target's table."""

    def __init__(self, asset_definition: AssetDefinition, target_config: TargetConfig, output_base: str = "") -> None:
        super().__init__(asset_definition, target_config, output_base)
        self._idle: list[Any] = []
        finalize(self, _close_all, self._idle)

    # -- what a database gives -------------------------------------------------------------------------------------

    def connect(self) -> Any:
        """An open DB-API connection that begins no transaction by itself."""
        raise PluginError(f"writer {type(self).__name__} has no connect()")

    def place(self) -> str:
        """The database for a person and for staging folders: no secret in it."""
        raise PluginError(f"writer {type(self).__name__} has no place()")

    def columns(self, connection: Any, name: str) -> dict[str, str]:
        """{column: type} of a table, in order; {} where there is none."""
        raise PluginError(f"writer {type(self).__name__} has no columns()")

    def types(self, connection: Any, schema: Any) -> dict[str, str]:
        """{column: type} of the columns that hold an Arrow schema, spelled as `columns` does."""
        raise PluginError(f"writer {type(self).__name__} has no types()")

    def load(self, connection: Any, name: str, batches: Any, *, temporary: bool = False) -> None:
        """Insert a RecordBatchReader into a table beside the target, or a temporary one, that has its columns."""
        raise PluginError(f"writer {type(self).__name__} has no load()")

    def stored(self, data_type: Any) -> Any:
        """The Arrow type that a column is cast to before it is loaded, without loss."""
        return data_type

    def lock(self, connection: Any) -> None:
        """Let no other commit to the table in until the transaction ends, where the database lets several write."""

    def tidy(self, connection: Any) -> str:
        """Give back the space of rows that are gone, as far as nobody is kept waiting. Returns: what was done, for a person."""
        return "this database keeps itself"

    def error(self, error: Exception) -> DativoError | None:
        """A database's exception as an error of the tree; None leaves it a ConnectionError."""
        return None

    def exists(self) -> bool:
        """Whether there is a database to ask; asking must not make one."""
        return True

    def accepts(self, found: str, wanted: str) -> bool:
        """Whether a column of one type takes values of another type without changing any."""
        return False

    def widen(self, connection: Any, column: str, kind: str) -> None:
        """Give a column of the table a wider type."""
        self.run(connection, f"ALTER TABLE {self.qualified(self.name)} ALTER COLUMN {self.quote(column)} TYPE {kind}")

    def index(self, connection: Any, keys: Sequence[str]) -> None:
        """Make finding rows by their keys fast, where the database needs help."""

    def delete_matching(self, table: str, new: str, condition: str) -> str:
        """The statement that deletes rows `t` of `table` for which there is a row `n` of `new`."""
        return f"DELETE FROM {table} AS t WHERE EXISTS (SELECT 1 FROM {new} AS n WHERE {condition})"

    # -- statements ------------------------------------------------------------------------------------------------

    def quote(self, name: str) -> str:
        """An identifier as SQL. Raises: ConfigurationError: for one that can't be one."""
        if "\0" in name:
            raise ConfigurationError(f"name {name!r} has a character that no table or column can have")
        return '"' + name.replace('"', '""') + '"'

    def qualified(self, name: str) -> str:
        """A table beside the target as SQL."""
        return (f"{self.quote(self.schema)}." if self.schema else "") + self.quote(name)

    def definition(self, columns: dict[str, str]) -> str:
        """Columns with their types as `CREATE TABLE` takes them."""
        return ", ".join(f"{self.quote(name)} {kind}" for name, kind in columns.items())

    def run(self, connection: Any, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Execute one statement; its rows, where it has any. Each `?` stands for one of `values`."""
        cursor = connection.cursor()
        try:
            cursor.execute(statement, tuple(values))
            return list(cursor.fetchall()) if cursor.description else []
        finally:
            cursor.close()

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        try:
            # Whoever uses a connection has it alone: a thread of a cancelled run may be in one that never answers.
            connection = self._idle.pop() if self._idle else self.connect()
            try:
                yield connection
            except BaseException:
                _close(connection)
                raise
            if self.keeps_connection:
                self._idle.append(connection)
            else:
                _close(connection)
        except DativoError:
            raise
        except Exception as error:
            known = self.error(error)
            if known is None:
                text = (str(error).strip() or type(error).__name__).splitlines()[0]
                known = ConnectionError(f"{self.place()}: {text}", details={"target": self.place()})
            raise known from error

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        with self._connection() as connection:
            self.run(connection, self.begin)
            try:
                yield connection
            except BaseException:
                with suppress(Exception):
                    self.run(connection, "ROLLBACK")
                raise
            self.run(connection, "COMMIT")

    def disconnect(self) -> None:
        """Close what a call left to the next."""
        _close_all(self._idle)


def _close_all(connections: list[Any]) -> None:
    while connections:
        _close(connections.pop())


def _close(connection: Any) -> None:
    with suppress(Exception):  # it is lost already
        connection.close()
