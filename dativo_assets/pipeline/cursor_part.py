"""What one worker's rows tell of the cursor: which are new, and how far they lead. Its notes go with its checkpoints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dativo_plugin_sdk import ValidationError
from dativo_plugin_sdk.cursor_values import CursorValues

from .digests import MAX_ROWS, row_keys

if TYPE_CHECKING:
    import pyarrow as pa

    from .incremental import CursorFilter

MOST_NOTED = 100_000
"""Digests of old rows in one checkpoint, at most."""


@dataclass
class Met:
    """What some rows tell, and all that is to be known of them. Digests of rows are counted.

    highest: their highest cursor value. boundary: the rows at the value `boundary_at`. null_rows: those without one. taken:
    rows that were left out, for the table has them. rejected: those at the quarantine's door, with the cursor's value as
    stored. rejected_taken: those left out of them. columns: that digests are of.
    """

    highest: Any = None
    nulls: int = 0
    skipped: int = 0
    columns: list[str] = field(default_factory=list)
    boundary_at: Any = None
    boundary: Counter[bytes] = field(default_factory=Counter)
    null_rows: Counter[bytes] = field(default_factory=Counter)
    taken: Counter[bytes] = field(default_factory=Counter)
    rejected: dict[bytes, tuple[int, Any]] = field(default_factory=dict)
    rejected_taken: Counter[bytes] = field(default_factory=Counter)

    def reached(self, value: Any) -> None:
        """Note a cursor value."""
        if self.highest is None or is_above(value, self.highest):
            self.highest = value

    def at(self, value: Any) -> None:
        """Let the boundary be at a value that is not below it."""
        if self.boundary_at is None or is_above(value, self.boundary_at):
            self.boundary_at = value
            self.boundary.clear()

    def add(self, other: Met) -> None:
        """Take in what others of the same run have met; those they left out are the filter's to count."""
        self.nulls += other.nulls
        self.skipped += other.skipped
        self.columns = other.columns or self.columns
        self.null_rows += other.null_rows
        if other.highest is not None:
            self.reached(other.highest)
        if other.boundary_at is not None:
            self.at(other.boundary_at)
            if self.boundary_at.equals(other.boundary_at):
                self.boundary += other.boundary

    def to_dict(self, values: CursorValues) -> dict[str, Any]:
        """As JSON."""
        scalars = {"highest": self.highest, "boundary_at": self.boundary_at}
        counters = {"boundary": self.boundary, "null_rows": self.null_rows, "taken": self.taken}
        counters["rejected_taken"] = self.rejected_taken
        return {
            "nulls": self.nulls,
            "skipped": self.skipped,
            "columns": self.columns,
            **{name: None if value is None else values.store(value) for name, value in scalars.items()},
            **{name: {key.hex(): n for key, n in counter.items()} for name, counter in counters.items()},
            "rejected": {key.hex(): found for key, found in self.rejected.items()},
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any], values: CursorValues) -> Met:
        """Of what `to_dict` made."""
        found = dict(told)
        for name in ("highest", "boundary_at"):
            found[name] = None if told[name] is None else values.parse(told[name])
        for name in ("boundary", "null_rows", "taken", "rejected_taken"):
            found[name] = Counter({bytes.fromhex(key): n for key, n in told[name].items()})
        found["rejected"] = {bytes.fromhex(key): (n, value) for key, (n, value) in told["rejected"].items()}
        return cls(**found)


