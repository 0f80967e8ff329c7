"""Targets as the harness knows them: what a job's YAML says, and what a reader that knows nothing of Dativo sees.

A new target is one class here and one line in TARGETS.
"""

from __future__ import annotations

import csv
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar

from tests.s3 import one_certificate
from tests.writers.postgres import Server

from .proxy import Line
from .store import Store

_FORGET_VIEWS = """SET allow_system_table_mods = on; DROP SCHEMA information_schema CASCADE; DO $$
DECLARE name text;
BEGIN
    FOR name IN SELECT viewname FROM pg_views LOOP EXECUTE 'DROP VIEW IF EXISTS ' || name || ' CASCADE'; END LOOP;
END $$"""
"""ADBC reads every column of every table and view there is each time that it connects: two thirds are these."""

_ROOM = 1 << 30
_MEMORY = Path("/dev/shm")
FOLDER = _MEMORY if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM else Path(tempfile.gettempdir())
"""Where tables are: in memory where there is room, for a killed process loses nothing that it wrote. test_power.py cuts
the power."""

Row = tuple[int, int]
"""(id, v)."""


class Target:
    """One kind of table. Its methods but `yaml` run in a child, so they may start threads."""

    name: ClassVar[str] = ""
    modes: ClassVar[tuple[str, ...]] = ("append", "overwrite")
    """partitions: an overwrite of those partitions alone that new rows are in."""
    slow: ClassVar[int] = 1
    """How many times fewer trials the short form has; of kills it always has as many."""
    batches: ClassVar[int] = 10
    """How many trials a table takes: fewer where each commit makes the next one slower."""
    fair: ClassVar[frozenset[str]] = frozenset({"COMMIT_CONFLICT", "TARGET_LOCKED"})
    """What a run may be told that another one was faster than."""
    drops: ClassVar[bool] = False
    """Whether tables that are there slow down the others."""
    line: Line | None = None
    """A way to it that can be cut, where there is one."""
    far: dict[str, Any]
    """`connections` by that way."""
    store: Store | None = None
    """The server of its objects, where that can misbehave."""
    restart: Callable[[], None] | None = None
    """Kills its server and starts it again, where there is one."""

    def yaml(self, table: str) -> dict[str, Any]:
        """`target` of the job, without `mode` and `keys`."""
        raise NotImplementedError

    def rows(self, root: Path, table: str) -> list[Row]:
        """What is visible."""
        raise NotImplementedError

    def rejected(self, root: Path, table: str) -> int:
        """How many rejected rows are set aside."""
        raise NotImplementedError

    def leftovers(self, root: Path, table: str) -> list[str]:
        """What dead runs left beside the table."""
        return [str(path) for pattern in ("**/.*staging/*", ".dativo/staging/*/*") for path in root.glob(pattern)]

    def drop(self, table: str) -> None:
        """Remove it."""

    @contextmanager
    def serving(self) -> Iterator[dict[str, Any]]:
        """The server it needs, if any. Gives the project's `connections`."""
        yield {}


class Directory(Target):
    """Files in a directory, seen by a plain glob."""

    extension: ClassVar[str] = "parquet"

    def yaml(self, table: str) -> dict[str, Any]:
        return {"writer": self.name, "path": f"warehouse/{table}"}

    def _files(self, folder: Path) -> list[Path]:
        return [path for path in folder.resolve().glob(f"**/*.{self.extension}") if path.is_file()]

    def read(self, path: Path) -> list[Row]:
        import pyarrow.parquet as pq

        table = pq.read_table(path, columns=["id", "v"], use_threads=False)
        return list(zip(table["id"].to_pylist(), table["v"].to_pylist(), strict=True))

    def rows(self, root: Path, table: str) -> list[Row]:
        return [row for path in self._files(root / "warehouse" / table) for row in self.read(path)]

    def rejected(self, root: Path, table: str) -> int:
        return sum(len(self.read(path)) for path in self._files(root / "warehouse" / f"{table}.quarantine"))


class Parquet(Directory):
    name = "parquet"
    modes = ("append", "overwrite", "merge", "partitions")


