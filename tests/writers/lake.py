"""The lakes of the tests: Iceberg in the project's own catalog and in a REST one, Delta in a folder and in a bucket."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import deltalake
import obstore
import pyarrow as pa
from dativo_plugin_sdk import AssetDefinition, Commit, TargetConfig, WriteRequest, WriteTask
from obstore.store import S3Store
from pyiceberg.catalog import Catalog, load_catalog
from typing_extensions import Self

from dativo_assets.writers._lake import LakeWriter
from dativo_assets.writers.delta import DeltaWriter
from dativo_assets.writers.iceberg import IcebergWriter
from tests.s3 import SECRET, store_of

KINDS = ("iceberg", "iceberg_rest", "delta", "delta_s3")


class Target:
    """One table; `deliver` is a whole run of it, `rows` is what a reader that knows no Dativo sees."""

    def __init__(self, kind: str, root: Path, connection: dict[str, Any]) -> None:
        self.kind, self.root, self.connection = kind, root, connection

    @property
    def is_delta(self) -> bool:
        return self.kind.startswith("delta")

    def place(self, table: str = "t") -> dict[str, Any]:
        if self.kind == "delta":
            return {"path": table}
        if self.kind == "delta_s3":
            return {"path": f"s3://lake/{self.root.name}/{table}", "connection": self.connection}
        named = {"table": f"{_namespace(self.root)}.{table}"}
        return named if self.kind == "iceberg" else {**named, "catalog": "lake", "connection": self.connection}

    def writer(self, table: str = "t", **more: Any) -> LakeWriter:
        config: dict[str, Any] = {"job": "j", **self.place(table), **more}
        made = DeltaWriter if self.is_delta else IcebergWriter
        return made(AssetDefinition(name="j"), TargetConfig(writer=self.kind, root=str(self.root), **config))

    def stage(
        self,
        writer: LakeWriter,
        run: str,
        *tables: pa.Table,
        rejected: pa.Table | None = None,
        cursor: str | None = None,
        base: int = 0,
    ) -> list[Any]:
        mode, keys = writer.target_config.mode, writer.target_config.keys
        job = writer.target_config.job
        writer.open(WriteRequest(job, run, base, mode=mode, keys=keys, cursor_field=cursor, parallelism=2))
        done = []
        tasks = [WriteTask(index, "data", table.schema) for index, table in enumerate(tables)]
        if rejected is not None:
            tasks.append(WriteTask(0, "quarantine", rejected.schema))
            tables = (*tables, rejected)
        for task, table in zip(tasks, tables, strict=True):
            split = writer.writer(task)
            for batch in table.to_batches():
                split.write(batch)
            done.extend(split.finish())
        return done

    def record(self, writer: LakeWriter, run: str, seq: int, *tables: pa.Table) -> Commit:
        text = {field.name: str(field.type) for table in tables[:1] for field in table.schema}
        return Commit(
            job=writer.target_config.job, seq=seq, run_id=run, mode=writer.target_config.mode, schema_text=text
        )

    def deliver(self, run: str, *tables: pa.Table, table: str = "t", **more: Any) -> Commit:
        staging = {name: more.pop(name) for name in ("rejected", "cursor") if name in more}
        writer = self.writer(table, **more)
        last = writer.last_commit()
        base = 0 if last is None else last.seq
        staged = self.stage(writer, run, *tables, base=base, **staging)
        done = writer.commit(staged, self.record(writer, run, base + 1, *tables))
        writer.close()
        return done

    @contextmanager
    def catalog(self) -> Iterator[Catalog]:
        folder = self.root / "warehouse" / "iceberg"
        own = {"type": "sql", "uri": f"sqlite:///{folder}/catalog.db", "warehouse": f"file://{folder}"}
        catalog = load_catalog("dativo", **(own if self.kind == "iceberg" else self.connection))
        yield catalog
        catalog.close()

    def delta(self, table: str = "t") -> deltalake.DeltaTable:
        path = str(self.root / table) if self.kind == "delta" else self.place(table)["path"]
        options = {**self.connection, "allow_http": "true"} if self.kind == "delta_s3" else None
        return deltalake.DeltaTable(path, storage_options=options)

    def arrow(self, table: str = "t") -> pa.Table:
        if self.is_delta:
            return pa.table(self.delta(table).to_pyarrow_table())
        with self.catalog() as catalog:
            return catalog.load_table(f"{_namespace(self.root)}.{table}").scan().to_arrow()

    def rows(self, table: str = "t") -> list[tuple[Any, ...]]:
        found = [tuple(row.values()) for row in self.arrow(table).to_pylist()]
        return sorted(found, key=lambda row: [(value is not None, value) for value in row])

    def data_files(self, table: str = "t") -> set[str]:
        """Names of all Parquet files in the table's folder, committed or not."""
        if self.kind == "delta_s3":
            return {path.rpartition("/")[2] for path in self._objects(table) if "/_delta_log/" not in path}
        if self.kind == "delta":
            return {path.name for path in (self.root / table).glob("*.parquet")}
        with self.catalog() as catalog:
            try:
                where = catalog.load_table(f"{_namespace(self.root)}.{table}").location()
            except Exception:
                return set()
        return {path.name for path in Path(where.removeprefix("file://")).glob("data/*.parquet")}

    def _objects(self, table: str) -> list[str]:
        listed = obstore.list(self._bucket, f"{self.root.name}/{table}/")
        return [item["path"] for page in listed for item in page]

    @property
    def _bucket(self) -> S3Store:
        return store_of(self.connection)

    def drop(self) -> None:
        """What somebody does who drops the table."""
        if self.kind == "delta_s3":
            obstore.delete(self._bucket, [path for path in self._objects("t") if "/_delta_log/" in path])
        elif self.is_delta:
            shutil.rmtree(self.root / "t" / "_delta_log")
        else:
            with self.catalog() as catalog:
                catalog.drop_table(self.place()["table"])

    def named_paths(self, table: str = "t") -> list[str]:
        """The files that the table has now."""
        found = self.writer(table).snapshot()
        return [] if found is None else list(found.files)

    def named_files(self, table: str = "t") -> set[str]:
        """Names of the files that the table has now."""
        return {path.rpartition("/")[2] for path in self.named_paths(table)}


