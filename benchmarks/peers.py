"""The same task for each tool: one CSV file to Parquet, zstd level 1, types given, all threads.

Each is told the types, so that none spends time on guessing them; Dativo's plain job is not.
"""

from __future__ import annotations

import sys
from pathlib import Path

from .measure import Command

_DUCKDB = """
import duckdb, sys
types = {"id": "BIGINT", "name": "VARCHAR", "email": "VARCHAR", "category": "VARCHAR", "amount": "DOUBLE",
         "quantity": "BIGINT", "active": "BOOLEAN", "created_at": "TIMESTAMP"}
connection = duckdb.connect(config={"preserve_insertion_order": False})
connection.execute(f"COPY (FROM read_csv('{sys.argv[1]}', header = true, auto_detect = false, columns = {types})) "
                   f"TO '{sys.argv[2]}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)")
"""
_POLARS = """
import polars as pl, sys
types = {"id": pl.Int64, "name": pl.String, "email": pl.String, "category": pl.String, "amount": pl.Float64,
         "quantity": pl.Int64, "active": pl.Boolean, "created_at": pl.Datetime("us")}
pl.scan_csv(sys.argv[1], schema=types).sink_parquet(sys.argv[2], compression="zstd", compression_level=1)
"""
_PYARROW = """
import sys
import pyarrow as pa, pyarrow.csv as csv, pyarrow.parquet as pq
types = {"id": pa.int64(), "name": pa.string(), "email": pa.string(), "category": pa.string(), "amount": pa.float64(),
         "quantity": pa.int64(), "active": pa.bool_(), "created_at": pa.timestamp("us")}
table = csv.read_csv(sys.argv[1], csv.ReadOptions(block_size=8 << 20), convert_options=csv.ConvertOptions(column_types=types))
pq.write_table(table, sys.argv[2], compression="zstd", compression_level=1, row_group_size=131_072)
"""
_SCRIPTS = {"DuckDB": ("duckdb", _DUCKDB), "Polars": ("polars", _POLARS), "pyarrow": ("pyarrow", _PYARROW)}


def commands(source: Path, out: Path) -> list[Command]:
    """A command for each peer."""
    found = []
    for label, (_, script) in _SCRIPTS.items():
        target = out / f"{label.lower()}.parquet"
        found.append(Command(label, [sys.executable, "-c", script, str(source), str(target)], output=target))
    return found


def packages() -> list[str]:
    """The distributions that are measured."""
    return [name for name, _ in _SCRIPTS.values()]
