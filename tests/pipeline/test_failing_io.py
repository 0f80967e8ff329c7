"""Every single I/O call of a run fails in turn: a typed error or success, one version visible, nothing left, no row twice."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import Workbench

HERE = Path(__file__).parent
JOB = """
    source: {{reader: {reader}, files: [in/*.csv]{incremental}}}
    target: {{writer: {writer}, path: out, mode: {mode}}}
    schema: [{{name: id, type: int64, required: true}}, {{name: text, type: string}}]
    on_violation: quarantine
"""
TOLD = {"EIO": "IO_ERROR", "ENOSPC": "DISK_FULL", "EACCES": "PERMISSION_DENIED"}
BEFORE, AFTER = [1, 2], [1, 2, 3, 4]


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("shim") / "failing_io.so"
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["cc", *flags, "-o", library, HERE / "failing_io.c", "-ldl"], check=True)
    return library


def outcomes(bench: Workbench, shim: Path, code: int) -> list[dict[str, Any]]:
    """What came of each run with one failing call; see failing_io.py."""
    command = [sys.executable, str(HERE / "failing_io.py"), str(bench.root), str(code)]
    environment = {**os.environ, "LD_PRELOAD": str(shim)}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("reader", "writer", "mode", "code"),
    [
        ("rust_csv", "rust_parquet", "append", "EIO"),
        ("rust_csv", "rust_parquet", "append", "ENOSPC"),
        ("rust_csv", "rust_parquet", "append", "EACCES"),
        ("rust_csv", "rust_parquet", "overwrite", "EIO"),
        ("csv", "parquet", "append", "EIO"),
        ("csv", "parquet", "append", "ENOSPC"),
        ("csv", "parquet", "append", "EACCES"),
    ],
)
def test_a_run_survives_the_failure_of_any_call(
    bench: Workbench, shim: Path, reader: str, writer: str, mode: str, code: str
) -> None:
    incremental = ", incremental: {strategy: file_modified_time}" if mode == "append" else ""
    bench.job(JOB.format(reader=reader, writer=writer, mode=mode, incremental=incremental))
    first = bench.write("in/a.csv", "id,text\n1,a\n2,b\n")
    os.utime(first, (1_600_000_000, 1_600_000_000))
    bench.ok()
    bench.write("in/b.csv", "id,text\n3,c\n,nobody\n4,d\n")

    found = outcomes(bench, shim, getattr(errno, code))
    calls = {outcome["call"].split()[0] for outcome in found}
    assert {"open64", "write", "fsync", "mkdir"} <= calls and len(found) > 15
    assert ("read" in calls) == (code != "ENOSPC")
    for outcome in found:
        if outcome["status"] == "failed":
            error = outcome["error"]
            assert error["hint"] and "Traceback" not in error["message"], outcome
            assert error["error_code"] == TOLD[code], outcome
            assert re.search(r"/p\b", error["message"] + str(error["details"].get("file"))), outcome
            assert outcome["ids"] == BEFORE, outcome
        else:
            # An overwrite that is committed and not published yet is rolled forward by whoever looks next.
            assert outcome["ids"] == AFTER or (mode == "overwrite" and outcome["ids"] == BEFORE), outcome
        # A folder that can't be opened to remove it stays until a run has something to write.
        kept = outcome["staged"] if outcome["status"] == "succeeded" and " /.out.staging" in outcome["call"] else []
        assert outcome["staged"] == kept, outcome
        then = outcome["then"]
        assert then["ids"] == AFTER, outcome
        assert then["staged"] == (kept if then["status"] == "unchanged" else []), outcome
        done = outcome["status"] == "succeeded" and mode == "append"
        assert then["status"] == ("unchanged" if done else "succeeded"), outcome


def test_a_read_that_fails_says_at_which_byte_and_row(bench: Workbench, shim: Path) -> None:
    bench.job(JOB.format(reader="rust_csv", writer="rust_parquet", mode="append", incremental=""))
    bench.write("in/a.csv", "id,text\n" + "".join(f"{row},{'x' * 70}\n" for row in range(60_000)))
    read = [outcome for outcome in outcomes(bench, shim, errno.EIO) if outcome["call"].startswith("read /in/a.csv")]
    details = [outcome["error"]["details"] for outcome in read]
    places = [(place.get("byte", 0), place["row"]) for place in details if place["stage"] == "read"]
    assert places == sorted(places) and places[-1][0] > 4_000_000 and places[-1][1] > 50_000
