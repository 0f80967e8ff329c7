"""Keys are found in other rows as a dictionary finds them, also where only those within bounds are looked at."""

from __future__ import annotations

from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

import pyarrow as pa
from dativo_plugin_sdk.key_set import Bounds, KeySet
from hypothesis import given
from hypothesis import strategies as st

TYPES: list[tuple[pa.DataType, list[Any]]] = [
    (pa.int64(), [-(2**63), -7, 0, 1, 2**62]),
    (pa.string(), ["", "Z", "a", "aa", "\u00e9", "\U0001f600", "\uffff"]),
    (pa.binary(), [b"", b"\x00", b"\x7f", b"\xff"]),
    (pa.bool_(), [False, True]),
    (pa.float64(), [-1.5, 0.0, 2.5, float("inf"), float("nan")]),
    (pa.decimal128(9, 2), [Decimal("-1.25"), Decimal("0.00"), Decimal("3.10")]),
    (pa.date32(), [date(1969, 12, 31), date(1970, 1, 1), date(2026, 2, 3)]),
    (pa.timestamp("us", "UTC"), [datetime(1960, 1, 1, tzinfo=timezone.utc), datetime(2026, 1, 1, tzinfo=timezone.utc)]),
]


@st.composite
def _rows(draw: st.DrawFn) -> tuple[list[pa.DataType], list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Types of key columns, rows with keys, and rows to find them in, some of which lack a value."""
    columns = draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=3))
    key = st.tuples(*(st.sampled_from(values) for _, values in columns))
    other = st.tuples(*(st.sampled_from([*values, None]) for _, values in columns))
    rows, others = draw(st.lists(key, min_size=1, max_size=20)), draw(st.lists(other, min_size=1, max_size=8))
    return [kind for kind, _ in columns], rows, others


def _arrays(types: list[pa.DataType], rows: list[tuple[Any, ...]]) -> list[pa.Array]:
    return [pa.array([row[at] for row in rows], kind) for at, kind in enumerate(types)]


def _bounds(values: list[Any]) -> tuple[Any, Any] | None:
    """As the statistics of a Parquet file have them: they leave nulls and NaN out."""
    known = [value for value in values if value is not None and value == value]
    return (min(known), max(known)) if known else None


@given(_rows())
def test_keys_are_found_within_the_bounds_of_the_rows(
    drawn: tuple[list[pa.DataType], list[tuple[Any, ...]], list[tuple[Any, ...]]],
) -> None:
    types, rows, others = drawn
    keys = KeySet(_arrays(types, rows))
    numbers = dict(zip(map(repr, rows), keys.codes.to_pylist(), strict=True))
    assert sorted(set(numbers.values())) == list(range(keys.size))
    expected = [numbers.get(repr(row)) for row in others]
    columns = _arrays(types, others)
    for bounds in ([None] * len(types), [_bounds([row[at] for row in others]) for at in range(len(types))]):
        assert keys.within(bounds).find(columns).to_pylist() == expected


def test_only_keys_that_bounds_leave_room_for_are_looked_at() -> None:
    keys = KeySet([pa.array([5, 1, 9, 5, 7]), pa.array(["b", "a", "c", "d", "b"])])
    bounds: list[list[Bounds | None]] = [[(5, 7), None], [(2, 4), None], [(1, 9), ("x", "z")], [(6, 9), ("a", "b")]]
    assert [keys.within(known).size for known in bounds] == [3, 0, 0, 2]
    assert keys.within([("x", "y"), None]).size == 5, "what can't be compared says nothing"
