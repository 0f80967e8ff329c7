"""A merge by key, copy on write: files that hold a row which is replaced are written anew without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from dativo_plugin_sdk.records import duplicates, null_keys

from ._lake_files import PartFiles
from ._lake_table import LakeFile, LakeStore, LakeTable, batch_of

ORDER = "_dativo_row"
_KEY_ROWS = 1 << 20
_ROWS = 1 << 16


def read_file(
    store: LakeStore, table: LakeTable, file: LakeFile, schema: pa.Schema, rows: int = _ROWS
) -> Iterator[pa.RecordBatch]:
    """A file's rows as the table's columns in `schema`, in the file's order."""
    with store.errors(), store.input(file.path) as stream, pq.ParquetFile(stream) as parquet:
        there = parquet.schema_arrow
        names = table.names(there)
        wanted = [there.names[at] for at, name in enumerate(names) if name in schema.names]
        renamed = [name for name in names if name in schema.names]
        constants = {name: value for name, value in table.constants(file).items() if name in schema.names}
        count = parquet.metadata.num_rows
        batches: Any = parquet.iter_batches(rows, columns=wanted) if wanted else _empty(count, rows)
        for batch in batches:
            if wanted:
                batch = batch.select(wanted).rename_columns(renamed)
            for name, value in constants.items():
                if name not in renamed:
                    batch = batch.append_column(name, pa.repeat(value, batch.num_rows))
            yield batch_of(batch, schema)


def _empty(count: int, rows: int) -> Iterator[pa.RecordBatch]:
    for start in range(0, count, rows):
        yield pa.RecordBatch.from_struct_array(pa.array([{}] * min(rows, count - start), pa.struct([])))


@dataclass(frozen=True)
class NewRows:
    """What a merge brings. read: the rows in their order, numbered by the column ORDER, as often as it is called.

    unique: whether two rows of one key are an error.
    """

    read: Callable[[], Iterator[pa.RecordBatch]]
    keys: Sequence[str]
    cursor: str | None
    deletes: str | None
    unique: bool


@dataclass(frozen=True)
class Merged:
    """What a merge made of a table. superseded: new rows that another new row of their key replaced."""

    removed: tuple[LakeFile, ...]
    added: tuple[LakeFile, ...]
    superseded: int
    deleted: int


def merge(
    store: LakeStore,
    table: LakeTable | None,
    new: NewRows,
    *,
    kept: Callable[[], PartFiles],
    landing: PartFiles,
    columns: pa.Schema,
    everything: bool,
    threads: int,
) -> Merged:
    """Rows that stay are copied to files of `kept`, one call for each file that loses some; new ones go to `landing`.

    Of several rows of one key the one with the highest cursor counts, then the last; an older one than the table's stays
    out. columns: of rows that are kept. everything: whether each file has to be written anew.
    """
    rows = _Newest(new, columns)
    keys = pa.schema([columns.field(name) for name in rows.compared])

    def copied(file: LakeFile) -> list[LakeFile] | None:
        """The files that stand in for one that loses rows; None where it loses none."""
        dropped = [rows.replaced(batch) for batch in read_file(store, there, file, keys, _KEY_ROWS)]
        gone = np.concatenate(dropped) if dropped else np.zeros(0, bool)
        if not (gone.any() or everything):
            return None
        return [] if gone.all() else _copy(store, there, file, columns, gone, kept())

    removed: list[LakeFile] = []
    added: list[LakeFile] = []
    if table is not None:
        there = table
        files = there.files(None if everything else rows.ranges())
        with ThreadPoolExecutor(threads) as pool:
            for file, copies in zip(files, pool.map(copied, files), strict=True):
                if copies is not None:
                    removed.append(file)
                    added += copies
    for batch in new.read():
        landing.write(batch.filter(pa.array(rows.lands(batch.column(ORDER).to_numpy()))))
    return Merged(tuple(removed), (*added, *landing.finish()), rows.superseded, rows.deleted)


def _copy(
    store: LakeStore, table: LakeTable, file: LakeFile, columns: pa.Schema, gone: np.ndarray[Any, Any], kept: PartFiles
) -> list[LakeFile]:
    at = 0
    for batch in read_file(store, table, file, columns):
        stays = ~gone[at : at + batch.num_rows]
        at += batch.num_rows
        kept.write(batch if stays.all() else batch.filter(pa.array(stays)))
    return kept.finish()


