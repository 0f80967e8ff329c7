"""A query over upstream tables, run by DuckDB over their committed files and nothing else."""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from dativo_plugin_sdk import (
    BaseReader,
    CancelledError,
    ConfigurationError,
    ConnectionTestResult,
    DiscoveryResult,
    PluginError,
    ReadPlan,
    ReadRequest,
    SourceConfig,
    Split,
    Upstream,
    ValidationError,
)
from dativo_plugin_sdk.arrow import as_schema, parse_type, types_of
from dativo_plugin_sdk.cursor_values import lower_bound
from dativo_plugin_sdk.partition_rows import PartitionRange
from dativo_plugin_sdk.remote import RemoteFiles, is_remote

if TYPE_CHECKING:
    import duckdb
    from dativo_plugin_sdk import Incremental
    from dativo_plugin_sdk.partition_rows import PartitionSelection

_LEAST_MEMORY_BYTES = 256 << 20
_ROWS = 1 << 16
_LINE = re.compile(r"^LINE \d+: (.*)$", re.MULTILINE)
_END = re.compile(r";(?:\s|--[^\n]*(?:\n|\Z)|/\*.*?\*/)*\Z", re.DOTALL)
_NAME = re.compile(r"(?:with name|column) \"?([^\"\s]+)")


class SqlReader(BaseReader):
    """Reads the result of one SELECT. It names upstream tables; no other file and no network is within its reach."""

    def __init__(self, source_config: SourceConfig) -> None:
        super().__init__(source_config)
        if not source_config.query:
            raise ConfigurationError("reader sql needs source.query", hint="query: queries/name.sql, or the SQL itself")
        self._query = source_config.query
        self._guard = threading.Lock()
        self._running: set[duckdb.DuckDBPyConnection] = set()

    @classmethod
    def query_tables(cls, query: str) -> frozenset[str]:
        """The tables a query names, a stream as `job.stream`, its own WITH names left out; none where it can't be parsed
        (DuckDB will say why).
        """
        try:
            from sqlglot import exp, parse_one
            from sqlglot.errors import SqlglotError
        except ImportError:
            return frozenset()
        try:
            tree = parse_one(query, dialect="duckdb")
        except SqlglotError:
            return frozenset()
        own = {cte.alias for cte in tree.find_all(exp.CTE)}
        return frozenset(_named(table.db, table.name) for table in tree.find_all(exp.Table)) - own

    @classmethod
    def column_lineage(cls, source: SourceConfig) -> Mapping[str, Sequence[tuple[str, str]]]:
        return column_lineage(source.query or "", {name: table.schema_text for name, table in source.upstream.items()})

    def plan(self, request: ReadRequest) -> ReadPlan:
        self._request = request
        versions = {name: table.seq for name, table in self.source_config.upstream.items()}
        cursor = {"strategy": "snapshot", "upstream": versions}
        incremental = self.source_config.incremental
        snapshot = incremental is not None and incremental.strategy == "snapshot"
        if snapshot and versions and request.cursor == cursor:
            return ReadPlan(splits=(), unchanged=True)
        with self._relation(request) as relation:
            schema = as_schema(relation.limit(0).to_arrow_table().schema)
            where = _condition(request, incremental, schema, relation)
        columns = None if request.columns is None else list(request.columns)
        return ReadPlan(
            splits=(Split("query", {"columns": columns, "limit": request.limit, "where": where}),),
            schema=schema,
            cursor=cursor if snapshot else None,
            applied=frozenset({"columns", "limit"}),
        )

    def read(self, split: Split) -> Iterator[Any]:
        wanted = split.payload
        with self._relation(self._request, wanted["columns"], wanted["limit"], wanted["where"]) as relation:
            self.raise_if_cancelled()
            stream = getattr(relation, "to_arrow_reader", None) or relation.fetch_record_batch
            for batch in stream(_ROWS):
                self.raise_if_cancelled()
                yield batch

    def probe(self, cursor: Mapping[str, Any] | None) -> str | None:
        """Changes whenever an upstream table has a new commit."""
        versions = {name: table.seq for name, table in self.source_config.upstream.items()}
        if cursor is not None and cursor.get("upstream") == versions:
            return None
        return "|".join(f"{name}:{seq}" for name, seq in sorted(versions.items()))

    def partition_values(self, column: str) -> Mapping[str, str]:
        """Of each value its rows' count and the sum of their hashes: one pass over the query, in memory within its budget."""
        with self._relation(ReadRequest()) as relation:
            schema = as_schema(relation.limit(0).to_arrow_table().schema)
            if column not in schema.names:
                raise ValidationError(
                    f"the query has no column {column!r}", hint=f"columns are: {', '.join(schema.names)}"
                )
            PartitionRange(column).check_values(schema.field(column).type)
            name = _name(column)
            found = relation.query(
                "dativo_rows",
                f"SELECT CAST({name} AS VARCHAR), count(*), sum(CAST(hash(dativo_rows) AS HUGEINT)) FROM dativo_rows "
                f"WHERE {name} IS NOT NULL GROUP BY 1 ORDER BY 1",
            )
            rows = [] if found is None else found.fetchall()
            return {value: f"{count}:{total}" for value, count, total in rows}

    def check_connection(self) -> ConnectionTestResult:
        with self._relation(ReadRequest()):
            return ConnectionTestResult(True, "the query fits its upstream tables")

    def discover(self) -> DiscoveryResult:
        return DiscoveryResult(
            [
                {"name": name, "type": table.format, "columns": dict(table.schema_text)}
                for name, table in self.source_config.upstream.items()
            ]
        )

    def cancel(self) -> None:
        super().cancel()
        with self._guard:
            for connection in self._running:
                connection.interrupt()

    @contextmanager
    def _relation(
        self,
        request: ReadRequest,
        columns: list[str] | None = None,
        limit: int | None = None,
        where: str | None = None,
    ) -> Iterator[duckdb.DuckDBPyRelation]:
        """The query, bound and not yet run, on a connection of its own."""
        try:
            import duckdb
        except ImportError as error:
            raise PluginError("reader sql needs duckdb", hint="pip install 'dativo-assets[duckdb]'") from error
        spill = tempfile.mkdtemp(prefix="dativo-sql-")
        memory = max(request.memory_bytes, _LEAST_MEMORY_BYTES)
        connection = duckdb.connect(
            ":memory:",
            config={
                "memory_limit": f"{memory}B",
                "threads": max(1, request.parallelism),
                "temp_directory": spill,
                "preserve_insertion_order": True,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            },
        )
        opened = ExitStack()
        try:
            with self._guard:
                self._running.add(connection)
            connection.execute("SET TimeZone = 'UTC'")
            for name, table in self.source_config.upstream.items():
                _define(connection, name, table, opened)
            tables = self.source_config.upstream.values()
            files = [file for table in tables for file in table.files if not is_remote(file)]
            connection.execute(f"SET allowed_paths = [{', '.join(map(_text, files))}]")
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            statements = connection.extract_statements(self._query)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise ConfigurationError(
                    f"source.query holds {len(statements)} statements; it must be one SELECT",
                    hint="a derived job has one query; make other statements jobs of their own",
                )
            relation = connection.sql(_END.sub("", self._query))
            if where is not None:
                relation = relation.filter(where)
            chosen = columns if columns is not None else request.columns
            if chosen is not None:
                relation = relation.project(", ".join(map(_name, chosen)))
            yield relation if limit is None else relation.limit(limit)
        except duckdb.InterruptException as error:
            raise CancelledError("the query was cancelled") from error
        except duckdb.Error as error:
            self.raise_if_cancelled()
            raise self._explained(error) from error
        finally:
            with self._guard:
                self._running.discard(connection)
            with suppress(duckdb.Error):
                connection.close()
            opened.close()
            shutil.rmtree(spill, ignore_errors=True)

    def _explained(self, error: duckdb.Error) -> ValidationError | ConfigurationError:
        text = str(error)
        line = self._line_of(text)
        where = f"query line {line}" if line else "query"
        first = text.split("\n\nLINE")[0]
        names = ", ".join(self.source_config.upstream) or "none"
        at_rest = type(error).__name__ in ("ParserException", "BinderException", "CatalogException", "SyntaxException")
        details = {"line": line} if line else None
        if not at_rest and "Permission" not in text:
            return ValidationError(f"{where}: {first}", details=details, hint="look at the values that the query meets")
        hint = f"the query may name its upstream tables ({names}) and nothing else"
        return ConfigurationError(f"{where}: {first}", details=details, hint=hint)

    def _line_of(self, text: str) -> int | None:
        """The line of the query that an error is about: where the text or the name that DuckDB quotes stands first.

        The number it gives counts from the start of what it made of the query.
        """
        shown, named = _LINE.search(text), _NAME.search(text)
        if shown and (excerpt := shown[1].strip(". ")) in self._query:
            return self._query.count("\n", 0, self._query.index(excerpt)) + 1
        found = re.search(rf"\b{re.escape(named[1])}\b", self._query) if named else None
        return None if found is None else self._query.count("\n", 0, found.start()) + 1


