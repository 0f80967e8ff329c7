"""Rows become the same columns natively and in Python, and what does not fit is told in the same words."""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from dativo_plugin_sdk import DativoError, rows, to_batches
from hypothesis import example, given
from hypothesis import strategies as st

ZONE = dt.timezone(dt.timedelta(hours=5, minutes=30))
VALUES = {
    "int64": st.integers(-(2**63), 2**63 - 1),
    "double": st.floats() | st.integers(-(2**53), 2**53),
    "string": st.text(max_size=5),
    "boolean": st.booleans(),
    "binary": st.binary(max_size=5),
    "timestamp": st.datetimes(),
    "date": st.dates(),
}
OTHERS = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=3),
    st.booleans(),
    st.datetimes(timezones=st.just(ZONE)),
    st.dates(),
    st.datetimes(),
    st.decimals(-100, 100, places=2),
    st.lists(st.integers(-5, 5), max_size=2),
    st.dictionaries(st.sampled_from("xy"), st.integers(-5, 5), max_size=2),
    st.times(),
)


def told(batches: list[list[dict[str, Any]]], declared: pa.Schema | None, widen: dict[str, str]) -> Any:
    """The rows that came out, or what was said instead."""
    out = []
    try:
        for batch in to_batches(iter(batches), declared, widen):
            batch.validate(full=True)
            out.append((batch.schema, [list(map(repr, row.values())) for row in batch.to_pylist()]))
    except (DativoError, pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        return out, type(error), str(error), getattr(error, "column", None), getattr(error, "widen_to", None)
    return out


@st.composite
def inputs(draw: Any) -> tuple[list[list[dict[str, Any]]], pa.Schema | None, dict[str, str]]:
    names = ["a", "b", "c"]
    types = {name: draw(st.sampled_from(sorted(VALUES))) for name in names}
    odd = draw(st.sampled_from([0, 0, 1, 5]))

    def row() -> dict[str, Any]:
        found = {}
        for name, kind in types.items():
            chance = draw(st.integers(0, 20))
            if chance < odd:
                found[name] = draw(OTHERS)
            elif chance < 18:
                found[name] = draw(VALUES[kind])
            elif chance < 20:
                found[name] = None
        return found

    batches = [[row() for _ in range(draw(st.integers(1, 4)))] for _ in range(draw(st.integers(1, 3)))]
    declares = draw(st.booleans())
    kinds = {"double": pa.float64(), "boolean": pa.bool_(), "timestamp": pa.timestamp("us"), "date": pa.date32()}
    declared = pa.schema([(n, kinds.get(k) or getattr(pa, k)()) for n, k in types.items()]) if declares else None
    return batches, declared, draw(st.sampled_from([{}, {"a": "string"}, {"b": "double"}]))


@given(inputs())
@example(([[{"a": 1}], [{"a": 1.5}]], None, {}))
@example(([[{"a": 2**53 + 1}]], pa.schema([("a", pa.float64())]), {}))
def test_native_code_and_python_agree(
    case: tuple[list[list[dict[str, Any]]], pa.Schema | None, dict[str, str]],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        natively = told(*case)
        patch.setattr(rows, "_native", lambda: None)
        assert natively == told(*case)


@given(st.lists(st.datetimes() | st.none(), min_size=1), st.lists(st.dates() | st.none(), min_size=1))
@example([dt.datetime(1, 1, 1), dt.datetime(1969, 12, 31, 23, 59, 59, 999999)], [dt.date.min, dt.date.max])
@example([dt.datetime(9999, 12, 31, 23, 59, 59, 999999)], [dt.date(2000, 2, 29)])
def test_every_day_that_python_knows_is_the_same_in_arrow(times: list[Any], days: list[Any]) -> None:
    from dativo_rust_json import Rows

    for values, kind in ((times, pa.timestamp("us")), (days, pa.date32())):
        found, others = Rows(pa.schema([("a", kind)])).convert([{"a": value} for value in values])
        assert not others and pa.record_batch(found).column(0).equals(pa.array(values, type=kind))


class Text(str):
    """Text that says something else of itself."""

    __slots__ = ()


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.int64(), True),
        (pa.int64(), 2**63),
        (pa.float64(), 2**53 + 1),
        (pa.float64(), Decimal(1)),
        (pa.string(), Text("a")),
        (pa.string(), "\ud800"),
        (pa.bool_(), 1),
        (pa.timestamp("us"), dt.datetime(2024, 1, 1, tzinfo=ZONE)),
        (pa.timestamp("us"), dt.date(2024, 1, 1)),
        (pa.date32(), dt.datetime(2024, 1, 1)),
        (pa.null(), 1),
        (pa.decimal128(5, 2), Decimal(1)),
    ],
)
def test_a_value_that_is_not_plainly_of_its_type_is_python_s_with_all_of_its_column(kind: Any, value: Any) -> None:
    from dativo_rust_json import Rows

    batch, others = Rows(pa.schema([("n", pa.int64()), ("a", kind)])).convert([{"n": 1}, {"n": 2, "a": value}])
    assert others == {"a": [None, value]} and others["a"][1] is value
    assert pa.record_batch(batch).to_pylist() == [{"n": 1}, {"n": 2}]


def test_other_keys_and_other_rows_are_python_s() -> None:
    from dativo_rust_json import Rows

    convert = Rows(pa.schema([("n", pa.int64())])).convert
    assert convert([{"n": 1}, {"n": 2, "m": 3}]) is None
    assert convert([{"n": 1}, OrderedDict(n=2)]) is None
    assert convert([{"n": 1}, 2]) is None
    assert convert([{"n": 1}, {1: 2}]) is None
    assert convert([{"n": 1}, {Text("n"): 2}]) is None
    assert convert([])[0].num_rows == 0
