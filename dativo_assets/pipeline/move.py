"""One worker's work: for each batch of a split read, filter, check, write. No worker knows of another."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dativo_plugin_sdk import BaseReader, BaseWriter, Committable, SchemaMismatchError, Split, SplitWriter, WriteTask
from dativo_plugin_sdk.arrow import as_schema, iterate, translate, type_name, unify
from dativo_plugin_sdk.native import left_out
from dativo_plugin_sdk.rows import Rows
from dativo_plugin_sdk.twin import Original

from dativo_assets.errors import to_dativo_error

from .ahead import Ahead
from .cursor_part import CursorPart
from .incremental import CursorFilter
from .metrics import timed
from .partition import PartitionRows
from .result import StageMetrics
from .settings import CancelToken

if TYPE_CHECKING:
    import pyarrow as pa

    from dativo_assets.contract import Checker

    from .metrics import Tell
    from .profile import Profiler
    from .resume import Resume
    from .trace import Trace

_MAX_BATCH_ROWS = 1 << 20


@dataclass
class Shared:
    """What all workers of one attempt use. The first batch of all settles the schema, and what depends on it."""

    job: str
    reader: BaseReader
    writer: BaseWriter
    cancel: CancelToken
    batch_bytes: int
    declared: Any
    widen: dict[str, str]
    settle: Any
    """schema of the input -> Settled; called once."""
    read_ahead: bool = False
    pass_through: bool = False
    """The reader's own batches go to the writer, at most through native checks, and no Arrow library is loaded."""
    resume: Resume | None = None
    profiler: Profiler | None = None
    trace: Trace | None = None
    input_schema: pa.Schema | None = None
    settled: Settled | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    original: Original = field(default_factory=Original)

    def teller(self, stage: str) -> Tell | None:
        """What takes the calls of a stage, or whole splits."""
        if self.trace is None:
            return None
        plugins = {"read": self.reader.source_config.reader, "write": self.writer.target_config.writer}
        return self.trace.teller(self.job, stage, plugins.get(stage, stage))

    def settled_for(self, schema: pa.Schema) -> Settled:
        """Raises: SchemaMismatchError: when another split settled on a schema that this one does not have."""
        with self.lock:
            if self.settled is None:
                self.settled = self.settle(schema)
                self.input_schema = schema
            elif not _same_columns(self.input_schema, schema):
                raise _mismatch(self.input_schema, schema)
            return self.settled


def _native(stream: Any) -> Generator[Any, None, None]:
    try:
        yield from stream
    except Exception as error:
        raise translate(error) from error


def _empty_batch(schema: Any) -> pa.RecordBatch:
    import pyarrow as pa

    known = as_schema(schema)
    return pa.record_batch([pa.array([], type=field.type) for field in known], schema=known)


def _mismatch(known: Any, found: Any) -> SchemaMismatchError:
    types = {field.name: field.type for field in known}
    for field_ in (*found, *known):
        left = types.get(field_.name)
        right = found.field(field_.name).type if field_.name in found.names else None
        if left is None or right is None or not left.equals(right):
            wider = unify(left, right) if left is not None and right is not None else left or right
            text = f"column {field_.name!r} is {left or 'absent'} in one split and {right or 'absent'} in another"
            return SchemaMismatchError(text, column=field_.name, widen_to=type_name(wider))
    raise AssertionError("the schemas are equal")


def _same_columns(known: Any, found: Any) -> bool:
    """Whether both have the same columns, in whatever order."""
    if known is found or found.equals(known):
        return True
    types = {field.name: field.type for field in known}
    return len(found) == len(known) and all(
        field.name in types and types[field.name].equals(field.type) for field in found
    )


@dataclass(frozen=True)
class Settled:
    """What follows from the input's schema. output_schema: of rows written; anything with `__arrow_c_schema__`."""

    output_schema: Any
    checker: Checker | None
    cursor: CursorFilter | PartitionRows | None


@dataclass(frozen=True)
class Moved:
    """What a worker has moved and closed since its last checkpoint. counts: of the contract's rules. cursor: what its rows
    tell of it. alone: whether none of its rows was judged by those of other workers, so that it can be kept without them.
    """

    splits: tuple[Split, ...]
    committables: tuple[Committable, ...]
    rows_read: int
    rows_written: int
    rows_rejected: int
    counts: dict[str, Any] | None
    cursor: dict[str, Any] | None
    alone: bool


