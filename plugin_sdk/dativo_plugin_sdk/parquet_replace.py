"""A Parquet file without the rows of some partitions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .directory_writer import FileSink
from .partition_rows import PartitionSelection


def without(
    path: str, replaces: PartitionSelection, target: Path, open_file: Callable[[str, Any], FileSink]
) -> int | None:
    """Write the rows of a file that are in none of the partitions to `target`; nothing where there are none.

    Returns: how many rows are in them; None where the file has none, and stays as it is.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, memory_map=True) as file:
        columns = list(dict.fromkeys(part.column for part in replaces.ranges))
        missing = [name for name in columns if name not in file.schema_arrow.names]
        if missing:  # it was written before the column was there: its rows have no place
            return None
        gone = 0
        for group in range(file.num_row_groups):
            mask = replaces.mask(file.read_row_group(group, columns=columns, use_threads=False))
            gone += pc.sum(mask).as_py() or 0
        if gone == 0:
            return None
        if gone == file.metadata.num_rows:
            return gone
        target.parent.mkdir(parents=True, exist_ok=True)
        sink = open_file(str(target), file.schema_arrow)
        try:
            for group in range(file.num_row_groups):
                part = file.read_row_group(group, use_threads=False)
                for batch in part.filter(pc.invert(replaces.mask(part))).to_batches():
                    if batch.num_rows:
                        sink.write(batch)
            sink.finish()
        except BaseException:
            sink.abort()
            raise
    return gone
