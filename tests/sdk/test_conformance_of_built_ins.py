"""Built-in readers and writers pass the suites that strangers' plugins pass."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dativo_plugin_sdk import BaseWriter, Incremental
from dativo_plugin_sdk.testing import ReaderConformance, WriterConformance
from dativo_rust_csv import RustCsvReader
from dativo_rust_parquet import RustParquetWriter

from dativo_assets.readers.csv import CsvReader
from dativo_assets.readers.json import JsonReader
from dativo_assets.readers.parquet import ParquetReader
from dativo_assets.readers.sql import SqlReader
from dativo_assets.writers.csv import CsvWriter
from dativo_assets.writers.delta import DeltaWriter
from dativo_assets.writers.duckdb import DuckdbWriter
from dativo_assets.writers.iceberg import IcebergWriter
from dativo_assets.writers.jsonl import JsonlWriter
from dativo_assets.writers.parquet import ParquetWriter
from dativo_assets.writers.postgres import PostgresWriter
from dativo_assets.writers.sqlite import SqliteWriter
from tests.writers.postgres import Server

ROWS = [{"id": n, "name": None if n % 5 == 1 else f"Zoë {n}", "amount": n / 4} for n in range(600)]


class Files(ReaderConformance):
    """Two files, so that there are splits."""

    expected_rows = len(ROWS)
    incremental = Incremental(strategy="file")

    def write(self, path: Path, rows: list[dict[str, Any]]) -> None:
        raise NotImplementedError

    def prepare(self, folder: Path) -> None:
        self.write(folder / "a", ROWS[:400])
        self.write(folder / "b", ROWS[400:])


class TestCsvReader(Files):
    reader: ClassVar[Any] = CsvReader
    source: ClassVar[Mapping[str, Any]] = {"files": ("a", "b")}

    def write(self, path: Path, rows: list[dict[str, Any]]) -> None:
        lines = [",".join("" if v is None else str(v) for v in row.values()) for row in rows]
        path.write_text("\n".join(["id,name,amount", *lines]) + "\n")


class TestNativeCsvReader(TestCsvReader):
    reader = RustCsvReader


class TestJsonReader(Files):
    reader = JsonReader
    source: ClassVar[Mapping[str, Any]] = {"files": ("*.jsonl",)}

    def write(self, path: Path, rows: list[dict[str, Any]]) -> None:
        path.with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


class TestParquetReader(Files):
    reader = ParquetReader
    source: ClassVar[Mapping[str, Any]] = {"files": ("a", "b")}

    def write(self, path: Path, rows: list[dict[str, Any]]) -> None:
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=100)


class TestSqlReader(ReaderConformance):
    reader = SqlReader
    source: ClassVar[Mapping[str, Any]] = {"query": "SELECT i AS id, i * i AS square FROM range(500) AS t(i)"}
    broken_source: ClassVar[Mapping[str, Any]] = {"query": "SELECT * FROM nowhere"}
    expected_rows = 500


class TestParquetWriter(WriterConformance):
    writer = ParquetWriter


class TestNativeParquetWriter(WriterConformance):
    writer = RustParquetWriter


class TestCsvWriter(WriterConformance):
    writer = CsvWriter


class TestJsonlWriter(WriterConformance):
    writer = JsonlWriter


class Database(WriterConformance):
    target: ClassVar[Mapping[str, Any]] = {"path": "x.db", "table": "t"}
    broken_target: ClassVar[Mapping[str, Any]] = {"path": "/dev/null/x.db"}
    query = ""

    def rows_of(self, path: str) -> list[dict[str, Any]]:
        raise NotImplementedError

    def read_back(self, writer: BaseWriter) -> Sequence[Mapping[str, Any]] | None:
        if writer.last_commit() is None:
            return []
        return self.rows_of(str(self.folder / "x.db"))


class TestDuckdbWriter(Database):
    writer = DuckdbWriter

    def rows_of(self, path: str) -> list[dict[str, Any]]:
        import duckdb

        with duckdb.connect(path) as connection:
            found: list[dict[str, Any]] = connection.sql("SELECT * FROM t").to_arrow_table().to_pylist()
        return found


class TestSqliteWriter(Database):
    writer = SqliteWriter

    def rows_of(self, path: str) -> list[dict[str, Any]]:
        import sqlite3

        connection = sqlite3.connect(path)
        connection.row_factory = sqlite3.Row
        try:
            return [dict(row) for row in connection.execute("SELECT * FROM t")]
        finally:
            connection.close()


class TestPostgresWriter(WriterConformance):
    """Each check has a table of its own in one database."""

    writer = PostgresWriter
    broken_target: ClassVar[Mapping[str, Any]] = {"connection": {"host": "127.0.0.1", "port": 9, "user": "a"}}
    numbers = count()
    server: ClassVar[Server]
    connection: ClassVar[Mapping[str, Any]]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _served(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        with Server(tmp_path_factory.mktemp("postgres")) as server:
            cls.connection = server.database()
            yield

    def prepare(self, folder: Path) -> None:
        self.target = {"connection": self.connection, "table": f"t{next(self.numbers)}"}  # type: ignore[misc]

    def read_back(self, writer: BaseWriter) -> Sequence[Mapping[str, Any]]:
        from adbc_driver_postgresql import dbapi

        if writer.last_commit() is None:
            return []
        told = self.connection
        uri = "postgresql://{user}:{password}@{host}:{port}/{database}".format(**told)
        with dbapi.connect(uri) as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {self.target['table']}")
            found: list[dict[str, Any]] = cursor.fetch_arrow_table().to_pylist()
        return found


class TestDeltaWriter(WriterConformance):
    writer = DeltaWriter

    def strays(self) -> list[str]:
        place = str(self.folder / "out")
        return deltalake.DeltaTable(place).file_uris() if deltalake.DeltaTable.is_deltatable(place) else []


class TestIcebergWriter(WriterConformance):
    writer = IcebergWriter
    target: ClassVar[Mapping[str, Any]] = {"table": "shop.t"}
    broken_target: ClassVar[Mapping[str, Any]] = {"options": {"warehouse": "/dev/null/x"}}