class RustParquet(Parquet):
    name = "rust_parquet"


class Csv(Directory):
    name = extension = "csv"

    def read(self, path: Path) -> list[Row]:
        with open(path, newline="") as file:
            return [(int(row["id"] or -1), int(row["v"])) for row in csv.DictReader(file)]


class Jsonl(Directory):
    name = extension = "jsonl"

    def read(self, path: Path) -> list[Row]:
        return [(row.get("id"), row["v"]) for row in map(json.loads, path.read_text().splitlines())]


class Database(Target):
    """A table that SQL is asked for."""

    modes = ("append", "overwrite", "merge")

    def query(self, root: Path) -> Callable[[str], list[Any]]:
        raise NotImplementedError

    def yaml(self, table: str) -> dict[str, Any]:
        return {"writer": self.name, "path": f"warehouse/{table}.db", "table": table}

    def _ask(self, root: Path, table: str, sql: str) -> list[Any]:
        try:
            return self.query(root / "warehouse" / f"{table}.db")(sql)
        except Exception as error:
            if "exist" in str(error) or "no such table" in str(error) or "unable to open" in str(error):
                return []
            raise

    def rows(self, root: Path, table: str) -> list[Row]:
        return [(row[0], row[1]) for row in self._ask(root, table, f"SELECT id, v FROM {table}")]

    def rejected(self, root: Path, table: str) -> int:
        return len(self._ask(root, table, f"SELECT v FROM {table}_quarantine"))


class Duckdb(Database):
    name = "duckdb"
    slow = 2

    def query(self, path: Path) -> Callable[[str], list[Any]]:
        import duckdb

        def ask(sql: str) -> list[Any]:
            if not path.exists():
                return []
            with duckdb.connect(path) as connection:
                return connection.execute(sql).fetchall()

        return ask


class Sqlite(Database):
    name = "sqlite"

    def query(self, path: Path) -> Callable[[str], list[Any]]:
        def ask(sql: str) -> list[Any]:
            with closing(sqlite3.connect(path, timeout=60)) as connection:
                return connection.execute(sql).fetchall()

        return ask


class Postgres(Database):
    name = "postgres"
    slow = 2
    drops = True
    _server: Server

    def yaml(self, table: str) -> dict[str, Any]:
        return {"writer": "postgres", "connection": "pg", "table": table}

    def query(self, path: Path) -> Callable[[str], list[Any]]:
        return lambda sql: [
            [int(value) if value else None for value in row.split("|")] for row in self._server.psql(sql)
        ]

    def drop(self, table: str) -> None:
        self._server.psql(f"DROP TABLE IF EXISTS {table}, {table}_quarantine")

    @contextmanager
    def serving(self) -> Iterator[dict[str, Any]]:
        with Server(Path(tempfile.gettempdir())) as self._server, Line(self._server.port, b"COMMIT") as self.line:
            self._server.psql(_FORGET_VIEWS)
            connection = self._server.connection("postgres")
            self.far = {"pg": {**connection, "port": self.line.port}}
            self.restart = self._server.restart
            yield {"pg": connection}


