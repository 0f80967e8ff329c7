"""Which rows belong to the partitions that a run loads: what it reads of a source, and what it replaces of a table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from .arrow import pyarrow, type_name
from .errors import ValidationError


@dataclass(frozen=True)
class PartitionRange:
    """Rows whose `column` is one of `values`, or in [start, end). is_file: the value is the file that rows come from, and the
    source itself has no such column.

    start, end: ISO 8601 with the offset of the partitions' time zone; a column without a zone, or of dates, is compared with
    what the clock showed there.
    """

    column: str
    values: tuple[str, ...] = ()
    start: str | None = None
    end: str | None = None
    is_file: bool = False

    def values_of(self, rows: Any) -> Any:
        """The column of a record batch or table. Raises: ValidationError: where it has none."""
        if self.column not in rows.schema.names:
            raise ValidationError(
                f"the partitions' column {self.column!r} is not a column of the data",
                details={"column": self.column},
                hint=f"columns are: {', '.join(rows.schema.names)}",
            )
        return rows.column(self.column)

    def bounds(self, kind: Any) -> tuple[Any, Any]:
        """Start and end as Arrow scalars of a column's type. Raises: ValidationError: for a type that has no such place."""
        return self._bound(kind, self.start), self._bound(kind, self.end)

    def _bound(self, kind: Any, text: str | None) -> Any:
        pa = pyarrow()
        assert text is not None
        at = datetime.fromisoformat(text)
        if pa.types.is_timestamp(kind):
            return pa.scalar(at if kind.tz else at.replace(tzinfo=None), kind)
        local = at.replace(tzinfo=None)
        if pa.types.is_date(kind) and local == datetime.combine(local.date(), datetime.min.time()):
            return pa.scalar(date(local.year, local.month, local.day), kind)
        raise self._refused(kind, "declare it as a timestamp, or for whole days as a date, in the contract")

    def check_values(self, kind: Any) -> None:
        """Raises: ValidationError: for a type whose values have no one name."""
        types = pyarrow().types
        plain = kind.value_type if types.is_dictionary(kind) else kind
        if not (types.is_string(plain) or types.is_large_string(plain) or types.is_integer(plain)):
            raise self._refused(kind, "partitions by name need a column of text or whole numbers")

    def _refused(self, kind: Any, hint: str) -> ValidationError:
        return ValidationError(
            f"column {self.column!r} is {type_name(kind)}, which the partitions can't be told by",
            details={"column": self.column},
            hint=hint,
        )


@dataclass(frozen=True)
class PartitionSelection:
    """Partitions of a table. ranges: a row is in them where each of these holds. keys: for a person, `2024-01-01..2024-01-31`.
    definition: how the table is divided.
    """

    ranges: tuple[PartitionRange, ...]
    keys: str
    definition: str

    @property
    def file(self) -> PartitionRange | None:
        """Where a partition is a file: the column that holds it, and as its one value the file's key in a cursor."""
        return next((part for part in self.ranges if part.is_file), None)

    def mask(self, rows: Any) -> Any:
        """Whether each row of a record batch or table is in one of the partitions; no where its place is null.

        Raises: ValidationError: where a column is missing, or of a type that partitions can't be told by.
        """
        import pyarrow.compute as pc

        pa = pyarrow()
        found = None
        for part in self.ranges:
            column = part.values_of(rows)
            if part.start is not None:
                low, high = part.bounds(column.type)
                inside = pc.and_(pc.greater_equal(column, low), pc.less(column, high))
            else:
                part.check_values(column.type)
                inside = pc.is_in(column.cast(pa.string()), value_set=pa.array(part.values, pa.string()))
            inside = pc.fill_null(inside, False)
            found = inside if found is None else pc.and_(found, inside)
        return found
