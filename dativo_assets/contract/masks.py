"""Boolean arrays without nulls, one entry a row: true marks a violation. None stands for no violation at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

Array: TypeAlias = Any  # a pyarrow.Array; pyarrow has no types of its own
Mask: TypeAlias = Any  # a pyarrow.BooleanArray without nulls


def failing(ok: Array) -> Mask | None:
    """The rows where a test that is null for null values says no."""
    if pc.all(ok, min_count=0).as_py():
        return None
    return pc.fill_null(pc.invert(ok), False)


def marked(bad: Array) -> Mask | None:
    """The rows where a test that is null for null values says yes."""
    if not pc.any(bad, min_count=0).as_py():
        return None
    return pc.fill_null(bad, False)


def either(left: Mask | None, right: Mask | None) -> Mask | None:
    if left is None or right is None:
        return left if right is None else right
    return pc.or_(left, right)


def without(array: Array, bad: Mask | None) -> Array:
    """The array with null in the rows marked."""
    return array if bad is None else pc.if_else(bad, pa.scalar(None, array.type), array)


def find_failing(array: Array, convert: Callable[[Array], Array]) -> Mask:
    """The rows that `convert` refuses, by halving: for conversions that say only that some row failed."""
    bad: list[int] = []
    open_ranges = [(0, len(array))]
    while open_ranges:
        start, length = open_ranges.pop()
        try:
            part = array.slice(start, length)
            # A cast of a sliced list looks at every item behind it; a copy has those of the slice alone.
            convert(part.take(pa.array(range(length))) if pa.types.is_nested(array.type) else part)
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            if length == 1:
                bad.append(start)
            else:
                half = length // 2
                open_ranges += [(start, half), (start + half, length - half)]
    return at_positions(bad, len(array))


def at_positions(positions: list[int], length: int) -> Mask:
    """A mask of `length` rows with the positions marked."""
    flags = bytearray(length)
    for position in positions:
        flags[position] = 1
    return pa.array(flags, pa.uint8()).cast(pa.bool_()) if length else pa.array([], pa.bool_())
