"""`cat file | dativo run job`: what is piped in is a file named `-`."""

from __future__ import annotations

import gzip
import json
import subprocess
from typing import Any

import pytest

from .conftest import DATIVO, Folder

WIDENS = "a,b\n1,x\n" + "".join(f"{number},y\n" for number in range(50_000)) + "1.5,z\n"


def pipe(folder: Folder, data: bytes, source: str) -> tuple[int, Any, str]:
    folder.write("jobs/piped.yaml", f"source: {{{source}}}\ntarget: {{writer: parquet, path: warehouse/piped}}\n")
    command = [str(DATIVO), "run", "piped", "--json"]
    done = subprocess.run(
        command, cwd=folder.root, env=folder.environment(), input=data, capture_output=True, check=False
    )
    return done.returncode, json.loads(done.stdout), done.stderr.decode()


@pytest.mark.parametrize("name", ["csv", "rust_csv"])
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_all_that_is_piped_in_lands(folder: Folder, name: str, compression: str) -> None:
    text = WIDENS.encode()
    data = gzip.compress(text) if compression == "gzip" else text
    options = f"{{compression: {compression}, infer_rows: 10}}"
    code, results, _ = pipe(folder, data, f'reader: {name}, files: ["-"], options: {options}')
    assert code == 0
    assert results[0]["rows_written"] == 50_002
    assert folder.table("piped")["a"].max() == 49_999
    assert 1.5 in folder.table("piped")["a"].to_list()


def test_nothing_piped_in_is_told(folder: Folder) -> None:
    code, _, errors = pipe(folder, b"", 'reader: csv, files: ["-"]')
    assert code != 0
    assert "is empty" in errors


def test_what_is_piped_in_is_not_read_incrementally(folder: Folder) -> None:
    code, _, errors = pipe(folder, b"a\n1\n", 'reader: csv, files: ["-"], incremental: {strategy: file}')
    assert code != 0
    assert "can't be read incrementally" in errors