def _namespace(root: Path) -> str:
    return "n_" + "".join(character if character.isalnum() else "_" for character in root.name)


def rest_libraries() -> Path:
    """The jars of Iceberg's own REST catalog, fetched once, and what starts it, compiled once."""
    source = Path(__file__).parent / "iceberg_rest"
    folder = source.parents[2] / ".cache" / "iceberg-rest"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            command = ["mvn", "-q", "-B", "-f", str(source / "pom.xml"), "dependency:copy-dependencies"]
            subprocess.run([*command, f"-DoutputDirectory={folder}"], check=True, timeout=110)
            (folder / "done").touch()
        made, text = folder / "Serve.class", source / "Serve.java"
        if not made.exists() or made.stat().st_mtime < text.stat().st_mtime:
            subprocess.run(["javac", "-cp", f"{folder}/*", "-d", folder, text], check=True, timeout=110)
    return folder


@contextmanager
def rest_server(folder: Path) -> Iterator[dict[str, str]]:
    """Iceberg's own REST catalog with a warehouse of files. Yields: the properties of its connection."""
    libraries = rest_libraries()
    quick_start = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    command = ["java", *quick_start, "-cp", f"{libraries}:{libraries}/*", "Serve"]
    with (folder / "rest.log").open("wb") as log:
        server = subprocess.Popen(
            [*command, str(folder / "rest.db"), f"file://{folder}/rest"], stdout=subprocess.PIPE, stderr=log, text=True
        )
        assert server.stdout is not None
        line = server.stdout.readline()
        assert line.startswith("port "), (folder / "rest.log").read_text()
        yield {"type": "rest", "uri": f"http://127.0.0.1:{line.split()[1]}", "token": SECRET}
        server.kill()
        server.communicate()


class Cutter:
    """Between a client and a web server: once armed, the next request that has `mark` in it is delivered or not, and its
    answer never is. A process of its own, for deltalake keeps this one's threads waiting while it waits.
    """

    def __init__(self, url: str, mark: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        command = [sys.executable, str(Path(__file__).with_name("cutter.py")), host, port, mark]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{self._line()}"

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def arm(self, how: str) -> None:
        """how: before or after the request is delivered."""
        assert self._told(how) == "armed"

    def count(self) -> int:
        """How many requests have come that have the mark."""
        return int(self._told("count"))

    def _told(self, word: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        return self._line()

    def has_cut(self) -> bool:
        """Whether the request came for which it was armed."""
        return self._line() == "cut"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