def _named(schema: str, table: str) -> str:
    return f"{schema}.{table}" if schema not in ("", "main") else table


def _define(connection: duckdb.DuckDBPyConnection, name: str, table: Upstream, opened: ExitStack) -> None:
    """The upstream table as a view, that of a stream in a schema named after its job."""
    _define_view(connection, name, table, opened)
    schema, _, stream = name.rpartition(".")
    if schema:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_name(schema)}")
        connection.execute(f"CREATE VIEW {_name(schema)}.{_name(stream)} AS SELECT * FROM {_name(name)}")


def _define_view(connection: duckdb.DuckDBPyConnection, name: str, table: Upstream, opened: ExitStack) -> None:
    """The upstream table as a view over its files; an empty table where it has none."""
    import pyarrow as pa

    schema = pa.schema([(column, parse_type(text)) for column, text in table.schema_text.items()])
    if not table.files:
        if not table.schema_text:
            raise ValidationError(f"upstream {name} has no files and no schema", hint=f"run {name} first")
        connection.register(name, schema.empty_table())
        return
    files = f"[{', '.join(map(_text, table.files))}]"
    kind = table.format.partition(".")[0]
    if kind == "parquet" and is_remote(table.files[0]):
        connection.register(name, _remote(table, schema, opened))
        return
    if kind == "parquet":
        source = f"read_parquet({files}, union_by_name = true, hive_partitioning = false)"
    elif kind == "csv":
        source = (
            f"read_csv({files}, header = true, delim = ',', quote = '\"', escape = '\"', nullstr = '', "
            f"allow_quoted_nulls = false, auto_detect = false, columns = {_columns(connection, schema)})"
        )
    elif kind in ("jsonl", "json"):
        source = f"read_json({files}, format = 'newline_delimited', columns = {_columns(connection, schema)})"
    else:
        raise ConfigurationError(
            f"upstream {name} is written as {table.format}, which reader sql can't read",
            hint="write it as parquet, csv or jsonl",
        )
    connection.execute(f"CREATE VIEW {_name(name)} AS SELECT * FROM {source}")


