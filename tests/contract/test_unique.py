"""Repeated keys against a set of Python values."""

from __future__ import annotations

import datetime as dt
import threading
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dativo_assets.contract.unique import UniqueIndex

KINDS: dict[str, tuple[Any, Any]] = {
    "int64": (pa.int64(), st.integers(-6, 6) | st.sampled_from([2**63 - 1, -(2**63)])),
    "uint64": (pa.uint64(), st.integers(0, 6) | st.just(2**64 - 1)),
    "int8": (pa.int8(), st.integers(-3, 3)),
    "float": (pa.float64(), st.sampled_from([0.0, -0.0, 1.5, float("nan"), float("inf")])),
    "bool": (pa.bool_(), st.booleans()),
    "date": (pa.date32(), st.dates(dt.date(2013, 1, 1), dt.date(2013, 1, 5))),
    "timestamp": (pa.timestamp("us"), st.integers(0, 3).map(lambda s: dt.datetime(2013, 1, 1, 0, 0, s))),
    "decimal": (pa.decimal128(6, 2), st.integers(-3, 3).map(lambda n: Decimal(n) / 4)),
    "text": (pa.string(), st.text("ab\0", max_size=3) | st.sampled_from(["a" * 8, "a" * 9, "b" * 300, "b" * 301])),
    "binary": (pa.binary(), st.binary(max_size=2)),
}


def mark(value: Any) -> Any:
    if isinstance(value, float):
        return "nan" if value != value else value + 0.0
    return value


@pytest.mark.parametrize(
    "kinds", [*[(kind,) for kind in KINDS], ("int64", "text"), ("text", "text"), ("date", "float")]
)
@given(data=st.data())
def test_a_key_is_repeated_exactly_where_a_set_has_it(kinds: tuple[str, ...], data: Any) -> None:
    types = [KINDS[kind][0] for kind in kinds]
    row = st.tuples(*(st.none() | KINDS[kind][1] for kind in kinds))
    batches = data.draw(st.lists(st.lists(row, max_size=8), max_size=4))
    index, seen = UniqueIndex(types), set()
    for batch in batches:
        skip = data.draw(st.lists(st.booleans(), min_size=len(batch), max_size=len(batch)))
        wanted = []
        for values, left_out in zip(batch, skip, strict=True):
            key = tuple(mark(value) for value in values)
            used = None not in values and not left_out
            wanted.append(used and key in seen)
            if used:
                seen.add(key)
        columns = [pa.array([values[n] for values in batch], types[n]) for n in range(len(types))]
        found = index.repeated(columns, pa.array(skip, pa.bool_()) if any(skip) else None)
        assert (found.to_pylist() if found is not None else [False] * len(batch)) == wanted


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20), st.integers(1, 3)), max_size=12))
def test_sorted_runs_are_held_exactly(runs: list[tuple[int, int, int]]) -> None:
    index, seen = UniqueIndex([pa.int64()]), set()
    for start, length, step in runs:
        keys = [start + step * n for n in range(length)]
        found = index.repeated([pa.array(keys, pa.int64())], None)
        assert (found.to_pylist() if found is not None else [False] * length) == [key in seen for key in keys]
        seen.update(keys)


def test_a_key_whose_bits_mix_to_an_empty_slot_is_held_too() -> None:
    empty = 0x61C8864680B583EB  # the golden ratio's complement, which the mixing takes to 0
    index = UniqueIndex([pa.int64()])
    assert index.repeated([pa.array([9, empty, 3], pa.int64())], None) is None
    found = index.repeated([pa.array([empty, 3, 4], pa.int64())], None)
    assert found is not None
    assert found.to_pylist() == [True, True, False]


@pytest.mark.parametrize("kind", ["int64", "text"])
def test_each_key_is_new_once_however_many_threads_bring_it(kind: str) -> None:
    values = [(n * 7919) % 20_011 for n in range(20_000)]
    data_type = KINDS[kind][0]
    array = pa.array(values, pa.int64()).cast(data_type)
    index = UniqueIndex([data_type])
    fresh: list[int] = []

    def bring(order: int) -> None:
        total = 0
        for start in range(0, len(array), 1_000):
            part = array.slice((start + order * 5_000) % len(array), 1_000)
            found = index.repeated([part], None)
            total += len(part) - (0 if found is None else found.true_count)
        fresh.append(total)

    threads = [threading.Thread(target=bring, args=(order,)) for order in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(fresh) == len(array)


def test_a_table_grows_without_forgetting() -> None:
    index = UniqueIndex([pa.string()])
    array = pa.array([str(n * 31) for n in range(200_000)])
    assert all(index.repeated([array.slice(start, 50_000)], None) is None for start in range(0, 200_000, 50_000))
    again = index.repeated([array], None)
    assert again is not None and again.true_count == 200_000


def test_nested_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="plain columns"):
        UniqueIndex([pa.list_(pa.int64())])
