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
from dativo_plugin_sdk.cursor_values import CursorValues

from dativo_assets.contract.origin import ORIGIN_NAMES

from .cursor_part import CursorPart, Met, check_count, is_above
from .digests import RejectedRows, row_keys

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
        self.values = CursorValues(field.name, field.type)
        self.null_cursor = incremental.null_cursor
        self._lookback = incremental.lookback_s
        self._lock = threading.Lock()
        self._met = Met()
        self._leading: Any = None
        stored = (base.cursor or {}) if base is not None else {}
        self._stored = stored
        self.last = self.values.read(stored)
        self.low = self.values.before(self.last, self._lookback)
        self._rejected = RejectedRows(self.values, stored.get("rejected", {}), ORIGIN_NAMES)
        self._files_back_to = files_back_to
        self.merges = merges
        self._seen: Counter[bytes] | None = None
        self._taken: Counter[bytes] = Counter()
        self.notes_boundary = not merges and files_back_to is None
        """Whether the commit carries digests of the rows at the highest value: else the next run asks the table, or merges."""
        if self.notes_boundary and incremental.lookback_s and self.last is not None:
            raise ConfigurationError(
                "lookback compares rows with the table's, and this target's can't be read here",
                hint="use target.mode: merge with keys, or remove lookback",
            )

    @property
    def skipped(self) -> int:
        """Rows that were left out, as far as parts were gathered."""
        return self._met.skipped

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person may want to know of it."""
        nulls = f"{self._met.nulls:,} rows have no value of {self.name}, the cursor" if self._met.nulls else ""
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
        if self.low is not None:
            condition = condition | (pc.field(self.name) >= self.low)
        batches = rows.to_batches(columns=common, filter=condition, batch_size=_WINDOW_BATCH_ROWS, use_threads=False)
        for batch in batches:
            seen.update(row_keys(batch, common))
        return seen

    def _is_below(self, commit: Commit) -> bool:
        """Whether no row up to that commit is in the window: none is above its cursor, and none is without one."""
        import pyarrow.compute as pc

        cursor = commit.cursor or {}
        if self.low is None or self.null_cursor == "include" or "value" not in cursor:
            return False
        try:
            return bool(pc.less(self.values.read(cursor), self.low).as_py())
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

    def part(self) -> CursorPart:
        """The same filter, with notes of its own; `gather` takes them."""
        return CursorPart(self)

    def gather(self, met: Met) -> None:
        """Take what a part has met. Raises: ValidationError: for more rows at one value than a commit should carry."""
        with self._lock:
            self._met.add(met)
            if self.notes_boundary:
                check_count(self.name, self._met.null_rows, "no cursor value")
                check_count(self.name, self._met.boundary, f"the cursor value {self._met.boundary_at}")

    def restore(self, told: Mapping[str, Any]) -> None:
        """Take what a part of another run told, before any row of this one; it began with the same commit."""
        met = Met.from_dict(told, self.values)
        self.gather(met)
        self._taken.update(met.taken)
        self._rejected.restore(met)

    def leads(self, value: Any) -> bool:
        """Whether no part has met a higher value so far."""
        with self._lock:
            if self._leading is not None and is_above(self._leading, value):
                return False
            self._leading = value
            return True

    def seen(self, window: pa.RecordBatch, met: Met) -> tuple[list[bool], bool]:
        """Which rows of the window the table holds, each of its rows once; and whether those it holds no more of were never
        there, rather than met by others.
        """
        names, alone, found = window.schema.names, True, []
        keys = row_keys(window, names)
        with self._lock:
            if self._seen is None:
                self._seen = self._window(names, {field.name: field.type for field in window.schema})
                self._seen.subtract({key: n for key, n in self._taken.items() if key in self._seen})
            for key in keys:
                there = self._seen[key] > 0
                if there:
                    self._seen[key] -= 1
                    met.taken[key] += 1
                elif key in self._seen:
                    alone = False
                found.append(there)
        return found, alone

    def rejects(self, rejected: pa.RecordBatch, met: Met) -> tuple[pa.RecordBatch, bool]:
        """The rejected rows that no earlier run has set aside; and whether that is so whatever other parts have met."""
        return self._rejected.unseen(rejected, self.values.before(self.last, self._lookback), met)

    def cursor(self, partial: Mapping[str, Any] | None, strategy: str) -> dict[str, Any]:
        """The cursor to commit."""
        value = self._met.highest
        if value is None or (self.last is not None and value.as_py() < self.last.as_py()):
            value = self.last
        out: dict[str, Any] = {**(partial or {}), "strategy": strategy}
        if rejected := self._rejected.stored(self.values.before(value, self._lookback)):
            out["rejected"] = rejected
        if self.notes_boundary:
            out["boundary"] = self._boundary_of(value)
        if value is None:
            return out
        return {
            **out,
            "field": self.name,
            "type": type_name(self.values.type),
            "value": self.values.store(value),
            "text": str(value),
        }

    def _boundary_of(self, value: Any) -> dict[str, Any]:
        """The rows at the cursor's value and those without one, those of earlier runs with them."""
        met = self._met
        at_value = value is not None and met.boundary_at is not None and met.boundary_at.equals(value)
        rows = met.boundary if at_value else Counter()
        if value is not None and self.last is not None and value.equals(self.last):
            # A source that gives its rows at this value again has them counted already; one that does not, has not.
            rows = rows | self._digests("rows")
        columns = met.columns or list((self._stored.get("boundary") or {}).get("columns", ()))
        found = {"rows": rows, "nulls": met.null_rows | self._digests("nulls")}
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