class ParquetS3(Target):
    """Objects of a bucket, seen by a plain glob. An overwrite replaces an object that others may be reading."""

    name = "parquet_s3"
    slow = 2
    modes = ("append", "overwrite", "merge")
    fair = Target.fair | {"TRANSIENT_ERROR"}

    def yaml(self, table: str) -> dict[str, Any]:
        return {"writer": "parquet", "path": f"s3://lake/{table}", "connection": "s3"}

    def _bucket(self) -> Any:
        from obstore.store import S3Store

        assert self.store is not None
        return S3Store("lake", **self.store.connection(), client_options={"allow_http": True})

    def _names(self, prefix: str) -> list[str]:
        import obstore

        return [found["path"] for page in obstore.list(self._bucket(), prefix) for found in page]

    def _file(self, name: str) -> Any:
        import obstore
        import pyarrow as pa
        import pyarrow.parquet as pq

        return pq.ParquetFile(pa.BufferReader(bytes(obstore.get(self._bucket(), name).bytes())))

    def _read(self, names: list[str]) -> list[Row]:
        found = [self._file(name).read(["id", "v"], use_threads=False) for name in names]
        return [row for part in found for row in zip(part["id"].to_pylist(), part["v"].to_pylist(), strict=True)]

    def rows(self, root: Path, table: str) -> list[Row]:
        return self._read(self._names(f"{table}/"))

    def rejected(self, root: Path, table: str) -> int:
        """Of those that a record names: what a dead run left beside them is nobody's."""
        footers = [self._file(name).metadata.metadata for name in self._names(f"{table}/")]
        records = [json.loads(footer[b"dativo"]) for footer in footers]
        records += [record for footer in footers for record in json.loads(footer.get(b"dativo.before", b"[]"))]
        return len(self._read([uri.removeprefix("s3://lake/") for record in records for uri in record["quarantine"]]))

    @contextmanager
    def serving(self) -> Iterator[dict[str, Any]]:
        with (
            one_certificate(),
            Store(r"/\w+/0\d{19}\.parquet$") as self.store,
            Line(self.store.port, rb"PUT /lake/\w+/0\d{19}\.parquet ") as self.line,
        ):
            self.far = {"s3": self.store.connection(self.line.port)}
            yield {"s3": self.store.connection()}


class Lake(Target):
    """A table whose files are known by a log or a catalog."""

    modes = ("append", "overwrite", "merge", "partitions")

    def files(self, root: Path, table: str) -> tuple[list[str], set[str]]:
        """The paths of what is visible, and the names of all that any version refers to."""
        raise NotImplementedError

    def _read(self, root: Path, table: str) -> list[Any]:
        import pyarrow.parquet as pq

        found = self.files(root, table)[0]
        parts = [pq.read_table(path.removeprefix("file://"), columns=["id", "v"], use_threads=False) for path in found]
        return [row for part in parts for row in zip(part["id"].to_pylist(), part["v"].to_pylist(), strict=True)]

    def rows(self, root: Path, table: str) -> list[Row]:
        return self._read(root, table)

    def rejected(self, root: Path, table: str) -> int:
        return len(self._read(root, f"{table}_quarantine"))

    def leftovers(self, root: Path, table: str) -> list[str]:
        used = self.files(root, table)[1] | self.files(root, f"{table}_quarantine")[1]
        folders = {self.folder(root, table), self.folder(root, f"{table}_quarantine")}
        files = [path for folder in folders for path in folder.glob("**/*.parquet") if "_delta_log" not in path.parts]
        return super().leftovers(root, table) + [str(path) for path in files if path.name not in used]

    def folder(self, root: Path, table: str) -> Path:
        """Where its files are; no other bench's."""
        return root / "warehouse"


class Delta(Lake):
    name = "delta"

    def yaml(self, table: str) -> dict[str, Any]:
        return {"writer": "delta", "path": f"warehouse/{table}"}

    def files(self, root: Path, table: str) -> tuple[list[str], set[str]]:
        from deltalake import DeltaTable

        folder = root / "warehouse" / table
        if not DeltaTable.is_deltatable(str(folder)):
            return [], set()
        actions = [
            json.loads(line) for log in folder.glob("_delta_log/*.json") for line in log.read_text().splitlines()
        ]
        used = {Path(action["add"]["path"]).name for action in actions if "add" in action}
        return list(DeltaTable(str(folder)).file_uris()), used


class Iceberg(Lake):
    name = "iceberg"
    slow = 2

    def yaml(self, table: str) -> dict[str, Any]:
        return {"writer": "iceberg", "table": f"ns.{table}"}

    def catalog(self, root: Path) -> Any:
        """Its catalog, None where there is none."""
        from pyiceberg.catalog import load_catalog

        file = next(root.glob("**/catalog.db"), None)
        if file is None:
            return None
        return load_catalog("dativo", type="sql", uri=f"sqlite:///{file}", warehouse=f"file://{root / 'warehouse'}")

    def files(self, root: Path, table: str) -> tuple[list[str], set[str]]:
        if (opened := self.catalog(root)) is None:
            return [], set()
        with closing(opened) as catalog:
            if not catalog.table_exists(f"ns.{table}"):
                return [], set()
            found = catalog.load_table(f"ns.{table}")
            if not found.metadata.snapshots:
                return [], set()
            used = {Path(path).name for path in found.inspect.all_files()["file_path"].to_pylist()}
            return [task.file.file_path for task in found.scan().plan_files()], used


