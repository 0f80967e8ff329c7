"""Parquet files written anew: with a few rows less, or in another schema."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from .arrow import pyarrow
from .errors import ValidationError


class Sink(Protocol):
    """A file being written. It may have `take_group`, as NativeSink."""

    def write(self, batch: Any) -> None: ...
    def finish(self) -> dict[str, Any]: ...
    def abort(self) -> None: ...


def copy_without(
    file: Any, path: str, gone: Sequence[int], added: Any, sink: Sink, check: Callable[[], None]
) -> list[Any]:
    """Write a Parquet file's row groups without the rows at `gone`, ascending. Returns: those of `added` that come after them.

    Where each of `added` replaces that one of `gone`, a sink that can puts it into its place and copies what does not change.
    """
    replaces = len(gone) == added.num_rows
    take_group: Any = getattr(sink, "take_group", None)
    late = [] if replaces else [added]
    first = start = 0
    for group in range(file.num_row_groups):
        check()
        size = file.metadata.row_group(group).num_rows
        end = bisect_left(gone, first + size, start)
        places = [place - first for place in gone[start:end]]
        rows = added.slice(start, len(places)) if replaces else added.slice(0, 0)
        may_take = take_group is not None and rows.num_rows == len(places)
        if not (may_take and take_group(path, group, places, _batch(rows))):
            part = file.read_row_group(group, use_threads=False)
            if places:
                part = part.filter(kept(size, places))
            write_table(sink, conformed(part, added.schema, path))
            late.append(rows)
        first, start = first + size, end
    return late


def conformed(rows: Any, schema: Any, path: str) -> Any:
    """Rows in another schema: columns that they lack are null."""
    pa = pyarrow()
    if rows.schema.equals(schema):
        return rows
    columns = []
    for item in schema:
        if item.name not in rows.schema.names:
            columns.append(pa.nulls(rows.num_rows, item.type))
            continue
        column = rows.column(item.name)
        try:
            columns.append(column if column.type.equals(item.type) else column.cast(item.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise ValidationError(
                f"column {item.name} of {path} is {column.type} and does not fit {item.type}: {error}",
                details={"file": path, "column": item.name},
                hint="load the table anew: dativo run --full-refresh",
            ) from error
    return pa.Table.from_arrays(columns, schema=schema)


def write_table(sink: Sink, table: Any) -> None:
    for batch in table.to_batches():
        if batch.num_rows:
            sink.write(batch)


def kept(size: int, gone: Sequence[int]) -> Any:
    """Which of `size` rows stay, as booleans."""
    pa = pyarrow()
    bits = bytearray(b"\xff" * ((size + 7) // 8))
    for row in gone:
        bits[row >> 3] &= ~(1 << (row & 7))
    return pa.Array.from_buffers(pa.bool_(), size, [None, pa.py_buffer(bits)])


def _batch(rows: Any) -> Any:
    """A table as one batch."""
    pa = pyarrow()
    batches = rows.combine_chunks().to_batches()
    if batches:
        return batches[0]
    return pa.RecordBatch.from_arrays([pa.nulls(0, item.type) for item in rows.schema], schema=rows.schema)