class CursorPart:
    """One worker's rows since its last checkpoint beside the cursor."""

    def __init__(self, whole: CursorFilter) -> None:
        self.whole, self._name = whole, whole.name
        self.met = Met()
        self.alone = True
        """Whether none of its rows was judged by what other workers have met, so that it can be kept without them."""

    def told(self) -> dict[str, Any] | None:
        """What it has met, as JSON; None where it can't be kept without others, or is too much to note."""
        met = self.met
        few = len(met.taken) + len(met.rejected) <= MOST_NOTED
        return met.to_dict(self.whole.values) if self.alone and few else None

    def new_rows(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows above the lower bound, before the contract; what is surely old is dropped. Nulls are not: the contract
        has a rule about them where they are to be set aside.

        Raises: ValidationError: for a null cursor, unless the job says what to do with one.
        """
        import pyarrow.compute as pc

        column = batch.column(self._name)
        if column.null_count and self.whole.null_cursor == "fail":
            row = pc.index(pc.is_null(column), True).as_py()
            raise ValidationError(
                f"cursor field {self._name!r} is null",
                details={"column": self._name, "row_in_batch": row, "nulls": column.null_count},
                hint="mend the source, or set source.incremental.null_cursor: include to load such rows, quarantine to set "
                "them aside",
            )
        return self._from_low(batch) if column.type.equals(self.whole.values.type) else batch

    def _from_low(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Without the rows below the lower bound."""
        import pyarrow.compute as pc

        if self.whole.low is None:
            return batch
        column = batch.column(self._name)
        keep = pc.greater_equal(column, self.whole.low)
        if column.null_count:
            keep = pc.fill_null(keep, True)
        kept = batch.filter(keep)
        self.met.skipped += batch.num_rows - kept.num_rows
        return kept

    def unseen_rejected(self, rejected: pa.RecordBatch) -> pa.RecordBatch:
        """The rejected rows that no run before has set aside."""
        rows, alone = self.whole.rejects(rejected, self.met)
        self.alone = self.alone and alone
        self.met.skipped += rejected.num_rows - rows.num_rows
        return rows

    def unseen(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows that the table does not hold yet, after the contract; notes the highest cursor value."""
        import pyarrow.compute as pc

        whole = self.whole
        batch = self._from_low(batch)  # the source's column may have been of another type than the contract's
        column = batch.column(self._name)
        if whole.notes_boundary and batch.num_rows:
            self._note_boundary(batch, pc.max(column))
        if not whole.merges and (whole.low is not None or column.null_count):
            old = pc.is_null(column) if whole.low is None else pc.fill_null(pc.less_equal(column, whole.last), True)
            batch = self._drop_seen(batch, old)
            column = batch.column(self._name)
        self.met.nulls += column.null_count
        if batch.num_rows > column.null_count:
            self.met.reached(pc.max(column))
        return batch

    def _note_boundary(self, batch: pa.RecordBatch, highest: Any) -> None:
        """Keep the digests of the rows at the highest value so far and of those without one, those the table has as well as
        new ones.

        Raises: ValidationError: for more rows at one value than a commit should carry.
        """
        import pyarrow.compute as pc

        met, column = self.met, batch.column(self._name)
        met.columns = sorted(batch.schema.names)
        if column.null_count:
            met.null_rows.update(row_keys(batch.filter(pc.is_null(column)), batch.schema.names))
            check_count(self._name, met.null_rows, "no cursor value")
        if not highest.is_valid or (met.boundary_at is not None and is_above(met.boundary_at, highest)):
            return
        met.at(highest)
        rows = batch.filter(pc.fill_null(pc.equal(column, highest), False))
        met.boundary.update(row_keys(rows, batch.schema.names))
        if self.whole.leads(highest):
            check_count(self._name, met.boundary, f"the cursor value {highest}")
        elif met.boundary.total() > MAX_ROWS:  # of no use but to a run in which no other part is ahead
            self.alone = False
            met.boundary.clear()

    def _drop_seen(self, batch: pa.RecordBatch, old: pa.Array) -> pa.RecordBatch:
        """Without those of the old rows that the table has."""
        import pyarrow as pa
        import pyarrow.compute as pc

        positions = pc.indices_nonzero(old)
        if len(positions) == 0:
            return batch
        window = batch.take(positions)
        seen, alone = self.whole.seen(window, self.met)
        self.alone = self.alone and alone
        self.met.skipped += sum(seen)
        keep = [True] * batch.num_rows
        for position, left_out in zip(positions.to_pylist(), seen, strict=True):
            keep[position] = not left_out
        return batch.filter(pa.array(keep))


def is_above(left: Any, right: Any) -> bool:
    """Whether one cursor value is above another: Arrow scalars of one type."""
    import pyarrow.compute as pc

    return bool(pc.greater(left, right).as_py())


def check_count(name: str, rows: Counter[bytes], what: str) -> None:
    """Raises: ValidationError: for more rows than a commit should carry. name: the cursor's."""
    if rows.total() > MAX_ROWS:
        raise ValidationError(
            f"more than {MAX_ROWS:,} rows have {what}",
            details={"column": name},
            hint="use target.mode: merge with keys, or a cursor field with finer values",
        )
