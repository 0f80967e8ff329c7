"""What a run's rows look like: a few of them, and for each column nulls, distinct values, least and greatest.

It looks at whole batches while they pass, as long as that takes a small share of the run: all of a small table, an even sample of
a large one.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from .result import RunResult
    from .settings import RunSettings

_ROWS_SHOWN = 5
_FREE_S = 0.03
_SHARE = 0.01
_MOST_DISTINCT = 10_000
_TEXT_CHARACTERS = 60


@dataclass
class ColumnProfile:
    """distinct: None above 10,000, and for what can't be compared. least, greatest: None where the type has no order."""

    name: str
    type: str
    nulls: int = 0
    distinct: int | None = 0
    least: Any = None
    greatest: Any = None


@dataclass
class Profile:
    """rows: those looked at. sample: the first rows."""

    rows: int = 0
    columns: dict[str, ColumnProfile] = field(default_factory=dict)
    sample: list[dict[str, Any]] = field(default_factory=list)


class Profiler:
    """Fed by all workers of a run. started: of `time.perf_counter`."""

    def __init__(self) -> None:
        self.profile = Profile()
        self._started = time.perf_counter()
        self._spent_s = 0.0
        self._lock = threading.Lock()
        self._values: dict[str, pa.Array | None] = {}

    def see(self, batch: Any) -> None:
        """Look at a batch of written rows, unless that would cost too much or somebody looks at another one."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            begun = time.perf_counter()
            if self._spent_s > _FREE_S + _SHARE * (begun - self._started):
                return
            self._look(batch)
            self._spent_s += time.perf_counter() - begun
        finally:
            self._lock.release()

    def _look(self, batch: Any) -> None:
        import pyarrow as pa

        known = batch if isinstance(batch, pa.RecordBatch) else pa.record_batch(batch)
        profile = self.profile
        missing = _ROWS_SHOWN - len(profile.sample)
        if missing > 0:
            profile.sample.extend(known.slice(0, missing).to_pylist())
        for name, column in zip(known.schema.names, known.columns, strict=True):
            found = profile.columns.setdefault(name, ColumnProfile(name, str(column.type)))
            found.nulls += column.null_count
            self._bounds(found, column)
            self._distinct(found, column)
        profile.rows += known.num_rows

    def _bounds(self, found: ColumnProfile, column: pa.Array) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        try:
            bounds = pc.min_max(column).as_py()
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
            return
        if bounds["min"] is not None:
            known = found.least is not None
            found.least = min(found.least, bounds["min"]) if known else bounds["min"]
            found.greatest = max(found.greatest, bounds["max"]) if known else bounds["max"]

    def _distinct(self, found: ColumnProfile, column: pa.Array) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        if found.distinct is None:
            return
        try:
            values = pc.unique(column.drop_null())
            before = self._values.get(found.name)
            if before is not None:
                values = pc.unique(pa.concat_arrays([before, values]))
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowTypeError):
            found.distinct = None
            return
        enough = len(values) > _MOST_DISTINCT
        found.distinct = None if enough else len(values)
        self._values[found.name] = None if enough else values


def profiler(settings: RunSettings, result: RunResult) -> Profiler | None:
    """What fills the result's profile, where the settings ask for one."""
    if not settings.profile:
        return None
    found = Profiler()
    result.profile = found.profile
    return found


def shown(value: Any, masked: bool = False) -> str:
    """A value for a person, short; personal data as stars."""
    if value is None:
        return ""
    if masked:
        return "***"
    text = value.hex() if isinstance(value, bytes) else str(value)
    return text if len(text) <= _TEXT_CHARACTERS else text[: _TEXT_CHARACTERS - 1] + "…"