class _Newest:
    """The newest new row of each key, found by key."""

    def __init__(self, new: NewRows, columns: pa.Schema) -> None:
        self._keys, self._cursor = list(new.keys), new.cursor
        self.compared = [*self._keys, *([self._cursor] if self._cursor and self._cursor not in self._keys else [])]
        fields = [columns.field(name) for name in self.compared]
        fields += [pa.field(ORDER, pa.int64())]
        fields += [pa.field(new.deletes, pa.bool_())] if new.deletes else []
        schema = pa.schema(fields)
        table = pa.Table.from_batches((batch_of(batch, schema) for batch in new.read()), schema).combine_chunks()
        self._check(table)
        newest = self._newest(table)
        self.superseded = table.num_rows - newest.num_rows
        if self.superseded and new.unique:
            raise duplicates(self.superseded, self._keys)
        self._table = newest
        self._lands = np.zeros(table.num_rows, bool)
        gone = np.zeros(newest.num_rows, bool)
        if new.deletes:
            gone = newest.column(new.deletes).fill_null(False).to_numpy()
        self.deleted = int(gone.sum())
        self._lands[newest.column(ORDER).to_numpy()[~gone]] = True
        self._steps, self._row = self._index()

    def _check(self, table: pa.Table) -> None:
        nulls = np.zeros(table.num_rows, bool)
        for key in self._keys:
            nulls |= table.column(key).is_null().to_numpy()
        if found := int(nulls.sum()):
            raise null_keys(found, self._keys)

    def _newest(self, table: pa.Table) -> pa.Table:
        if not table.num_rows:
            return table
        if self._cursor:
            ordered = pa.table({"known": table.column(self._cursor).is_valid(), "at": table.column(self._cursor)})
            ordered = ordered.append_column(ORDER, table.column(ORDER))
            table = table.take(
                pc.sort_indices(ordered, sort_keys=[(name, "ascending") for name in ordered.column_names])
            )
        last = table.group_by(self._keys, use_threads=False).aggregate([(ORDER, "last")])
        return table.filter(pc.is_in(table.column(ORDER), value_set=last.column(f"{ORDER}_last").combine_chunks()))

    def _index(self) -> tuple[list[tuple[pa.Array, np.ndarray[Any, Any]]], np.ndarray[Any, Any]]:
        """For each key column its values and the codes of the combinations so far; and the row of each combination."""
        codes = np.zeros(self._table.num_rows, np.int64)
        steps = []
        for key in self._keys:
            column = self._table.column(key)
            values = column.unique()
            at = pc.index_in(column, value_set=values).to_numpy()
            combined, codes = np.unique(codes * max(1, len(values)) + at, return_inverse=True)
            steps.append((values, combined))
        return steps, np.argsort(codes)

    def ranges(self) -> dict[str, tuple[Any, Any]]:
        """{key: (lowest, highest)} of the new rows."""
        found = {}
        for key in self._keys:
            column = self._table.column(key)
            ends = pc.min_max(column).as_py() if not pa.types.is_boolean(column.type) else {"min": False, "max": True}
            found[key] = (ends["min"], ends["max"])
        return found

    def replaced(self, batch: pa.RecordBatch) -> np.ndarray[Any, Any]:
        """Which rows of the table's, of the columns `compared`, a new row replaces."""
        codes = np.zeros(batch.num_rows, np.int64)
        found = np.full(batch.num_rows, bool(self._table.num_rows))
        for key, (values, combined) in zip(self._keys, self._steps, strict=True):
            at = pc.index_in(batch.column(key), value_set=values).fill_null(-1).to_numpy()
            found &= at >= 0
            wanted = codes * max(1, len(values)) + at
            codes = np.minimum(np.searchsorted(combined, wanted), max(0, len(combined) - 1))
            found &= combined[codes] == wanted if len(combined) else False
        if self._cursor is None or not found.any():
            return found
        hits = np.flatnonzero(found)
        rows = self._row[codes[hits]]
        old = batch.column(batch.schema.get_field_index(self._cursor)).take(pa.array(hits))
        mine = self._table.column(self._cursor).take(pa.array(rows)).combine_chunks()
        fresh = pc.or_kleene(pc.is_null(old), pc.greater_equal(mine, old)).fill_null(False)
        stale = ~fresh.to_numpy(zero_copy_only=False)
        self._lands[self._table.column(ORDER).to_numpy()[rows[stale]]] = False
        found[hits[stale]] = False
        return found

    def lands(self, numbers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Which of the new rows, told by their numbers, are in the table afterwards."""
        found: np.ndarray[Any, Any] = self._lands[numbers]
        return found
