"""Rows merged by key into Parquet files, copy on write: a file is rewritten where it holds a row that goes, and no other.

Rows come in slices that fit into memory. For each, the files' key columns are looked through, as far as their statistics
say that a key may be there; then the files with rows to remove are written anew, with the newer rows of those keys in
their places, or at the end where the sink has no way to do that; rows of new keys go to new files. A later slice finds
what an earlier one wrote as it finds the table's own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count, takewhile
from pathlib import Path
from typing import Any, TypeVar

from .arrow import int64, int64s, pyarrow
from .errors import ValidationError
from .key_set import Bounds, KeySet, KeySpan
from .parquet_copy import Sink, conformed, copy_without, kept, write_table
from .posix import fsync
from .records import duplicates, null_keys

_PROBED_ROWS = 1 << 17
_ROW_BYTES = 96
"""What a slice's row costs beside its key: numbers of keys, their order and the tables that find them."""


_T = TypeVar("_T")
_R = TypeVar("_R")
_Work = tuple[str, Any, Any, Any]
"""What `_rewrite` takes."""


@dataclass(frozen=True)
class MergeRule:
    """Which row of a key counts. cursor: the column that tells the newer of two; without one the last is. deletes: the
    column that says that the key's row goes. in_place: whether a newer row may stay in the file of the older one.
    """

    keys: tuple[str, ...]
    cursor: str | None = None
    deletes: str | None = None
    unique: bool = False
    in_place: bool = True


@dataclass
class Merged:
    """What became of it. files: the table's after it, absolute. removed: those of it before that are not in it any more."""

    files: list[str]
    new: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    rows_added: int = 0
    rows_removed: int = 0
    superseded: int = 0
    deleted: int = 0


@dataclass(frozen=True)
class _Found:
    """Rows of a file whose keys a slice has. rows: their places in the file. codes: of the keys. fresh: whether the slice's
    row is as new.
    """

    rows: Any
    codes: Any
    fresh: Any