def _remote(table: Upstream, schema: Any, opened: ExitStack) -> Any:
    """Parquet files of a store as a dataset: DuckDB asks it for columns and rows, and each file for what is in them."""
    import pyarrow as pa
    from pyarrow import dataset

    files, kind = RemoteFiles(table.connection), dataset.ParquetFileFormat()
    streams = [opened.enter_context(files.open(files.stat(uri))) for uri in table.files]
    fragments = [kind.make_fragment(pa.PythonFile(stream, "r")) for stream in streams]
    return dataset.FileSystemDataset(fragments, schema, kind)


def _condition(
    request: ReadRequest, incremental: Incremental | None, schema: Any, relation: duckdb.DuckDBPyRelation
) -> str | None:
    """What the run's partitions or its cursor say of rows, as SQL; None where it can't be said of this query's columns, and
    the pipeline tells why.
    """
    as_column = dict(zip(schema.names, relation.types, strict=True))
    if request.partition is not None:
        return _in_partitions(request.partition, schema, as_column)
    bound = lower_bound(request, incremental, types_of(schema))
    if bound is None:
        return None
    column, low = _name(bound.column), _text(_as_text(bound.low))
    return f"{column} >= CAST({low} AS {as_column[bound.column]}) OR {column} IS NULL"


def _in_partitions(partition: PartitionSelection, schema: Any, as_column: Mapping[str, Any]) -> str | None:
    found = []
    for part in partition.ranges:
        if part.column not in schema.names:
            return None
        column, kind = _name(part.column), schema.field(part.column).type
        if part.start is None:
            found.append(f"CAST({column} AS VARCHAR) IN ({', '.join(map(_text, part.values))})")
            continue
        try:
            low, high = (_text(_as_text(bound)) for bound in part.bounds(kind))
        except ValidationError:
            return None
        to = as_column[part.column]
        found.append(f"{column} >= CAST({low} AS {to}) AND {column} < CAST({high} AS {to})")
    return " AND ".join(found)