@dataclass
class Worker:
    """A thread's state; `beat` and `stage` are watched by the main thread. task: the number of its files."""

    index: int
    shared: Shared
    task: int = 0
    stages: dict[str, StageMetrics] = field(
        default_factory=lambda: {name: StageMetrics() for name in ("read", "contract", "write")}
    )
    rows_read: int = 0
    rows_written: int = 0
    rows_rejected: int = 0
    splits_done: int = 0
    bytes_done: int = 0
    beat: float = field(default_factory=time.monotonic)
    stage: str = "read"
    split: str = ""
    row: int = 0
    committables: list[Committable] = field(default_factory=list)
    unnoted: list[Split] = field(default_factory=list)
    noted_s: float = field(default_factory=time.monotonic)
    _noted: tuple[int, int, int, int] = (0, 0, 0, 0)
    _checker: Checker | None = None
    _cursor: CursorPart | PartitionRows | None = None
    _gathered: CursorPart | None = None
    _left_out: int = 0
    _data: SplitWriter | None = None
    _rejects: SplitWriter | None = None

    def __post_init__(self) -> None:
        self._tellers = {name: self.shared.teller(name) for name in (*self.stages, "split")}
        self.task = self.index + (0 if self.shared.resume is None else self.shared.resume.first_task)

    def move(self, split: Split) -> None:
        """Read one split to its end through the contract into this worker's writer.

        Raises: DativoError: whatever happened, naming job, stage, split, row and plugin.
        """
        self.split, self.row = split.id, 0
        start, tell = time.perf_counter(), self._tellers["split"]
        try:
            with closing(self._read(split)) as batches:
                for batch in batches:
                    for part in self._sliced(batch):
                        self._one(part, split)
            self.splits_done += 1
            self.bytes_done += split.bytes or 0
            if self.shared.resume is not None:
                self.unnoted.append(split)
                self.shared.resume.moved(self)
        except (Exception, SystemExit) as error:
            self.shared.original.check()
            raise self._located(error) from error
        finally:
            if tell is not None:
                tell(split.id, start, time.perf_counter())

    def write_empty(self) -> None:
        """Leave a file without rows, so that a table of none still has its columns."""
        settled = self.shared.settled
        if settled is not None and self._data is None:
            self._data = self.shared.writer.writer(WriteTask(self.task, "data", settled.output_schema))
            self._data.write(_empty_batch(settled.output_schema))

    def finish(self) -> None:
        """Close this worker's files. Raises: DativoError."""
        self._enter("write")
        try:
            with self._timed("write", "finish"):
                for writer in (self._data, self._rejects):
                    if writer is not None:
                        self.committables.extend(writer.finish())
                self._data = self._rejects = None
                if isinstance(self._cursor, CursorPart):
                    self._cursor.whole.gather(self._cursor.met)
                    self._cursor, self._gathered = None, self._cursor
        except (Exception, SystemExit) as error:
            raise self._located(error) from error

    def closed(self) -> Moved:
        """Close this worker's files; what has come of its splits since the last call."""
        self.finish()
        read, written, rejected, items = self._noted
        counts = None if self._checker is None else self._checker.counts()
        # A key is known of rows that land: of those that the table has already, it would be forgotten.
        alone = self._checker is None or not self._checker.remembers or not (self._checker.repeats or self._left_out)
        cursor = None
        if self._gathered is not None:
            cursor = self._gathered.told()
            alone = alone and cursor is not None
        found = Moved(
            tuple(self.unnoted),
            tuple(self.committables[items:]),
            self.rows_read - read,
            self.rows_written - written,
            self.rows_rejected - rejected,
            counts,
            cursor,
            alone,
        )
        self._noted = (self.rows_read, self.rows_written, self.rows_rejected, len(self.committables))
        self.unnoted, self._checker, self._gathered, self._left_out = [], None, None, 0
        return found

    def abort(self) -> None:
        for writer in (self._data, self._rejects):
            if writer is not None:
                writer.abort()

    def cancel(self) -> None:
        for writer in (self._data, self._rejects):
            if writer is not None:
                writer.cancel()

    def _enter(self, stage: str) -> None:
        self.shared.original.check()
        self.stage, self.beat = stage, time.monotonic()
        self.shared.cancel.check()

    def _timed(self, stage: str, method: str) -> AbstractContextManager[None]:
        return timed(self.stages[stage], method, self._tellers[stage])

    def _located(self, error: BaseException) -> BaseException:
        plugin = {"read": self.shared.reader, "write": self.shared.writer}.get(self.stage)
        name = None
        if isinstance(plugin, BaseReader):
            name = plugin.source_config.reader
        elif isinstance(plugin, BaseWriter):
            name = plugin.target_config.writer
        found = to_dativo_error(error, job=self.shared.job, stage=self.stage, plugin=name, split=self.split or None)
        return found.at(row=self.row + 1 if self.stage != "write" else None)

    def _read(self, split: Split) -> Generator[pa.RecordBatch, None, None]:
        shared, stage = self.shared, self.stages["read"]
        self._enter("read")
        with self._timed("read", "read"):
            found = shared.reader.read(split)
        batches = _native(found) if shared.pass_through else self._converted(found)
        if shared.read_ahead:
            with closing(Ahead(batches, stage, self._tellers["read"])) as ahead:
                yield from self._counted(ahead)
        else:
            yield from self._counted(self._clocked(batches))
        if skipped := left_out(found):
            shared.reader.note(f"{split.id}: {skipped} rows were left out")

    def _converted(self, found: Any) -> Generator[pa.RecordBatch, None, None]:
        shared = self.shared
        with shared.lock:
            rows = Rows(shared.declared, shared.widen, shared.input_schema)
        for item in iterate(found):
            yield from rows.convert(item)

    def _clocked(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Batches; the time that each takes is the stage's."""
        while True:
            with self._timed("read", "next"):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def _counted(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Batches, counted."""
        stage = self.stages["read"]
        while True:
            self._enter("read")
            batch = next(batches, None)
            if batch is None:
                return
            stage.batches += 1
            stage.rows += batch.num_rows
            stage.bytes += batch.nbytes
            yield batch

    def _sliced(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Parts that fit the budget; an empty batch passes, for its schema."""
        if self.shared.pass_through:
            yield batch
            return
        size = batch.nbytes
        parts = max(1, -(-size // self.shared.batch_bytes), -(-batch.num_rows // _MAX_BATCH_ROWS))
        step = max(1, -(-batch.num_rows // parts))
        for start in range(0, max(batch.num_rows, 1), step):
            yield batch if parts == 1 else batch.slice(start, step)

    def _one(self, batch: Any, split: Split) -> None:
        settled = self.shared.settled if self.shared.pass_through else self.shared.settled_for(batch.schema)
        assert settled is not None
        if not self.shared.pass_through:
            assert self.shared.input_schema is not None
            if batch.schema.names != self.shared.input_schema.names:
                batch = batch.select(self.shared.input_schema.names)
        first_row = self.row
        self.row += batch.num_rows
        if settled.cursor is not None and self._cursor is None:
            self._cursor = settled.cursor.part()
        if self._cursor is not None:
            batch = self._cursor.new_rows(batch)
        read = batch.num_rows
        rejected = None
        if settled.checker is not None:
            self._enter("contract")
            contract = self.stages["contract"]
            with self._timed("contract", "check"):
                self._checker = self._checker or settled.checker.part()
                checked = self._checker.check(batch, split.id, first_row)
            contract.batches += 1
            contract.rows += read
            batch, rejected = checked.good, checked.rejected
        if self._cursor is not None:
            before = batch.num_rows
            batch = self._cursor.unseen(batch)
            left_out = before - batch.num_rows
            if rejected is not None:
                before = rejected.num_rows
                rejected = self._cursor.unseen_rejected(rejected)
                left_out += before - rejected.num_rows
            self._left_out += left_out
            read -= left_out
        self._write(settled, batch, rejected)
        self.rows_read += read
        self.rows_written += batch.num_rows
        self.rows_rejected += 0 if rejected is None else rejected.num_rows

    def _write(self, settled: Settled, batch: pa.RecordBatch, rejected: pa.RecordBatch | None) -> None:
        self._enter("write")
        stage = self.stages["write"]
        with self._timed("write", "write"):
            if batch.num_rows:
                if self._data is None:
                    self._data = self.shared.writer.writer(WriteTask(self.task, "data", settled.output_schema))
                if self.shared.profiler is not None:
                    self.shared.profiler.see(batch)
                self._data.write(batch)
            if rejected is not None and rejected.num_rows:
                if self._rejects is None:
                    assert settled.checker is not None
                    schema = settled.checker.quarantine_schema
                    self._rejects = self.shared.writer.writer(WriteTask(self.task, "quarantine", schema))
                self._rejects.write(rejected)
        stage.batches += 1
        stage.rows += batch.num_rows
        stage.bytes += batch.nbytes
