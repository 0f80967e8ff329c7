"""The keys of some rows, and where each of them is in other rows: of any types, one column or several, on Arrow alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .arrow import int64, pyarrow


class KeySet:
    """Distinct keys, numbered from 0. columns: one array of n values a key column, none of them null.

    codes: the number of each of the n rows' keys. size: how many keys there are.
    """

    def __init__(self, columns: Sequence[Any]) -> None:
        import pyarrow.compute as pc

        self._types = [column.type for column in columns]
        self._values: list[Any] = []
        self._pairs: list[Any] = []
        self.codes: Any = None
        for column in columns:
            values = pc.unique(column)
            code = pc.index_in(column, value_set=values)
            self._values.append(values)
            if self.codes is not None:
                paired = _paired(self.codes, code, len(values))
                self._pairs.append(pc.unique(paired))
                code = pc.index_in(paired, value_set=self._pairs[-1])
            self.codes = code
        self.size = len((self._pairs or self._values)[-1])
        self._bounds = [pc.min_max(values) for values in self._values]

    def find(self, columns: Sequence[Any]) -> Any:
        """The number of each row's key, null where it is none of these."""
        import pyarrow.compute as pc

        codes: Any = None
        for at, column in enumerate(columns):
            kind = self._types[at]
            code = pc.index_in(column if column.type.equals(kind) else column.cast(kind), value_set=self._values[at])
            if codes is not None:
                paired = _paired(codes, code, len(self._values[at]))
                code = pc.index_in(paired, value_set=self._pairs[at - 1])
            codes = code
        return codes

    def may_be_within(self, at: int, low: Any, high: Any) -> bool:
        """Whether a value of key column `at` lies between two Python values; yes where they can't be compared."""
        try:
            return bool(low <= self._bounds[at]["max"].as_py() and high >= self._bounds[at]["min"].as_py())
        except TypeError:
            return True


def _paired(left: Any, right: Any, width: int) -> Any:
    import pyarrow.compute as pc

    wide = pyarrow().int64()
    return pc.add(pc.multiply(left.cast(wide), int64(width)), right.cast(wide))
