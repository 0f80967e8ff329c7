"""What one more commit costs a directory table that has many: `python -m benchmarks --only commits`."""

from __future__ import annotations

import json
import sys
import time
import uuid
from pathlib import Path

import pyarrow as pa
from dativo_plugin_sdk import AssetDefinition, Commit, TargetConfig, WriteRequest, WriteTask
from dativo_plugin_sdk.commit_log import CHUNK, CommitLog

from dativo_assets.writers.parquet import ParquetWriter

SIZES = (1, 100, 1_000, 10_000)
_ROWS = pa.record_batch({"id": pa.array([1, 2, 3], pa.int64()), "name": ["a", "b", "c"]})


def measure(folder: Path, rounds: int) -> dict[int, list[float]]:
    """Seconds from opening a writer to the end of its commit of three rows, by the number of commits before it. In a round
    each table gets one commit, in turn.
    """
    tables = {size: folder / f"commits_{size}" for size in SIZES}
    for size, table in tables.items():
        _fill(table, size - 1)
    out: dict[int, list[float]] = {size: [] for size in SIZES}
    for number in range(rounds + 1):
        for size, table in tables.items():
            start = time.perf_counter()
            _commit(table)
            if number:  # the first warms the caches
                out[size].append(time.perf_counter() - start)
    return out


def _fill(table: Path, commits: int) -> None:
    """A table of as many commits, made without the wait for the disk."""
    if not commits:
        return
    _commit(table)
    first = (table / "1" / "_commit.json").read_text()
    data = (table / "1" / "part-0000-0000.parquet").read_bytes()
    for seq in range(2, commits + 1):
        home = table / str(seq)
        home.mkdir()
        record = Commit.model_validate_json(first).model_copy(update={"seq": seq, "run_id": uuid.uuid4().hex})
        (home / "_commit.json").write_text(record.model_dump_json(indent=1))
        (home / "part-0000-0000.parquet").write_bytes(data)
        if seq % CHUNK == 0:
            CommitLog(table).write_chunk(seq, seq)


def _commit(table: Path) -> None:
    """What a run does with its writer."""
    run_id = uuid.uuid4().hex
    config = TargetConfig(job="t", root=str(table.parent), path=table.name, writer="parquet")
    writer = ParquetWriter(AssetDefinition(name="t"), config)
    assert writer.commit_of(run_id) is None
    base = writer.last_commit()
    seq = 0 if base is None else base.seq
    writer.open(WriteRequest("t", run_id, seq))
    split = writer.writer(WriteTask(0, schema=_ROWS.schema))
    split.write(_ROWS)
    done = list(split.finish())
    record = Commit(job="t", seq=seq + 1, run_id=run_id, rows_written=3, bytes_written=sum(item.bytes for item in done))
    assert writer.summary(writer.commit(done, record)) is not None
    writer.close()


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]))))
