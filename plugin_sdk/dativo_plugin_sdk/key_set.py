"""The keys of some rows, and where each of them is in other rows: of any types, one column or several, on Arrow alone."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any

from .arrow import int64, pyarrow

Bounds = tuple[Any, Any]
"""The lowest and the highest value of a column, as Python has them."""


class KeySet:
    """Distinct keys, numbered from 0. columns: one array of n values a key column, none of them null.

    codes: the number of each of the n rows' keys. size: how many keys there are.
    """

    def __init__(self, columns: Sequence[Any]) -> None:
        import pyarrow.compute as pc

        self._values: list[_Ordered] = []
        self._pairs: list[_Ordered] = []
        self.codes: Any = None
        for column in columns:
            values = _Ordered(pc.unique(column))
            code = values.find(column, values.all)
            self._values.append(values)
            if self.codes is not None:
                paired = _paired(self.codes, code, values.size)
                pairs = _Ordered(pc.unique(paired))
                self._pairs.append(pairs)
                code = pairs.find(paired, pairs.all)
            self.codes = code
        self.size = (self._pairs or self._values)[-1].size

    def within(self, bounds: Sequence[Bounds | None]) -> KeySpan:
        """The keys each of whose columns may lie within its bounds; None where those are not known."""
        spans = []
        for at, values in enumerate(self._values):
            span = values.span(bounds[at])
            spans.append((values, span))
            if at:
                before, pairs = spans[-2][1], self._pairs[at - 1]
                spans.append((pairs, pairs.span((before.start * values.size, before.stop * values.size - 1))))
        return KeySpan(spans)


class KeySpan:
    """Some of the keys of a set, neighbours in every column. size: how many at most."""

    def __init__(self, spans: Sequence[tuple[_Ordered, range]]) -> None:
        self._spans = spans
        self.size = len(spans[-1][1]) if all(span for _, span in spans) else 0

    def find(self, columns: Sequence[Any]) -> Any:
        """The number of each row's key, null where it is none of these."""
        (values, span), *more = self._spans
        codes = values.find(columns[0], span)
        for at, column in enumerate(columns[1:]):
            (values, span), (pairs, pair_span) = more[2 * at : 2 * at + 2]
            codes = pairs.find(_paired(codes, values.find(column, span), values.size), pair_span)
        return codes


class _Ordered:
    """Distinct values, in their order where Python's comparison agrees with Arrow's."""

    def __init__(self, values: Any) -> None:
        import pyarrow.compute as pc

        pa = pyarrow()
        self.size = len(values)
        self.all = range(self.size)
        self._sorted = not pa.types.is_floating(values.type)  # a NaN is within no bounds
        try:
            self._values = values.take(pc.sort_indices(values)) if self._sorted else values
        except pa.ArrowNotImplementedError:
            self._sorted, self._values = False, values

    def span(self, bounds: Bounds | None) -> range:
        """The places of the values within bounds; all where they can't be compared."""
        if bounds is None or not self._sorted:
            return self.all
        try:
            first = bisect_left(self._values, bounds[0], key=_python)
            return range(first, bisect_right(self._values, bounds[1], first, key=_python))
        except (TypeError, ValueError):
            return self.all

    def find(self, column: Any, span: range) -> Any:
        """The place of each row's value, null where it is none of the span's."""
        import pyarrow.compute as pc

        pa = pyarrow()
        kind = self._values.type
        column = column if column.type.equals(kind) else column.cast(kind)
        found = pc.index_in(column, value_set=self._values.slice(span.start, len(span)))
        return pc.add(found, int64(span.start).cast(pa.int32())) if span.start else found


def _python(value: Any) -> Any:
    return value.as_py()


def _paired(left: Any, right: Any, width: int) -> Any:
    import pyarrow.compute as pc

    wide = pyarrow().int64()
    return pc.add(pc.multiply(left.cast(wide), int64(width)), right.cast(wide))
