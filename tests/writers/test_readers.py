"""What readers that know nothing of Dativo see of a table, after each mode: the rows that are committed, and no others."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import obstore
import polars as pl
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from pyiceberg.catalog import load_catalog

from dativo_assets.config import load_project
from dativo_assets.pipeline import RunSettings, run
from dativo_assets.plan import bind
from tests.s3 import store_of

Rows = list[tuple[int, str]]
MODES: dict[str, tuple[dict[str, Any], Rows]] = {
    "append": ({"mode": "append"}, [(1, "a"), (2, "a"), (3, "b"), (3, "c")]),
    "overwrite": ({"mode": "overwrite"}, [(3, "c")]),
    "merge": ({"mode": "merge", "keys": ["id"]}, [(1, "a"), (2, "a"), (3, "c")]),
    "partitions": (
        {"mode": "overwrite", "partition_by": ["place"], "options": {"overwrite": "partitions"}},
        [(1, "a"), (2, "a"), (3, "b"), (3, "c")],
    ),
    "divided": ({"mode": "append", "partition_by": ["place"]}, [(1, "a"), (2, "a"), (3, "b"), (3, "c")]),
}


def _rows(found: Any) -> Rows:
    return sorted((int(row["id"]), str(row["place"])) for row in found.to_pylist())


def _duckdb(folder: Path) -> Rows:
    with duckdb.connect() as connection:
        return sorted(connection.execute(f"SELECT id, place FROM '{folder}/**/*.parquet'").fetchall())


def _polars(folder: Path) -> Rows:
    return _rows(pl.scan_parquet(f"{folder}/**/*.parquet").select("id", "place").collect().to_arrow())


def _pyarrow(folder: Path) -> Rows:
    return _rows(ds.dataset(folder, format="parquet").to_table(columns=["id", "place"]))


def _spark_style(folder: Path) -> Rows:
    """As Spark and Hive list a table: all files whose path has no part that begins with `_` or `.`, whatever their end, the
    values of partitions taken from `name=value`.
    """
    found: Rows = []
    for path in folder.resolve().rglob("*"):
        inside = path.relative_to(folder.resolve()).parts
        if path.is_file() and not any(part[0] in "._" for part in inside):
            place = dict(part.split("=") for part in inside if "=" in part).get("place")
            rows = _rows(pq.ParquetFile(path).read())
            assert place is None or {row[1] for row in rows} <= {place}
            found += rows
    return sorted(found)


def _delta(root: Path) -> list[Rows]:
    table = DeltaTable(root / "out")
    return [
        _rows(table.to_pyarrow_table()),
        _rows(pl.read_delta(str(root / "out")).to_arrow()),
        _rows(pl.scan_parquet(table.file_uris(), hive_partitioning=True).collect().to_arrow()),
    ]


def _iceberg(root: Path) -> list[Rows]:
    folder = root / "warehouse" / "iceberg"
    with load_catalog("dativo", type="sql", uri=f"sqlite:///{folder}/catalog.db") as catalog:
        table = catalog.load_table("default.out")
        files = [task.file.file_path.removeprefix("file://") for task in table.scan().plan_files()]
        with duckdb.connect() as connection:
            found = sorted(connection.execute("SELECT id, place FROM read_parquet($1)", [files]).fetchall())
        return [_rows(table.scan().to_arrow()), _rows(pl.scan_iceberg(table).collect().to_arrow()), found]


def _folder(root: Path) -> list[Rows]:
    return [read(root / "out") for read in (_duckdb, _polars, _pyarrow, _spark_style)]


KINDS: dict[str, tuple[dict[str, Any], Callable[[Path], list[Rows]]]] = {
    "parquet": ({"writer": "parquet", "path": "out"}, _folder),
    "rust_parquet": ({"writer": "rust_parquet", "path": "out"}, _folder),
    "s3": ({"writer": "parquet", "connection": "lake"}, _folder),
    "delta": ({"writer": "delta", "path": "out"}, _delta),
    "iceberg": ({"writer": "iceberg", "table": "default.out"}, _iceberg),
}


@pytest.mark.parametrize("kind", KINDS)
def test_readers_see_what_is_committed(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")
    place, read = KINDS[kind]
    connection = request.getfixturevalue("bucket") if kind == "s3" else {}
    for mode, (more, expected) in MODES.items():
        if (kind, mode) == ("s3", "partitions"):
            continue
        root, prefix = tmp_path / mode, uuid.uuid4().hex
        (root / "data").mkdir(parents=True)
        (root / "jobs").mkdir()
        target = {**place, **more, **({"path": f"s3://lake/{prefix}/out"} if kind == "s3" else {})}
        (root / "dativo.yaml").write_text(f"connections: {json.dumps({'lake': connection})}\n")
        (root / "jobs" / "j.yaml").write_text(
            "source: {reader: csv, files: [data/*.csv], incremental: {strategy: file}}\n"
            f"schema: [{{name: id, type: int64}}, {{name: place, type: string}}]\ntarget: {json.dumps(target)}\n"
        )
        project = load_project(root)
        for name, rows in (("1", "1,a\n2,a\n3,b\n"), ("2", "3,c\n")):
            (root / "data" / f"{name}.csv").write_text("id,place\n" + rows)
            result = run(bind(project.jobs["j"], project), RunSettings(workers=1))
            assert result.error is None, result.error.to_dict()
        if kind == "s3":
            _download(connection, f"{prefix}/out/", root / "out")
        assert read(root) == [expected] * len(read(root)), f"{kind}, {mode}"


def _download(connection: dict[str, str], prefix: str, folder: Path) -> None:
    store = store_of(connection)
    for meta in [meta for page in obstore.list(store, prefix=prefix) for meta in page]:
        path = folder / meta["path"].removeprefix(prefix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(obstore.get(store, meta["path"]).bytes()))
