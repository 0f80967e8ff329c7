"""Runs a project's job once for each of its I/O calls, that call failing; then once more, unhindered. Prints JSON lines.

failing_io.py PROJECT ERRNO [EVERY]: EVERY-th call alone, 1 by default. Expects failing_io.c to be preloaded.
"""

from __future__ import annotations

import ctypes
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds

from dativo_assets.config import load_project
from dativo_assets.pipeline import RunResult, RunSettings, run
from dativo_assets.plan import bind

SHIM = ctypes.CDLL(None)
SHIM.io_hit.restype = ctypes.c_char_p


def once(root: Path, fails: int = 0, code: int = 0) -> RunResult:
    project = load_project(root)
    job = bind(project.jobs["job"], project)
    SHIM.io_arm(str(root).encode(), fails, code)
    try:
        return run(job, RunSettings(workers=1, retries=False))
    finally:
        SHIM.io_arm(b"", 0, 0)


def ids(root: Path) -> list[int]:
    files = sorted(str(path) for path in (root / "out").resolve().glob("**/*.parquet"))
    return sorted(ds.dataset(files, format="parquet").to_table(["id"])["id"].to_pylist()) if files else []


def staged(root: Path) -> list[str]:
    return sorted(path.name for path in root.glob(".out.staging/*"))


def outcome(template: Path, number: int, code: int) -> dict[str, Any] | None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "p")
        shutil.copytree(template, root, symlinks=True)
        result = once(root, number, code)
        hit = SHIM.io_hit().decode()
        if not hit:
            return None
        error = result.error.to_dict() if result.error else None
        told = {"call": hit, "status": result.status, "error": error, "ids": ids(root), "staged": staged(root)}
        after = once(root)
        return {**told, "then": {"status": after.status, "ids": ids(root), "staged": staged(root)}}


def main(template: str, code: str, every: str = "1") -> None:
    number = 1
    while (told := outcome(Path(template), number, int(code))) is not None:
        print(json.dumps(told), flush=True)
        number += int(every)


if __name__ == "__main__":
    main(*sys.argv[1:])
