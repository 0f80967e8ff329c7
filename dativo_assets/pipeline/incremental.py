"""Append by a cursor field, for readers that leave it to the pipeline.

A row is new when its cursor value is above the last commit's. Rows inside the window [last - lookback, last] are compared
with what the table already holds, whole row by whole row, so that equal cursor values on both sides of a run are neither
lost nor doubled. Where the table is not made of files that can be read here, the cursor itself carries digests of the rows
at its value. A target that merges needs neither: a row that comes again replaces itself.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dativo_plugin_sdk import Commit, ConfigurationError, Incremental, ValidationError
from dativo_plugin_sdk.arrow import type_name

if TYPE_CHECKING:
    import pyarrow as pa

_WINDOW_BATCH_ROWS = 16_384
_MAX_BOUNDARY_ROWS = 10_000
"""Rows at one cursor value whose digests a commit carries, at most."""


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
        self._null_cursor = incremental.null_cursor
        self._lock = threading.Lock()
        self._highest: Any = None
        self._boundary_at: Any = None
        self._columns: list[str] = []
        self.skipped = 0
        stored = (base.cursor or {}) if base is not None else {}
        self._last = self._read(stored)
        self._low = self._lower(incremental.lookback_s)
        self._files_back_to = files_back_to
        self._merges = merges
        self._seen: Counter[bytes] | None = None
        self._stored = stored
        self._boundary: Counter[bytes] | None = None
        """Digests of the rows at the highest value; None where the next run asks the table or merges."""
        if not merges and files_back_to is None:
            self._boundary = Counter()
            if incremental.lookback_s and self._last is not None:
                raise ConfigurationError(
                    "lookback compares rows with the table's, and this target's can't be read here",
                    hint="use target.mode: merge with keys, or remove lookback",
                )

    def _read(self, stored: Mapping[str, Any]) -> Any:
        if "value" not in stored:
            return None
        if stored.get("field") != self.name:
            raise ConfigurationError(
                f"the table was loaded by cursor field {stored.get('field')!r}, the job now names {self.name!r}",
                hint="set it back, or run once with --full-refresh",
            )
        if stored.get("type") != type_name(self._type):
            raise ConfigurationError(
                f"cursor field {self.name!r} was {stored.get('type')} and is now {type_name(self._type)}",
                hint="declare its type in the contract, or run once with --full-refresh",
            )
        return self._decoded(stored["value"])

    def _decoded(self, value: Any) -> Any:
        import pyarrow as pa

        if pa.types.is_timestamp(self._type):
            return pa.scalar(value, type=pa.int64()).cast(self._type)
        if pa.types.is_date(self._type):
            return pa.scalar(dt.date.fromisoformat(value), type=self._type)
        return pa.scalar(value, type=pa.string()).cast(self._type)

    def _lower(self, lookback_s: float) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        if self._last is None or not lookback_s:
            return self._last
        if pa.types.is_timestamp(self._type):
            step = pa.scalar(dt.timedelta(seconds=lookback_s), type=pa.duration(self._type.unit))
        elif pa.types.is_date(self._type):
            days = dt.timedelta(days=-(-lookback_s // 86_400))
            return pa.scalar(self._last.as_py() - days, type=self._type)
        elif pa.types.is_integer(self._type) or pa.types.is_floating(self._type):
            step = pa.scalar(lookback_s).cast(self._type)
        else:
            raise ConfigurationError(
                f"lookback needs a number, date or timestamp, and {self.name!r} is {type_name(self._type)}",
                hint="remove lookback, or declare the column's type in the contract",
            )
        return pc.subtract(self._last, step)

    def _window(self, names: Sequence[str]) -> Counter[bytes]:
        """What the table holds in the window, counted by row; read once, when the first such row arrives."""
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
        condition = pc.field(self.name) >= self._low
        batches = rows.to_batches(columns=common, filter=condition, batch_size=_WINDOW_BATCH_ROWS, use_threads=False)
        for batch in batches:
            seen.update(_row_keys(batch, common))
        return seen

    def _is_below(self, commit: Commit) -> bool:
        """Whether no row up to that commit is in the window: none is above its cursor."""
        import pyarrow.compute as pc

        cursor = commit.cursor or {}
        known = (cursor.get("field"), cursor.get("type")) == (self.name, type_name(self._type)) and "value" in cursor
        return known and bool(pc.less(self._decoded(cursor["value"]), self._low).as_py())

    def _carried(self, names: Sequence[str]) -> Counter[bytes]:
        """What the last commit says of the rows at its cursor."""
        boundary = self._stored.get("boundary") or {}
        if boundary and list(boundary["columns"]) != sorted(names):
            raise ValidationError(
                "columns were added or removed, so rows at the last cursor value can't be told from new ones",
                details={"columns": sorted(set(boundary["columns"]) ^ set(names))},
                hint="use target.mode: merge with keys, or run once with --full-refresh",
            )
        return Counter({bytes.fromhex(digest): count for digest, count in boundary.get("rows", {}).items()})

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
                hint="mend the source, or set source.incremental.null_cursor: include to load such rows every time, "
                "quarantine to set them aside",
            )
        if self._low is None or not column.type.equals(self._type):
            return batch
        keep = pc.greater_equal(column, self._low)
        if column.null_count:
            keep = pc.fill_null(keep, True)
        kept = batch.filter(keep)
        with self._lock:
            self.skipped += batch.num_rows - kept.num_rows
        return kept

    def unseen(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows that the table does not hold yet, after the contract; notes the highest cursor value."""
        import pyarrow.compute as pc

        column = batch.column(self.name)
        if self._boundary is not None and batch.num_rows > column.null_count:
            self._note_boundary(batch, pc.max(column))
        if self._low is not None and not self._merges:
            batch, column = self._drop_seen(batch, pc.less_equal(column, self._last))
        if batch.num_rows > column.null_count:
            highest = pc.max(column)
            with self._lock:
                if self._highest is None or pc.greater(highest, self._highest).as_py():
                    self._highest = highest
        return batch

    def _note_boundary(self, batch: pa.RecordBatch, highest: Any) -> None:
        """Keep the digests of the rows at the highest value so far, those the table has as well as new ones.

        Raises: ValidationError: for more rows at one value than a commit should carry.
        """
        import pyarrow.compute as pc

        assert self._boundary is not None
        with self._lock:
            if self._boundary_at is not None and pc.less(highest, self._boundary_at).as_py():
                return
            if self._boundary_at is None or pc.greater(highest, self._boundary_at).as_py():
                self._boundary_at = highest
                self._boundary.clear()
            self._columns = sorted(batch.schema.names)
            rows = batch.filter(pc.equal(batch.column(self.name), highest))
            self._boundary.update(_row_keys(rows, batch.schema.names))
            if sum(self._boundary.values()) > _MAX_BOUNDARY_ROWS:
                raise ValidationError(
                    f"more than {_MAX_BOUNDARY_ROWS:,} rows have the cursor value {highest}",
                    details={"column": self.name},
                    hint="use target.mode: merge with keys, or a cursor field with finer values",
                )

    def _drop_seen(self, batch: pa.RecordBatch, old: pa.Array) -> tuple[pa.RecordBatch, pa.Array]:
        import pyarrow as pa
        import pyarrow.compute as pc

        positions = pc.indices_nonzero(pc.fill_null(old, True))
        if len(positions) == 0:
            return batch, batch.column(self.name)
        window = batch.take(positions)
        keep = [True] * batch.num_rows
        with self._lock:
            if self._seen is None:
                self._seen = self._window(window.schema.names)
            keys = _row_keys(window, window.schema.names)
            for position, key in zip(positions.to_pylist(), keys, strict=True):
                if self._seen[key] > 0:
                    self._seen[key] -= 1
                    self.skipped += 1
                    keep[position] = False
        kept = batch.filter(pa.array(keep))
        return kept, kept.column(self.name)

    def cursor(self, partial: Mapping[str, Any] | None, strategy: str) -> dict[str, Any]:
        """The cursor to commit."""
        import pyarrow as pa

        value = self._highest
        if value is None or (self._last is not None and value.as_py() < self._last.as_py()):
            value = self._last
        out: dict[str, Any] = {**(partial or {}), "strategy": strategy}
        if value is None:
            return out
        if pa.types.is_timestamp(self._type):
            stored: Any = value.cast(pa.int64()).as_py()
        elif pa.types.is_date(self._type):
            stored = value.as_py().isoformat()
        else:
            stored = str(value.cast(pa.string()).as_py())
        if self._boundary is not None:
            out["boundary"] = self._boundary_of(value)
        return {**out, "field": self.name, "type": type_name(self._type), "value": stored, "text": str(value)}

    def _boundary_of(self, value: Any) -> dict[str, Any]:
        """The rows at the cursor's value, those of earlier runs with them."""
        assert self._boundary is not None
        rows = Counter() if self._boundary_at is None or not self._boundary_at.equals(value) else self._boundary
        columns = self._columns
        earlier = self._stored.get("boundary")
        if earlier and self._last is not None and value.equals(self._last):
            # A source that gives its rows at this value again has them counted already; one that does not, has not.
            columns = columns or list(earlier["columns"])
            rows = rows | Counter({bytes.fromhex(digest): count for digest, count in earlier["rows"].items()})
        return {"columns": columns, "rows": {digest.hex(): count for digest, count in sorted(rows.items())}}


def _row_keys(batch: pa.RecordBatch, names: Sequence[str]) -> list[bytes]:
    """A 16-byte digest of each row, the same for equal values whatever the layout of the batch."""
    columns = [batch.column(name).to_pylist() for name in sorted(names)]
    return [
        hashlib.blake2b(repr(row).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        for row in zip(*columns, strict=True)
    ]
