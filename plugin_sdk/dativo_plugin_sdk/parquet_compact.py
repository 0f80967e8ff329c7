"""Small Parquet files joined to larger ones, their rows in the order they were."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from .arrow import pyarrow
from .parquet_copy import Sink, conformed, write_table
from .posix import fsync


def small_files(folder: Path, files: Iterable[str], size_bytes: int) -> dict[str, list[str]]:
    """{partition: files of less than half that size}, where it has more than one. folder: the version that they are in."""
    found: dict[str, list[str]] = {}
    for path in files:
        if os.stat(path).st_size < size_bytes // 2:
            partition = Path(*Path(path).relative_to(folder).parts[1:]).parent
            found.setdefault(str(partition), []).append(path)
    return {partition: paths for partition, paths in found.items() if len(paths) > 1}


def join_files(
    paths: Sequence[str],
    folder: Path,
    partition: str,
    open_file: Callable[[str, Any], Sink],
    size_bytes: int,
    check: Callable[[], None],
) -> list[str]:
    """Write the rows of files to new ones of about that size in a partition of `folder`. Returns their names in it."""
    import pyarrow.parquet as pq

    schema = _joined_schema(paths)
    names: list[str] = []
    sink: Sink | None = None
    written = 0
    (folder / partition).mkdir(parents=True, exist_ok=True)
    try:
        for path in paths:
            size = os.stat(path).st_size
            if sink is not None and written and written + size > size_bytes:
                _finish(sink, folder / names[-1])
                sink, written = None, 0
            if sink is None:
                names.append(os.path.normpath(os.path.join(partition, f"part-joined-{len(names):04d}.parquet")))
                sink = open_file(str(folder / names[-1]), schema)
            written += size
            with pq.ParquetFile(path, memory_map=True) as file:
                for group in range(file.num_row_groups):
                    check()
                    write_table(sink, conformed(file.read_row_group(group, use_threads=False), schema, path))
        if sink is not None:
            _finish(sink, folder / names[-1])
    except BaseException:
        if sink is not None:
            sink.abort()
        raise
    return names


def _finish(sink: Sink, path: Path) -> None:
    sink.finish()
    fsync(path)


def _joined_schema(paths: Sequence[str]) -> Any:
    """The newest file's columns, and those that only older ones have."""
    import pyarrow.parquet as pq

    pa = pyarrow()
    fields: dict[str, Any] = {}
    for path in reversed(paths):
        for item in pq.read_schema(path):
            fields.setdefault(item.name, item)
    return pa.schema(list(fields.values()))
