"""Changed rows into a large table: `python -m benchmarks --only merge`.

DuckDB merges into a table of its own file, by MERGE INTO; Dativo's writer into Parquet files. Both read the changed rows from
the same Parquet file, begin each round with the same table, and end with all of it on the disk; imports are left out.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from .jobs import NATIVE, Project, executable
from .measure import Command

SPREADS = {"side by side": "i + {rows} // 2", "all over the table": "i * ({rows} // {changed})"}
_PYTHON_WRITER = ("dativo_assets.writers.parquet", "ParquetWriter")
_ROWS = """
SELECT {key} AS id, 'name ' || {key} AS name, ({key} * 7919 % 1000003) / 100.0 AS amount,
  ['books', 'garden', 'music', 'sports'][1 + {key} % 4] AS category, {key} % 3 = 0 AS active,
  TIMESTAMP '2013-01-01' + to_seconds({key} + {later}) AS updated_at
FROM range({count}) AS t(i)
"""
_PEER = """
import json, sys, time
import duckdb
database, changes = json.loads(sys.argv[1])
start = time.perf_counter()
with duckdb.connect(database) as table:
    table.execute(f"MERGE INTO t USING (SELECT * FROM '{changes}') AS n ON t.id = n.id "
        "WHEN MATCHED AND n.updated_at >= t.updated_at THEN UPDATE WHEN NOT MATCHED THEN INSERT")
print(json.dumps({"seconds": time.perf_counter() - start}))
"""
_OURS = """
import json, sys, time
import pyarrow.compute, pyarrow.parquet as pq
from dativo_plugin_sdk import AssetDefinition, Commit, TargetConfig, WriteRequest, WriteTask
module, name, root, changes = json.loads(sys.argv[1])
plugin = getattr(__import__(module, fromlist=[name]), name)
plugin.Options  # loads their module
start = time.perf_counter()
config = TargetConfig(job="merge", root=root, path="warehouse/merge", writer="parquet", mode="merge", keys=("id",))
writer = plugin(AssetDefinition(name="merge"), config)
base = writer.last_commit()
request = WriteRequest("merge", "run", base.seq, mode="merge", parallelism=2, memory_bytes=128 << 20, cursor_field="updated_at")
writer.open(request)
with pq.ParquetFile(changes, pre_buffer=False) as file:
    split = writer.writer(WriteTask(0, schema=file.schema_arrow))
    for batch in file.iter_batches(use_threads=False):  # as the reader does
        split.write(batch)
    del batch
done = list(split.finish())
rows = sum(item.rows for item in done)
writer.commit(done, Commit(job="merge", seq=base.seq + 1, run_id="run", mode="merge", rows_read=rows, rows_written=rows))
writer.close()
print(json.dumps({"seconds": time.perf_counter() - start}))
"""


class MergeTask:
    """A table of `rows` rows in both forms, and `changed` newer ones for it."""

    def __init__(self, project: Project, folder: Path, rows: int, changed: int, spread: str) -> None:
        self._project = project
        self._folder = folder / "merge"
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        self._changes = self._folder / "changes.parquet"
        key = SPREADS[spread].format(rows=rows, changed=changed)
        base = _ROWS.format(key="i", later=0, count=rows)
        changes = _ROWS.format(key=f"({key})", later=rows, count=changed)
        script = (
            "import sys, json, duckdb\n"
            "database, base, changes, out, start = json.loads(sys.argv[1])\n"
            "with duckdb.connect(database) as c:\n"
            "    c.execute(f'CREATE TABLE t AS {base}')\n"
            "    c.execute(f\"COPY t TO '{start}' (FORMAT parquet)\")\n"
            "    c.execute(f\"COPY ({changes}) TO '{out}' (FORMAT parquet)\")\n"
        )
        whole = self._folder / "base.parquet"
        argument = json.dumps([str(self._folder / "t.duckdb"), base, changes, str(self._changes), str(whole)])
        subprocess.run([sys.executable, "-c", script, argument], check=True)
        self._job(whole)
        subprocess.run([str(executable()), "run", "merge"], cwd=project.root, check=True, capture_output=True)
        self._warehouse.rename(self._folder / "warehouse")
        self._job(self._changes)

    @property
    def _warehouse(self) -> Path:
        return self._project.root / "warehouse"

    def _job(self, source: Path) -> None:
        writer = "rust_parquet" if NATIVE else "parquet"
        (self._project.root / "jobs" / "merge.yaml").write_text(
            f"source:\n  reader: parquet\n  files: ['{source}']\n"
            "  incremental: {strategy: updated_at, cursor_field: updated_at}\n"
            f"target: {{writer: {writer}, path: warehouse/merge, mode: merge, keys: [id]}}\n"
        )

    def commands(self, ours: str, peer: str) -> list[Command]:
        database = self._folder / "round.duckdb"

        def our_table() -> None:
            shutil.rmtree(self._warehouse, ignore_errors=True)
            shutil.copytree(self._folder / "warehouse", self._warehouse, symlinks=True)

        def their_table() -> None:
            shutil.copyfile(self._folder / "t.duckdb", database)

        plugin = ("dativo_rust_parquet", "RustParquetWriter") if NATIVE else _PYTHON_WRITER
        argument = json.dumps([*plugin, str(self._project.root), str(self._changes)])
        theirs = json.dumps([str(database), str(self._changes)])
        table = self._warehouse / "merge"
        return [
            Command(ours, [sys.executable, "-c", _OURS], our_table, table, argument=argument),
            Command(peer, [sys.executable, "-c", _PEER], their_table, database, argument=theirs),
        ]

    def remove(self) -> None:
        shutil.rmtree(self._folder)
        shutil.rmtree(self._warehouse)