class ParquetMerge:
    """One commit's merge. folder: where new files go. open_file: as FileSink's maker. insert: writes rows of new keys to
    files of the folder and returns their paths.
    """

    def __init__(
        self,
        rule: MergeRule,
        files: Sequence[str],
        folder: Path,
        open_file: Callable[[str, Any], Sink],
        insert: Callable[[Any], list[str]],
        *,
        threads: int,
        check: Callable[[], None],
    ) -> None:
        self._rule = rule
        self._folder = folder
        self._open_file = open_file
        self._insert = insert
        self._threads = max(1, threads)
        self._check = check
        self._numbers = count()
        self._deleted: Any = None
        """Rows of earlier slices that say that their keys go: an older row of such a key may still come."""
        self.merged = Merged(list(files))

    def add(self, rows: Any) -> None:
        """Merge one slice, a table of rows in the order that they came."""
        import pyarrow.compute as pc

        rule, merged = self._rule, self.merged
        for name, where in [(key, "target.keys") for key in rule.keys] + [(rule.deletes, "options.delete_column")]:
            if name is not None and name not in rows.schema.names:
                raise ValidationError(
                    f"{where} names {name!r}, which is not a column of the data",
                    hint=f"columns are: {', '.join(rows.schema.names)}",
                )
        if rows.num_rows == 0:
            return
        if self._deleted is not None:
            rows = pyarrow().concat_tables([self._deleted, rows])
        pyarrow().default_memory_pool().release_unused()
        columns = [_whole(rows.column(key)) for key in rule.keys]
        if any(column.null_count for column in columns):
            nulls = pc.is_null(columns[0])
            for column in columns[1:]:
                nulls = pc.or_(nulls, pc.is_null(column))
            raise null_keys(pc.sum(nulls).as_py(), rule.keys)
        work, rows, new = self._plan(rows, KeySet(columns))
        for result in self._each(lambda one: self._rewrite(*one), work):
            self._settle(*result)
        if len(new):
            paths = self._insert(rows.take(new))
            merged.files += paths
            merged.new.update(paths)
            merged.rows_added += len(new)

    def _plan(self, rows: Any, keys: KeySet) -> tuple[list[_Work], Any, Any]:
        """Returns: what to rewrite, the slice's rows as they land, and where in it those of new keys are."""
        import pyarrow.compute as pc

        rule, merged = self._rule, self.merged
        self._supersede(rows.num_rows - keys.size)
        pyarrow().default_memory_pool().release_unused()
        newest = self._newest(rows, keys)
        cursors = None if rule.cursor is None else _whole(rows.column(rule.cursor)).take(newest)
        probed = self._each(lambda path: self._probe(path, keys, cursors), merged.files)
        found = dict(zip(merged.files, probed, strict=True))
        self._supersede(sum(len(item.rows) for path, item in found.items() if path in merged.new))
        numbers = _numbers(keys.size)
        stale = _concat([item.codes.filter(pc.invert(item.fresh)) for item in found.values()], _code_type())
        lands = pc.invert(pc.is_in(numbers, value_set=stale))
        if rule.deletes is not None:
            deleted = pc.fill_null(_whole(rows.column(rule.deletes)).take(newest), _no())
            self._deleted = rows.take(newest.filter(deleted))
            merged.deleted = self._deleted.num_rows
            lands = pc.and_(lands, pc.invert(deleted))
            rows = rows.drop_columns([rule.deletes])
        fresh = _concat([item.codes.filter(item.fresh) for item in found.values()], _code_type())
        # Where a table has a key several times, the first of its rows is the one that is replaced.
        first = pc.equal(pc.index_in(fresh, value_set=fresh), _numbers(len(fresh)))
        placed = pc.and_(pc.and_(lands.take(fresh), first), _yes() if rule.in_place else _no())
        lands = pc.and_(lands, pc.invert(pc.is_in(numbers, value_set=fresh.filter(placed))))
        work, start = list[_Work](), 0
        for path, item in found.items():
            gone = item.rows.filter(item.fresh)
            here = fresh.slice(start, len(gone)).filter(placed.slice(start, len(gone)))
            start += len(gone)
            if len(gone):
                work.append((path, gone, rows, newest.take(here)))
        return work, rows, newest.filter(lands)

    def _each(self, work: Callable[[_T], _R], items: Sequence[_T]) -> Iterator[_R]:
        """Do it with each, in threads. What is free goes back to the system: Arrow's allocator keeps it for its thread."""
        memory = pyarrow().default_memory_pool()

        def one(item: _T) -> _R:
            try:
                return work(item)
            finally:
                memory.release_unused()

        memory.release_unused()
        with ThreadPoolExecutor(self._threads) as pool:
            yield from pool.map(one, items)

    def _supersede(self, rows: int) -> None:
        self.merged.superseded += rows
        if rows and self._rule.unique:
            raise duplicates(rows, self._rule.keys)

    def _newest(self, rows: Any, keys: KeySet) -> Any:
        """The row of each key that counts: the one with the highest cursor, then the last."""
        import pyarrow.compute as pc

        pa = pyarrow()
        place = int64s(range(rows.num_rows))
        cursor = self._rule.cursor
        if keys.size < rows.num_rows and cursor is not None:
            at = _whole(rows.column(cursor))
            by = pa.Table.from_arrays([at.is_valid().cast(pa.int8()), at, place], ["known", "at", "place"])
            order = pc.sort_indices(by, [(name, "ascending") for name in by.schema.names]).cast(pa.int64())
            codes = keys.codes.take(order)
        else:
            order, codes = place, keys.codes
        # Of a value that is there several times, index_in finds the first: the last, seen from the end.
        last = pc.index_in(_numbers(keys.size), value_set=codes.take(int64s(range(rows.num_rows - 1, -1, -1))))
        return order.take(pc.subtract(int64(rows.num_rows - 1), last))

    def _probe(self, path: str, keys: KeySet, cursors: Any) -> _Found:
        """Where a file has rows of these keys. cursors: of the slice's row of each key."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        pa = pyarrow()
        rule = self._rule
        places, codes, fresh = [], [], []
        with pq.ParquetFile(path, memory_map=True) as file:
            names = file.schema_arrow.names
            missing = [key for key in rule.keys if key not in names]
            if missing:
                raise ValidationError(
                    f"column {missing[0]!r} is a key, and {path} has no such column",
                    details={"file": path, "column": missing[0]},
                    hint="load the table anew: dativo run --full-refresh",
                )
            cursor = rule.cursor if cursors is not None and rule.cursor in names else None
            wanted = [*rule.keys, *([cursor] if cursor and cursor not in rule.keys else [])]
            runs = _runs(file.metadata, [names.index(key) for key in rule.keys], keys)
            for first, part, span in _parts(file, runs, wanted):
                self._check()
                found = span.find([_decoded(part.column(key)) for key in rule.keys])
                at = pc.indices_nonzero(pc.is_valid(found)).cast(pa.int64())
                if not len(at):
                    continue
                code = found.take(at)
                is_fresh = pc.is_valid(at)
                if cursor is not None:
                    before = _decoded(part.column(cursor)).take(at)
                    after = cursors.take(code)
                    newer = pc.fill_null(pc.greater_equal(after, before.cast(after.type)), _no())
                    is_fresh = pc.or_(pc.is_null(before), newer)
                places.append(pc.add(at, int64(first)))
                codes.append(code)
                fresh.append(is_fresh)
        return _Found(_concat(places, pa.int64()), _concat(codes, _code_type()), _concat(fresh, pa.bool_()))

    def _rewrite(self, path: str, gone: Any, rows: Any, placed: Any) -> tuple[str, str | None, int, int]:
        """A file without its rows at `gone` and with the slice's rows `placed`. Returns: it, the new one, None where
        nothing is left, rows removed, rows added.
        """
        import pyarrow.parquet as pq

        with pq.ParquetFile(path, memory_map=True) as file:
            if len(gone) == file.metadata.num_rows and not len(placed):
                return path, None, len(gone), 0
            old = file.schema_arrow
            landing = rows.schema.names
            schema = pyarrow().schema([*rows.schema, *(item for item in old if item.name not in landing)])
            new = self._named(path)
            new.parent.mkdir(parents=True, exist_ok=True)
            sink = self._open_file(str(new), schema)
            try:
                added = conformed(rows.take(placed), schema, path)
                for late in copy_without(file, path, gone.to_pylist(), added, sink, self._check):
                    write_table(sink, late)
                sink.finish()
            except BaseException:
                sink.abort()
                raise
        fsync(new)
        return path, str(new), len(gone), len(placed)

    def _named(self, path: str) -> Path:
        """A new name for a file, in the same partition."""
        folders = list(takewhile(lambda part: "=" in part, reversed(Path(path).parent.parts)))
        return self._folder.joinpath(*reversed(folders), f"part-merged-{next(self._numbers):04d}{Path(path).suffix}")

    def _settle(self, path: str, new: str | None, removed: int, added: int) -> None:
        merged = self.merged
        at = merged.files.index(path)
        merged.files[at : at + 1] = [] if new is None else [new]
        if path in merged.new:
            merged.new.remove(path)
            os.unlink(path)
        else:
            merged.removed.add(path)
        if new is not None:
            merged.new.add(new)
        merged.rows_removed += removed
        merged.rows_added += added


def slices(paths: Sequence[Path], keys: Sequence[str], memory_bytes: int) -> Iterator[Any]:
    """Staged rows as tables whose keys take about a quarter of a memory budget."""
    pa = pyarrow()
    held: list[Any] = []
    held_bytes = 0
    for path in paths:
        with pa.memory_map(str(path)) as file:
            for batch in pa.ipc.open_stream(file):
                size = sum(batch.column(key).nbytes for key in keys if key in batch.schema.names)
                size += batch.num_rows * _ROW_BYTES
                if held and held_bytes + size > memory_bytes // 4:
                    yield pa.Table.from_batches(held)
                    held, held_bytes = [], 0
                held.append(batch)
                held_bytes += size
    if held:
        yield pa.Table.from_batches(held)


def merged_schema(path: Path, deletes: str | None) -> Any:
    """The schema that staged rows land in."""
    pa = pyarrow()
    with pa.memory_map(str(path)) as file:
        fields = [item for item in pa.ipc.open_stream(file).schema if item.name != deletes]
    return pa.schema(fields)


def _runs(metadata: Any, columns: Sequence[int], keys: KeySet) -> Iterator[tuple[int, list[int], KeySpan]]:
    """(first row, row groups, keys that they may hold) of neighbours, not too many at once."""
    run: list[int] = []
    first = start = rows = 0
    known: list[Bounds | None] = []
    leaves = _leaves(metadata, columns)
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        bounds = [_bounds(group, leaf) for leaf in leaves]
        holds = keys.within(bounds).size > 0
        if holds:
            start, known = (start, list(map(_around, known, bounds))) if run else (first, bounds)
            run.append(number)
            rows += group.num_rows
        # Finding rows costs as much as there are keys, however few the rows are.
        if run and (not holds or rows >= max(_PROBED_ROWS, keys.within(known).size)):
            yield start, run, keys.within(known)
            run, rows = [], 0
        first += group.num_rows
    if run:
        yield start, run, keys.within(known)


def _parts(
    file: Any, runs: Iterator[tuple[int, list[int], KeySpan]], columns: Sequence[str]
) -> Iterator[tuple[int, Any, KeySpan]]:
    """(first row, rows, keys that they may hold): a row group may be more than should be held."""
    for first, groups, span in runs:
        size = max(_PROBED_ROWS, span.size)
        for part in file.iter_batches(size, row_groups=groups, columns=columns, use_threads=False):
            yield first, part, span
            first += part.num_rows


def _leaves(metadata: Any, columns: Sequence[int]) -> list[int | None]:
    """The Parquet columns of top-level ones, which nested ones before them move."""
    names = metadata.schema.to_arrow_schema().names
    paths = {metadata.schema.column(at).path: at for at in range(metadata.num_columns)}
    return [paths.get(names[column]) for column in columns]


def _bounds(group: Any, leaf: int | None) -> Bounds | None:
    """Between which values a column of a row group lies, None where that is not known."""
    found = None if leaf is None else group.column(leaf).statistics
    try:
        return (found.min, found.max) if found is not None and found.has_min_max else None
    except ValueError:  # of nanoseconds, that Python has no type for
        return None


def _around(one: Bounds | None, other: Bounds | None) -> Bounds | None:
    return one and other and (min(one[0], other[0]), max(one[1], other[1]))


def _whole(column: Any) -> Any:
    found = column.combine_chunks()
    pa = pyarrow()
    if isinstance(found, pa.ChunkedArray):
        found = found.chunk(0) if found.num_chunks == 1 else pa.concat_arrays(found.chunks)
    return _decoded(found)


def _decoded(column: Any) -> Any:
    return column.dictionary_decode() if pyarrow().types.is_dictionary(column.type) else column


def _concat(arrays: Sequence[Any], kind: Any) -> Any:
    pa = pyarrow()
    return pa.concat_arrays(arrays) if arrays else pa.nulls(0, kind)


def _code_type() -> Any:
    return pyarrow().int32()


def _numbers(count: int) -> Any:
    return int64s(range(count)).cast(_code_type())


def _yes() -> Any:
    return kept(1, ())[0]


def _no() -> Any:
    return kept(1, (0,))[0]
