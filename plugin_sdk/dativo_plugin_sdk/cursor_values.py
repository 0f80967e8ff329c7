"""A cursor's value as a commit keeps it: JSON and back, and how far before it a run looks.

lower_bound(request, incremental, {"at": timestamp}) -> Bound: what a reader may leave out.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .arrow import parse_type, type_name, types_of
from .errors import ConfigurationError
from .models import Incremental, ReadRequest

if TYPE_CHECKING:
    import pyarrow as pa

_FINER = ("s", "ms", "us", "ns")


@dataclass(frozen=True)
class Bound:
    """Rows whose `column` is below `low`, a scalar of the source's own type, were read by earlier runs. A row without a value
    may be new, and one at `low` too.
    """

    column: str
    low: Any


def lower_bound(
    request: ReadRequest, incremental: Incremental | None, types: Mapping[str, pa.DataType]
) -> Bound | None:
    """Where a run of an incremental job begins to read; None where that can't be told: the pipeline, which leaves out the same
    rows, knows why. types: of the source's columns, before any cast that the contract asks for.
    """
    by_value = incremental is not None and incremental.strategy in ("append", "updated_at")
    name = incremental.cursor_field if incremental is not None and by_value else None
    if incremental is None or name is None or request.cursor is None or name not in types or name in request.widen:
        return None
    declared = types_of(request.schema)
    if not types[name].equals(declared.get(name, types[name])):
        return None
    values = CursorValues(name, types[name])
    try:
        low = values.before(values.read(request.cursor), incremental.lookback_s)
    except ConfigurationError:
        return None
    return None if low is None else Bound(name, low)


class CursorValues:
    """Values of one cursor field. data_type: its Arrow type in this run."""

    def __init__(self, name: str, data_type: pa.DataType) -> None:
        self.name, self.type = name, data_type

    def read(self, stored: Mapping[str, Any]) -> Any:
        """The last commit's value as a scalar of this run's type; None where it has none.

        Raises: ConfigurationError: for another field's, or one of a type that can't be compared.
        """
        if "value" not in stored:
            return None
        if stored.get("field") != self.name:
            raise ConfigurationError(
                f"the table was loaded by cursor field {stored.get('field')!r}, the job now names {self.name!r}",
                hint="set it back, or run once with --full-refresh",
            )
        before = parse_type(str(stored.get("type")))
        if not _carries_over(before, self.type):
            raise ConfigurationError(
                f"cursor field {self.name!r} was {type_name(before)} and is now {type_name(self.type)}",
                hint="declare its type in the contract, or run once with --full-refresh",
            )
        return self.parse(stored["value"], before)

    def parse(self, value: Any, data_type: pa.DataType | None = None) -> Any:
        """What `store` made of a scalar. data_type: of the field then."""
        import pyarrow as pa

        before = self.type if data_type is None else data_type
        if pa.types.is_timestamp(before):
            found = pa.scalar(value, type=pa.int64()).cast(before)
        elif pa.types.is_date(before):
            found = pa.scalar(dt.date.fromisoformat(value), type=before)
        else:
            found = pa.scalar(value, type=pa.string()).cast(before)
        return found.cast(self.type)

    def store(self, value: Any) -> Any:
        """A scalar as JSON."""
        import pyarrow as pa

        if pa.types.is_timestamp(self.type):
            return value.cast(pa.int64()).as_py()
        if pa.types.is_date(self.type):
            return value.as_py().isoformat()
        return str(value.cast(pa.string()).as_py())

    def before(self, value: Any, lookback: float) -> Any:
        """The value that lies `lookback` seconds, or units of a number, before this one; None before none.

        Raises: ConfigurationError: for a type that has no such thing.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        if value is None or not lookback:
            return value
        if pa.types.is_timestamp(self.type):
            step = pa.scalar(dt.timedelta(seconds=lookback), type=pa.duration(self.type.unit))
        elif pa.types.is_date(self.type):
            return pa.scalar(value.as_py() - dt.timedelta(days=-(-lookback // 86_400)), type=self.type)
        elif pa.types.is_integer(self.type) or pa.types.is_floating(self.type):
            step = pa.scalar(lookback).cast(self.type)
        else:
            raise ConfigurationError(
                f"lookback needs a number, date or timestamp, and {self.name!r} is {type_name(self.type)}",
                hint="remove lookback, or declare the column's type in the contract",
            )
        return pc.subtract(value, step)


def _carries_over(before: pa.DataType, now: pa.DataType) -> bool:
    """Whether a value of the type before is one of the type now, and is compared as the same: instants, whatever their zone."""
    import pyarrow as pa

    if before.equals(now):
        return True
    if pa.types.is_timestamp(before) and pa.types.is_timestamp(now):
        finer = _FINER.index(now.unit) >= _FINER.index(before.unit)
        return finer and (before.tz is None) == (now.tz is None)
    for kind in (pa.types.is_signed_integer, pa.types.is_unsigned_integer, pa.types.is_floating):
        if kind(before) and kind(now):
            return bool(now.bit_width >= before.bit_width)
    return False
