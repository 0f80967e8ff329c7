"""Append by a cursor field, for readers that leave it to the pipeline.

A row is new when its cursor value is above the last commit's. Rows inside the window [last - lookback, last] are compared
with what the table already holds, whole row by whole row, so that equal cursor values on both sides of a run are neither
lost nor doubled; so are rows without a value, where the job includes them. Where the table is not made of files that can be
read here, the cursor itself carries digests of the rows at its value and of those without one. A target that merges needs
neither: a row that comes again replaces itself. Rejected rows that come again are told by digests in the cursor.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dativo_plugin_sdk import Commit, ConfigurationError, Incremental, ReadPlan, ValidationError
from dativo_plugin_sdk.arrow import type_name

from dativo_assets.contract.origin import ORIGIN_NAMES

from .cursor_value import CursorValues
from .digests import MAX_ROWS, RejectedRows, row_keys

if TYPE_CHECKING:
    import pyarrow as pa

    from dativo_assets.config import JobConfig

_WINDOW_BATCH_ROWS = 16_384


class CursorFilter:
    """One run's view of the cursor; used by all workers."""

    def __init__(
        self,
        incremental: Incremental,
        base: Commit | None,
        files_back_to: Callable[[Callable[[Commit], bool]], tuple[str, ...]] | None,
        field: pa.Field,
        *,
        merges: bool,
    ) -> None:
        """files_back_to: of the writer, where the table's rows can be read here, so that they need not be noted."""
        self.name = field.name
        self._type = field.type
        self._values = CursorValues(field.name, field.type)
        self._null_cursor = incremental.null_cursor
        self._lookback = incremental.lookback_s
        self._lock = threading.Lock()
        self._highest: Any = None
        self._boundary_at: Any = None
        self._columns: list[str] = []
        self.skipped = 0
        self.nulls = 0
        stored = (base.cursor or {}) if base is not None else {}
        self._stored = stored
        self._last = self._values.read(stored)
        self._low = self._values.before(self._last, self._lookback)
        self._rejected = RejectedRows(self._values, stored.get("rejected", {}), ORIGIN_NAMES)
        self._files_back_to = files_back_to
        self._merges = merges
        self._seen: Counter[bytes] | None = None
        self._boundary: Counter[bytes] | None = None
        """Digests of the rows at the highest value; None where the next run asks the table or merges."""
        self._null_rows: Counter[bytes] = Counter()
        if not merges and files_back_to is None:
            self._boundary = Counter()
            if incremental.lookback_s and self._last is not None:
                raise ConfigurationError(
                    "lookback compares rows with the table's, and this target's can't be read here",
                    hint="use target.mode: merge with keys, or remove lookback",
                )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person may want to know of it."""
        nulls = f"{self.nulls:,} rows have no value of {self.name}, the cursor" if self.nulls else ""
        many = (
            "more rejected rows than a commit remembers: some may be set aside again" if self._rejected.dropped else ""
        )
        return tuple(filter(None, (nulls, many)))

    def _window(self, names: Sequence[str], types: Mapping[str, Any]) -> Counter[bytes]:
        """What the table holds in the window, counted by row; read once, when the first such row arrives."""
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.dataset as ds

        seen: Counter[bytes] = Counter()
        files = () if self._files_back_to is None or not self._stored else self._files_back_to(self._is_below)
        if not files:
            return self._carried(names)
        rows = ds.dataset(list(files), format="parquet")
        if self.name not in rows.schema.names:
            return seen
        common = [name for name in names if name in rows.schema.names]
        # A column may have been widened since the first file was written.
        rows = rows.replace_schema(pa.schema([(name, types[name]) for name in common]))
        condition = pc.field(self.name).is_null()
        if self._low is not None:
            condition = condition | (pc.field(self.name) >= self._low)
        batches = rows.to_batches(columns=common, filter=condition, batch_size=_WINDOW_BATCH_ROWS, use_threads=False)
        for batch in batches:
            seen.update(row_keys(batch, common))
        return seen

    def _is_below(self, commit: Commit) -> bool:
        """Whether no row up to that commit is in the window: none is above its cursor, and none is without one."""
        import pyarrow.compute as pc

        cursor = commit.cursor or {}
        if self._low is None or self._null_cursor == "include" or "value" not in cursor:
            return False
        try:
            return bool(pc.less(self._values.read(cursor), self._low).as_py())
        except ConfigurationError:  # of another field or type
            return False

    def _carried(self, names: Sequence[str]) -> Counter[bytes]:
        """What the last commit says of the rows at its cursor, and of those without one."""
        boundary = self._stored.get("boundary") or {}
        columns = list(boundary.get("columns", ()))
        if columns and columns != sorted(names):
            raise ValidationError(
                "columns were added or removed, so rows at the last cursor value can't be told from new ones",
                details={"columns": sorted(set(columns) ^ set(names))},
                hint="use target.mode: merge with keys, or run once with --full-refresh",
            )
        return self._digests("rows") + self._digests("nulls")

    def _digests(self, kind: str) -> Counter[bytes]:
        found = (self._stored.get("boundary") or {}).get(kind, {})
        return Counter({bytes.fromhex(digest): count for digest, count in found.items()})

    def new_rows(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows above the lower bound, before the contract; what is surely old is dropped. Nulls are not: the contract
        has a rule about them where they are to be set aside.

        Raises: ValidationError: for a null cursor, unless the job says what to do with one.
        """
        import pyarrow.compute as pc

        column = batch.column(self.name)
        if column.null_count and self._null_cursor == "fail":
            row = pc.index(pc.is_null(column), True).as_py()
            raise ValidationError(
                f"cursor field {self.name!r} is null",
                details={"column": self.name, "row_in_batch": row, "nulls": column.null_count},
                hint="mend the source, or set source.incremental.null_cursor: include to load such rows, quarantine to set "
                "them aside",
            )
        return self._from_low(batch) if column.type.equals(self._type) else batch

    def _from_low(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Without the rows below the lower bound."""
        import pyarrow.compute as pc

        if self._low is None:
            return batch
        column = batch.column(self.name)
        keep = pc.greater_equal(column, self._low)
        if column.null_count:
            keep = pc.fill_null(keep, True)
        kept = batch.filter(keep)
        with self._lock:
            self.skipped += batch.num_rows - kept.num_rows
        return kept

    def unseen_rejected(self, rejected: pa.RecordBatch) -> pa.RecordBatch:
        """The rejected rows that no run before has set aside."""
        rows = self._rejected.unseen(rejected, self._values.before(self._last, self._lookback))
        with self._lock:
            self.skipped += rejected.num_rows - rows.num_rows
        return rows

    def unseen(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows that the table does not hold yet, after the contract; notes the highest cursor value."""
        import pyarrow.compute as pc

        batch = self._from_low(batch)  # the source's column may have been of another type than the contract's
        column = batch.column(self.name)
        if self._boundary is not None and batch.num_rows:
            self._note_boundary(batch, pc.max(column))
        if not self._merges and (self._low is not None or column.null_count):
            old = pc.is_null(column) if self._low is None else pc.fill_null(pc.less_equal(column, self._last), True)
            batch, column = self._drop_seen(batch, old)
        with self._lock:
            self.nulls += column.null_count
            if batch.num_rows > column.null_count:
                highest = pc.max(column)
                if self._highest is None or pc.greater(highest, self._highest).as_py():
                    self._highest = highest
        return batch

    def _note_boundary(self, batch: pa.RecordBatch, highest: Any) -> None:
        """Keep the digests of the rows at the highest value so far and of those without one, those the table has as well as
        new ones.

        Raises: ValidationError: for more rows at one value than a commit should carry.
        """
        import pyarrow.compute as pc

        assert self._boundary is not None
        column = batch.column(self.name)
        with self._lock:
            self._columns = sorted(batch.schema.names)
            if column.null_count:
                self._null_rows.update(row_keys(batch.filter(pc.is_null(column)), batch.schema.names))
                self._check_count(self._null_rows, "no cursor value")
            if not highest.is_valid or (self._boundary_at is not None and pc.less(highest, self._boundary_at).as_py()):
                return
            if self._boundary_at is None or pc.greater(highest, self._boundary_at).as_py():
                self._boundary_at = highest
                self._boundary.clear()
            rows = batch.filter(pc.fill_null(pc.equal(column, highest), False))
            self._boundary.update(row_keys(rows, batch.schema.names))
            self._check_count(self._boundary, f"the cursor value {highest}")

    def _check_count(self, rows: Counter[bytes], what: str) -> None:
        if rows.total() > MAX_ROWS:
            raise ValidationError(
                f"more than {MAX_ROWS:,} rows have {what}",
                details={"column": self.name},
                hint="use target.mode: merge with keys, or a cursor field with finer values",
            )

    def _drop_seen(self, batch: pa.RecordBatch, old: pa.Array) -> tuple[pa.RecordBatch, pa.Array]:
        import pyarrow as pa
        import pyarrow.compute as pc

        positions = pc.indices_nonzero(old)
        if len(positions) == 0:
            return batch, batch.column(self.name)
        window = batch.take(positions)
        keep = [True] * batch.num_rows
        with self._lock:
            if self._seen is None:
                types = {field.name: field.type for field in window.schema}
                self._seen = self._window(window.schema.names, types)
            keys = row_keys(window, window.schema.names)
            for position, key in zip(positions.to_pylist(), keys, strict=True):
                if self._seen[key] > 0:
                    self._seen[key] -= 1
                    self.skipped += 1
                    keep[position] = False
        kept = batch.filter(pa.array(keep))
        return kept, kept.column(self.name)

    def cursor(self, partial: Mapping[str, Any] | None, strategy: str) -> dict[str, Any]:
        """The cursor to commit."""
        value = self._highest
        if value is None or (self._last is not None and value.as_py() < self._last.as_py()):
            value = self._last
        out: dict[str, Any] = {**(partial or {}), "strategy": strategy}
        if rejected := self._rejected.stored(self._values.before(value, self._lookback)):
            out["rejected"] = rejected
        if self._boundary is not None:
            out["boundary"] = self._boundary_of(value)
        if value is None:
            return out
        return {
            **out,
            "field": self.name,
            "type": type_name(self._type),
            "value": self._values.store(value),
            "text": str(value),
        }

    def _boundary_of(self, value: Any) -> dict[str, Any]:
        """The rows at the cursor's value and those without one, those of earlier runs with them."""
        assert self._boundary is not None
        at_value = value is not None and self._boundary_at is not None and self._boundary_at.equals(value)
        rows = self._boundary if at_value else Counter()
        if value is not None and self._last is not None and value.equals(self._last):
            # A source that gives its rows at this value again has them counted already; one that does not, has not.
            rows = rows | self._digests("rows")
        columns = self._columns or list((self._stored.get("boundary") or {}).get("columns", ()))
        found = {"rows": rows, "nulls": self._null_rows | self._digests("nulls")}
        told = {kind: {digest.hex(): n for digest, n in sorted(digests.items())} for kind, digests in found.items()}
        return {"columns": columns, **told}


def is_incremental(job: JobConfig) -> bool:
    """Whether a run of it reads what came since the last."""
    return job.incremental is not None and job.incremental.strategy != "full_refresh"


def leaves_cursor(incremental: Incremental | None, read: ReadPlan) -> bool:
    """Whether a reader left it to the pipeline to find the rows past the cursor."""
    by_field = incremental is not None and incremental.strategy in ("append", "updated_at")
    return by_field and "cursor" not in read.applied


def cursor_column(incremental: Incremental, schema: pa.Schema) -> pa.Field:
    """The cursor's field. Raises: ValidationError: where the data has none of that name."""
    name = incremental.cursor_field
    if name not in schema.names:
        raise ValidationError(
            f"cursor_field {name!r} is not a column of the data", hint=f"columns are: {', '.join(schema.names)}"
        )
    return schema.field(name)