def _as_text(value: Any) -> str:
    """An Arrow scalar as DuckDB reads it; a point in time to the nanosecond."""
    import pyarrow as pa

    in_utc = pa.types.is_timestamp(value.type) and value.type.tz is not None
    at = value.cast(pa.timestamp(value.type.unit, "UTC")) if in_utc else value
    return str(at.cast(pa.string()).as_py())


def _columns(connection: duckdb.DuckDBPyConnection, schema: Any) -> str:
    """A DuckDB struct of column names and types, DuckDB itself being asked for its names of the Arrow types."""
    kinds = [str(kind) for kind in connection.from_arrow(schema.empty_table()).types]
    pairs = zip(schema.names, ["VARCHAR" if kind == '"NULL"' else kind for kind in kinds], strict=True)
    return "{" + ", ".join(f"{_text(name)}: {_text(kind)}" for name, kind in pairs) + "}"


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def column_lineage(query: str, upstream_schemas: Mapping[str, Mapping[str, str]]) -> dict[str, list[tuple[str, str]]]:
    """{output column: [(upstream table, its column), ...]} of a query, without running it.

    upstream_schemas: {table: {column: type}}. Empty where sqlglot is not installed or does not understand the query.
    """
    try:
        from sqlglot import exp, parse_one
        from sqlglot.errors import SqlglotError
        from sqlglot.lineage import lineage
        from sqlglot.optimizer.qualify import qualify
        from sqlglot.optimizer.scope import build_scope
    except ImportError:
        return {}
    schema: dict[str, object] = {
        table: dict.fromkeys(columns, "varchar") for table, columns in upstream_schemas.items()
    }
    try:
        parsed = parse_one(query, dialect="duckdb")
        for table in parsed.find_all(exp.Table):  # a stream is one of its names, like any upstream table
            if (name := _named(table.db, table.name)) != table.name:
                table.set("alias", table.args.get("alias") or exp.TableAlias(this=exp.to_identifier(table.name)))
                table.set("this", exp.to_identifier(name, quoted=True))
                table.set("db", None)
        tree = qualify(parsed, schema=schema, dialect="duckdb")
        if not isinstance(tree, exp.Query):
            return {}
        scope = build_scope(tree)
        found: dict[str, list[tuple[str, str]]] = {}
        for column in tree.named_selects:
            sources = set()
            for node in lineage(column, tree, schema=schema, dialect="duckdb", scope=scope).walk():
                if isinstance(node.expression, exp.Table):
                    sources.add((node.expression.name, exp.to_column(node.name).name))
            found[column] = sorted(sources)
    except (SqlglotError, ValueError, KeyError):
        return {}
    return found
