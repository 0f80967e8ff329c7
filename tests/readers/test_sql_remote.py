"""Derived jobs over tables in an object store: the reader gets the connection of the job that wrote them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.s3 import SECRET, s3_server


@pytest.fixture(scope="module")
def connection() -> Iterator[dict[str, str]]:
    with s3_server() as found:
        yield found


def run(root: Path, *arguments: str) -> Any:
    command = [str(Path(sys.executable).with_name("dativo")), "run", *arguments, "--json"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert SECRET not in done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("writer", ["parquet", "delta"])
def test_a_query_reads_committed_files_of_a_bucket(connection: dict[str, str], tmp_path: Path, writer: str) -> None:
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    (tmp_path / "dativo.yaml").write_text(f"connections:\n  lake: {json.dumps(connection)}\n")
    (jobs / "orders.yaml").write_text(
        "source: {reader: csv, files: [orders.csv]}\n"
        f"target: {{writer: {writer}, path: 's3://lake/{writer}/orders', connection: lake, mode: append}}\n"
    )
    (jobs / "totals.yaml").write_text(
        "source: {reader: sql, query: 'select city, sum(amount) as total, count(note) as notes from orders group by all'}\n"
        "target: {writer: parquet, path: out, mode: overwrite}\n"
    )
    (tmp_path / "orders.csv").write_text("city,amount,note\nOslo,1,a\nRome,2,b\n")
    assert [result["status"] for result in run(tmp_path)] == ["succeeded", "succeeded"]
    (tmp_path / "orders.csv").write_text("city,amount,note\nOslo,10,\nOslo,100,c\n")
    assert [result["status"] for result in run(tmp_path)] == ["succeeded", "succeeded"]
    found = (
        pq.read_table(next((tmp_path / "out").glob("2/*.parquet")))
        .sort_by("city")
        .select(["city", "total", "notes"])
        .to_pylist()
    )
    assert [tuple(row.values()) for row in found] == [("Oslo", 111, 2), ("Rome", 2, 1)]
