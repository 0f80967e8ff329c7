"""Parquet files of a lake's table: written by workers in parallel, known to nobody until the commit names them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from dativo_plugin_sdk import Committable, MergeOptions, SplitWriter, ValidationError
from pydantic import Field

from ._lake_table import LakeFile, LakeStore, Layout, batch_of

_MAX_OPEN = 64
_GROUP_ROWS = 1 << 20


class LakeOptions(MergeOptions):
    """What every lake takes."""

    target_file_bytes: int = Field(256 << 20, ge=1, description="a file ends once it is about this large")
    overwrite: Literal["table", "partitions"] = Field(
        "table", description="overwrite: the whole table, or only those partitions that new rows are in"
    )
    compression: Literal["zstd", "snappy", "lz4", "gzip", "none"] = Field("zstd", description="codec of the pages")
    row_group_bytes: int = Field(64 << 20, ge=1, description="in-memory bytes at which a row group ends")


class PartFiles:
    """Files of one layout: one open at a time for each partition. Used by one thread.

    names: makes the next file's path and notes it, so that what a dead run left can be found.
    """

    def __init__(
        self, store: LakeStore, layout: Layout, names: Callable[[], str], options: LakeOptions, budget_bytes: int
    ) -> None:
        self._store, self._layout, self._names, self._options = store, layout, names, options
        self._budget_bytes = budget_bytes
        self._open: dict[tuple[Any, ...], _Part] = {}
        self.done: list[LakeFile] = []

    def write(self, batch: pa.RecordBatch) -> None:
        """Take rows, which go to the files of their partitions."""
        batch = batch_of(batch, self._layout.schema)
        for partition, rows in partitions(batch, self._layout):
            self.write_to(partition, rows)

    def write_to(self, partition: tuple[Any, ...], batch: pa.RecordBatch) -> None:
        """Take rows of one partition, in the layout's schema."""
        if not batch.num_rows:
            return
        part = self._open.get(partition)
        if part is None:
            if len(self._open) >= _MAX_OPEN:
                self._close(next(iter(self._open)))
            part = self._open[partition] = _Part(self._store, self._names(), self._layout.schema, self._options)
        part.write(batch)
        while sum(open_.held_bytes for open_ in self._open.values()) > self._budget_bytes:
            max(self._open.values(), key=lambda open_: open_.held_bytes).flush()
        if part.bytes_written >= self._options.target_file_bytes:
            self._close(partition)

    def _close(self, partition: tuple[Any, ...]) -> None:
        part = self._open.pop(partition)
        size = part.finish()
        self.done.append(LakeFile(part.path, partition, part.rows, size))

    def finish(self) -> list[LakeFile]:
        """Close all of them. Returns: every file written."""
        for partition in list(self._open):
            self._close(partition)
        return self.done

    def abort(self) -> None:
        """Close what is open; whoever knows the files' names removes them."""
        while self._open:
            self._open.popitem()[1].abort()


class _Part:
    """One open Parquet file. Holds the rows of at most one row group."""

    def __init__(self, store: LakeStore, path: str, schema: pa.Schema, options: LakeOptions) -> None:
        self.path, self.rows, self.held_bytes = path, 0, 0
        self._store, self._schema = store, schema
        self._group_bytes = options.row_group_bytes
        self._held: list[pa.RecordBatch] = []
        self._held_rows = 0
        with store.errors():
            self._stream = store.output(path)
            self._writer = pq.ParquetWriter(self._stream, schema, compression=options.compression)

    @property
    def bytes_written(self) -> int:
        return int(self._stream.tell())

    def write(self, batch: pa.RecordBatch) -> None:
        self._held.append(batch)
        self._held_rows += batch.num_rows
        self.held_bytes += batch.nbytes
        if self.held_bytes >= self._group_bytes or self._held_rows >= _GROUP_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what is held as a row group."""
        if self._held:
            with self._store.errors():
                self._writer.write_table(
                    pa.Table.from_batches(self._held, self._schema), row_group_size=self._held_rows
                )
        self.rows += self._held_rows
        self._held, self._held_rows, self.held_bytes = [], 0, 0

    def finish(self) -> int:
        """Make it durable. Returns: its size in bytes."""
        self.flush()
        with self._store.errors():
            self._writer.close()
            size = int(self._stream.tell())
            self._stream.close()
            self._store.settle(self.path)
        return size

    def abort(self) -> None:
        self._held = []
        self._writer.is_open = False  # or it would write a footer when it is dropped, to a stream that is closed
        with suppress(Exception):
            self._stream.close()


class StagedFiles(SplitWriter):
    """One worker's files, told to the commit by one committable. constants: columns that every row gets."""

    def __init__(
        self, files: PartFiles, kind: Literal["data", "quarantine"], layout: Layout, constants: dict[str, Any]
    ) -> None:
        self._files, self._kind, self._layout, self._constants = files, kind, layout, constants

    def write(self, batch: Any) -> None:
        batch = pa.record_batch(batch)
        for name, value in self._constants.items():
            batch = batch.append_column(name, pa.repeat(value, batch.num_rows))
        self._files.write(batch)

    def finish(self) -> Sequence[Committable]:
        files = self._files.finish()
        return [
            Committable(
                kind=self._kind,
                rows=sum(file.rows for file in files),
                bytes=sum(file.bytes for file in files),
                payload={
                    "schema": base64.b64encode(self._layout.schema.serialize()).decode(),
                    "files": [[file.path, list(file.partition), file.rows, file.bytes] for file in files],
                },
            )
        ]

    def abort(self) -> None:
        self._files.abort()


def staged_files(staged: Sequence[Committable]) -> list[LakeFile]:
    """The files that workers told of."""
    told = (file for item in staged for file in item.payload["files"])
    return [LakeFile(path, tuple(partition), rows, size) for path, partition, rows, size in told]


def reread_files(store: LakeStore, item: Committable, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Some columns of the rows in the files that a worker told of."""
    for file in staged_files([item]):
        with store.errors(), store.input(file.path) as stream, pq.ParquetFile(stream) as parquet:
            yield from parquet.iter_batches(columns=list(columns), use_threads=False)


def staged_columns(staged: Sequence[Committable]) -> pa.Schema:
    """The schema of the files that workers told of."""
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(staged[0].payload["schema"])))


def partitions(batch: pa.RecordBatch, layout: Layout) -> Iterator[tuple[tuple[Any, ...], pa.RecordBatch]]:
    """(partition values, rows) of a batch, in the order of the first row of each."""
    if not layout.parts or not batch.num_rows:
        yield (), batch
        return
    codes = np.zeros(batch.num_rows, np.int64)
    encoded = []
    for name, values in layout.parts:
        found = values(batch.column(batch.schema.get_field_index(name)))
        found = found.dictionary_encode(null_encoding="encode")
        encoded.append(found)
        codes = codes * len(found.dictionary) + found.indices.to_numpy(zero_copy_only=False)
        codes = np.unique(codes, return_inverse=True)[1]
    order = np.argsort(codes, kind="stable")
    bounds = [0, *(np.flatnonzero(np.diff(codes[order])) + 1).tolist(), batch.num_rows]
    taken = batch.take(pa.array(order)) if len(bounds) > 2 else batch
    for start, end in pairwise(bounds):
        row = int(order[start])
        yield tuple(as_json(array[row].as_py()) for array in encoded), taken.slice(start, end - start)


def as_json(value: Any) -> Any:
    """A partition value as JSON."""
    if isinstance(value, float) and value != value:
        raise ValidationError("a partition column holds NaN", hint="partition by another column")
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
