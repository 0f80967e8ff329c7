"""The tools beside Dativo, each at its best settings: `tools.py` has what they run."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from .data import Dataset
from .measure import Command

FAST = {"DuckDB": "duckdb", "Polars": "polars", "DataFusion": "datafusion", "pyarrow": "pyarrow"}
FOR_SCALE = {"pandas (its pyarrow engine)": "pandas", "dlt": "dlt", "Python's csv": "csv", "rows as JSON text": "json"}


def copy(label: str, tool: str, source: Dataset, out: Path, codec: str) -> Command:
    """CSV to Parquet."""
    target = out / (tool if tool in ("dlt", "datafusion") else f"{tool}.parquet")
    return _command(label, tool, "copy", _read_task(source) | {"out": str(target), "codec": codec}, target)


def read(label: str, tool: str, source: Dataset) -> Command:
    """CSV to Arrow in Python."""
    return _command(label, tool, "read", _read_task(source), None)


def write(label: str, tool: str, arrow: Path, out: Path, codec: str) -> Command:
    """Arrow in Python to Parquet."""
    target = out / (tool if tool == "datafusion" else f"{tool}.parquet")
    return _command(label, tool, "write", {"arrow": str(arrow), "out": str(target), "codec": codec}, target)


def packages() -> list[str]:
    """The distributions that are measured."""
    return [*FAST.values(), "pandas", "dlt"]


def _read_task(source: Dataset) -> dict[str, object]:
    files = [str(file) for file in source.files]
    return {"files": files, "glob": source.glob, "types": source.types, "newlines": source.newlines}


def _command(label: str, tool: str, task: str, details: dict[str, object], output: Path | None) -> Command:
    def clear() -> None:
        if output is not None and output.is_dir():
            shutil.rmtree(output)
        elif output is not None:
            output.unlink(missing_ok=True)

    argv = [sys.executable, "-m", "benchmarks.tools", tool, task]
    return Command(label, argv, clear, output, argument=json.dumps(details))