class IcebergRest(Iceberg):
    """A table in Iceberg's own REST catalog, which is a server."""

    name = "iceberg_rest"
    slow = 3
    batches = 5
    _connection: dict[str, str]
    _warehouse: Path

    def yaml(self, table: str) -> dict[str, Any]:
        return {"writer": "iceberg", "catalog": "rest", "table": f"ns.{table}"}

    def catalog(self, root: Path) -> Any:
        from pyiceberg.catalog import load_catalog

        return load_catalog("rest", **self._connection)

    def folder(self, root: Path, table: str) -> Path:
        return self._warehouse / "rest" / "ns" / table

    @contextmanager
    def serving(self) -> Iterator[dict[str, Any]]:
        from tests.writers.lake import rest_server

        with tempfile.TemporaryDirectory(dir=FOLDER) as folder, rest_server(Path(folder)) as self._connection:
            self._warehouse = Path(folder)
            port = int(self._connection["uri"].rpartition(":")[2])
            with Line(port, rb"POST /v1/namespaces/ns/tables/t\w+ ") as self.line:
                self.far = {"rest": {**self._connection, "uri": f"http://127.0.0.1:{self.line.port}"}}
                yield {"rest": self._connection}


class DeltaS3(ParquetS3):
    """A Delta table in a bucket."""

    name = "delta_s3"
    slow = 3
    batches = 4
    fair = Target.fair
    modes = ("append", "overwrite", "merge", "partitions")

    def yaml(self, table: str) -> dict[str, Any]:
        return {"writer": "delta", "path": f"s3://lake/{table}", "connection": "s3"}

    def _delta(self, table: str) -> Any:
        from deltalake import DeltaTable

        assert self.store is not None
        options = {**self.store.connection(), "allow_http": "true"}
        where = f"s3://lake/{table}"
        return DeltaTable(where, storage_options=options) if DeltaTable.is_deltatable(where, options) else None

    def rows(self, root: Path, table: str) -> list[Row]:
        delta = self._delta(table)
        return [] if delta is None else self._read([uri.removeprefix("s3://lake/") for uri in delta.file_uris()])

    def rejected(self, root: Path, table: str) -> int:
        return len(self.rows(root, f"{table}_quarantine"))

    def leftovers(self, root: Path, table: str) -> list[str]:
        import obstore

        left = super().leftovers(root, table)
        for name in (table, f"{table}_quarantine"):
            found = self._names(f"{name}/")
            logs = [path for path in found if "/_delta_log/" in path and path.endswith(".json")]
            lines = [line for log in logs for line in bytes(obstore.get(self._bucket(), log).bytes()).splitlines()]
            used = {json.loads(line)["add"]["path"].rpartition("/")[2] for line in lines if b'"add"' in line[:8]}
            left += [path for path in found if "/_delta_log/" not in path and path.rpartition("/")[2] not in used]
        return left

    @contextmanager
    def serving(self) -> Iterator[dict[str, Any]]:
        with (
            one_certificate(),
            Store(r"/\w+/_delta_log/0\d{19}\.json$") as self.store,
            Line(self.store.port, rb"PUT /lake/t\w*/_delta_log/0\d{19}\.json ") as self.line,
        ):
            self.far = {"s3": self.store.connection(self.line.port)}
            yield {"s3": self.store.connection()}


TARGETS: dict[str, type[Target]] = {
    kind.name: kind
    for kind in (
        Parquet,
        RustParquet,
        Csv,
        Jsonl,
        Duckdb,
        Sqlite,
        Postgres,
        Delta,
        Iceberg,
        IcebergRest,
        ParquetS3,
        DeltaS3,
    )
}
