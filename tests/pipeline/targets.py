"""The targets that every behaviour of a run is tried on: how a job names each, and what a stranger reads from it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.dataset as ds
from deltalake import DeltaTable
from pyiceberg.catalog import load_catalog

KINDS = ("parquet", "duckdb", "sqlite", "postgres", "delta", "iceberg")


class Target:
    """The table `out` of one kind of target. connection: of Postgres."""

    def __init__(self, kind: str, root: Path, connection: dict[str, Any]) -> None:
        self.kind, self.root, self._connection = kind, root, connection

    def yaml(self, **more: Any) -> str:
        """`target` of a job, as one line."""
        place: dict[str, Any] = {"path": "out"} if self.kind == "parquet" else {"path": "x.db", "table": "out"}
        if self.kind == "postgres":
            place = {"table": "out", "connection": self._connection}
        if self.kind in ("delta", "iceberg"):
            place = {"path": "out"} if self.kind == "delta" else {"table": "default.out"}
        return f"target: {json.dumps({'writer': self.kind, **place, **more})}\n"

    def rows(self, columns: str, table: str = "out") -> list[tuple[Any, ...]]:
        """These columns of all rows, in order; none where there is no table."""
        found = self._parquet(columns, table) if self.kind == "parquet" else self._query(columns, table)
        return sorted(found, key=str)

    def _parquet(self, columns: str, table: str) -> list[tuple[Any, ...]]:
        folder = self.root / table.replace("_quarantine", ".quarantine")
        files = sorted(str(path) for path in folder.resolve().glob("**/*.parquet"))
        if not files:
            return []
        rows = ds.dataset(files, format="parquet").to_table(columns=columns.split(", ")).to_pylist()
        return [tuple(row.values()) for row in rows]

    def _query(self, columns: str, table: str) -> list[tuple[Any, ...]]:
        if self.kind in ("delta", "iceberg"):
            return self._lake(columns.split(", "), table)
        quoted = ", ".join(f'"{column}"' for column in columns.split(", "))
        query = f"SELECT {quoted} FROM {table}"
        if self.kind == "postgres":
            from adbc_driver_postgresql import dbapi

            with dbapi.connect(self.uri) as connection, connection.cursor() as cursor:
                cursor.execute(f"SELECT to_regclass('{table}') IS NULL")
                if cursor.fetchone() == (True,):
                    return []
                cursor.execute(query)
                return list(cursor.fetchall())
        path = self.root / "x.db"
        if not path.exists():
            return []
        if self.kind == "sqlite":
            with closing(sqlite3.connect(path)) as connection:
                return list(connection.execute(query))
        with duckdb.connect(path) as connection:
            return connection.execute(query).fetchall()

    def _lake(self, columns: list[str], table: str) -> list[tuple[Any, ...]]:
        if self.kind == "delta":
            if not DeltaTable.is_deltatable(str(self.root / table)):
                return []
            found = DeltaTable(self.root / table).to_pyarrow_table(columns=columns)
        else:
            folder = self.root / "warehouse" / "iceberg"
            if not folder.exists():
                return []
            with load_catalog("dativo", type="sql", uri=f"sqlite:///{folder}/catalog.db") as catalog:
                if not catalog.table_exists(f"default.{table}"):
                    return []
                found = catalog.load_table(f"default.{table}").scan(selected_fields=tuple(columns)).to_arrow()
        return [tuple(row[column] for column in columns) for row in found.to_pylist()]

    @property
    def uri(self) -> str:
        to = self._connection
        return f"postgresql://{to['user']}:{to['password']}@{to['host']}:{to['port']}/{to['database']}"

    def leftovers(self) -> list[str]:
        """What is still staged."""
        found = [*self.root.glob(".out.staging/*"), *self.root.glob(".dativo/staging/*/*")]
        return sorted([*(path.name for path in found), *(self._unnamed() if self.kind in ("delta", "iceberg") else ())])

    def _unnamed(self) -> set[str]:
        """Data files of a lake's table that its newest version does not name."""
        if self.kind == "delta":
            there, table = self.root.glob("out/**/part-*.parquet"), str(self.root / "out")
            named = DeltaTable(table).file_uris() if DeltaTable.is_deltatable(table) else []
        else:
            folder = self.root / "warehouse" / "iceberg"
            there = folder.glob("**/out/data/**/part-*.parquet")
            with load_catalog("dativo", type="sql", uri=f"sqlite:///{folder}/catalog.db") as catalog:
                made = catalog.table_exists("default.out")
                scan = catalog.load_table("default.out").scan().plan_files() if made else ()
                named = [task.file.file_path for task in scan]
        return {path.name for path in there} - {Path(name).name for name in named}
