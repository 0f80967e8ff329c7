"""Each rule over a column against the same rule over each value in Python."""

from __future__ import annotations

import datetime as dt
import math
import re
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dativo_assets.contract.model import Column, Constraints
from dativo_assets.contract.rules import compile_rules
from dativo_assets.contract.values import bind_rule

NUMBERS: dict[str, tuple[Any, Any, Any]] = {
    "int8": (pa.int8(), st.integers(-128, 127), st.integers(-200, 200) | st.floats(-3, 3)),
    "uint64": (pa.uint64(), st.integers(0, 2**64 - 1), st.integers(-2, 2**64 + 2)),
    "int64": (pa.int64(), st.integers(-9, 9), st.integers(-9, 9) | st.sampled_from([math.inf, -math.inf, 2.5])),
    "float64": (pa.float64(), st.floats(), st.floats(allow_nan=False) | st.integers(-5, 5)),
    "decimal": (
        pa.decimal128(6, 2),
        st.integers(-999999, 999999).map(lambda n: Decimal(n) / 100),
        st.integers(-(10**8), 10**8).map(lambda n: n / 1000) | st.just("12.345") | st.integers(-(10**20), 10**20),
    ),
}


def violations(data_type: Any, values: list[Any], **constraints: Any) -> list[bool]:
    column = Column("c", "string", constraints=Constraints(**constraints))
    array = pa.array(values, data_type)
    found = [False] * len(values)
    for rule in compile_rules((column,), ())[1:]:
        mask = bind_rule(rule, data_type)(array)
        assert mask is None or (mask.null_count == 0 and mask.true_count > 0)
        if mask is not None:
            found = [one or other for one, other in zip(found, mask.to_pylist(), strict=True)]
    return found


def number(value: Any) -> Any:
    return Decimal(str(value)) if not isinstance(value, float) or math.isfinite(value) else value


@pytest.mark.parametrize("kind", NUMBERS)
@given(data=st.data())
def test_bounds_hold_for_numbers_as_they_do_in_python(kind: str, data: Any) -> None:
    data_type, one, bound = NUMBERS[kind]
    values = data.draw(st.lists(st.none() | one, max_size=8))
    limit = data.draw(bound)
    if kind == "float64":
        exact, limit = values, float(limit)
        wanted_limit: Any = limit
    else:
        exact = [None if v is None else number(v) for v in values]
        wanted_limit = number(limit)
    tests = {
        "min": lambda v: v >= wanted_limit,
        "max": lambda v: v <= wanted_limit,
        "exclusive_min": lambda v: v > wanted_limit,
        "exclusive_max": lambda v: v < wanted_limit,
    }
    for name, test in tests.items():
        wanted = [v is not None and not test(v) for v in exact]
        assert violations(data_type, values, **{name: limit}) == wanted, name


def test_nan_keeps_no_bound_and_infinity_keeps_those_it_is_within() -> None:
    values = [math.nan, math.inf, -math.inf, None, 1.0]
    assert violations(pa.float64(), values, min=0) == [True, False, True, False, False]
    assert violations(pa.float32(), values, max=5) == [True, True, False, False, False]


def test_bounds_hold_for_days_moments_and_times() -> None:
    days = [dt.date(2013, 1, 1), dt.date(2012, 12, 31), None]
    assert violations(pa.date32(), days, min="2013-01-01") == [False, True, False]
    moments = [dt.datetime(2013, 1, 1, 0, 0, 1), dt.datetime(2013, 1, 1)]
    assert violations(pa.timestamp("us"), moments, max="2013-01-01") == [True, False]
    zoned = [moment.replace(tzinfo=dt.timezone.utc) for moment in moments]
    assert violations(pa.timestamp("us", "UTC"), zoned, exclusive_min="2013-01-01T01:00:00+01:00") == [False, True]
    assert violations(pa.time64("us"), [dt.time(9), dt.time(8, 59)], min="09:00") == [False, True]


TEXTS = st.lists(st.none() | st.text("ab\u00e9\U0001f600 ", max_size=6), max_size=9)


@given(TEXTS, st.sampled_from(["a", "^a", "b$", "^[ab]+$", "^$", "a.b", "\u00e9", "(?i)A"]))
def test_a_pattern_is_found_as_python_finds_it(values: list[Any], pattern: str) -> None:
    assert violations(pa.string(), values, pattern=pattern) == [
        value is not None and re.search(pattern, value) is None for value in values
    ]


@given(TEXTS, st.integers(0, 7), st.integers(0, 7))
def test_lengths_are_characters(values: list[Any], least: int, most: int) -> None:
    for data_type in (pa.string(), pa.large_string()):
        assert violations(data_type, values, min_length=least, max_length=most) == [
            value is not None and not least <= len(value) <= most for value in values
        ]


@given(TEXTS, st.lists(st.text("ab", max_size=2) | st.none(), max_size=4))
def test_accepted_values_are_the_only_ones(values: list[Any], accepted: list[Any]) -> None:
    wanted = [value is not None and value not in accepted for value in values]
    assert violations(pa.string(), values, accepted_values=tuple(accepted)) == wanted


def test_listed_values_are_read_as_the_column_s_type() -> None:
    assert violations(pa.string(), ["1", "true", "x"], accepted_values=(1, True)) == [False, False, True]
    assert violations(pa.int64(), [1, 2, None], accepted_values=("1", 3)) == [False, True, False]
    assert violations(pa.decimal128(5, 2), [Decimal("0.10"), Decimal("0.11")], accepted_values=(0.1,)) == [False, True]
    assert violations(pa.date32(), [dt.date(2013, 1, 1), None], accepted_values=("2013-01-02",)) == [True, False]


def test_lists_and_bytes_have_lengths_too() -> None:
    assert violations(pa.list_(pa.int64()), [[1], [], None], min_length=1) == [False, True, False]
    assert violations(pa.binary(), [b"abc", b"a"], max_length=2) == [True, False]


def test_few_distinct_values_in_many_rows_are_checked_the_same() -> None:
    values = (["a", None, "b"] * 4_000)[:10_001]
    wanted = [value == "b" for value in values]
    assert violations(pa.string(), values, pattern="^a$") == wanted
    assert violations(pa.string(), ["a", None] * 5_000, pattern="^a$") == [False] * 10_000


@pytest.mark.parametrize(
    ("data_type", "constraints", "reason"),
    [
        (pa.string(), {"min": 1}, "needs a number"),
        (pa.int64(), {"min": "abc"}, "is no number"),
        (pa.int64(), {"pattern": "a"}, "needs text"),
        (pa.string(), {"pattern": "(?=a)"}, "lookahead"),
        (pa.int64(), {"max_length": 3}, "needs text"),
        (pa.date32(), {"min": "yesterday"}, "is no date"),
        (pa.timestamp("us"), {"min": "2013-01-01T00:00:00Z"}, "must have no zone"),
        (pa.timestamp("us", "UTC"), {"min": "2013-01-01"}, "needs a zone"),
        (pa.int64(), {"accepted_values": (1.5,)}, "is no integer"),
        (pa.int8(), {"accepted_values": (1000,)}, "listed value"),
        (pa.bool_(), {"accepted_values": ("yes",)}, "is no boolean"),
        (pa.time64("us"), {"min": "noon"}, "is no time"),
    ],
)
def test_a_rule_that_makes_no_sense_for_its_type_is_refused(data_type: Any, constraints: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        violations(data_type, [], **constraints)


def test_every_rule_has_a_name_of_its_own_that_stays() -> None:
    columns = (
        Column("a b", required=True, unique=True, constraints=Constraints(pattern="x", min_length=1)),
        Column("a-b", required=True),
        Column("\u00fc", required=True),
    )
    rules = compile_rules(columns, ())
    names = [rule.name for rule in rules]
    assert names == [
        "types",
        "a_b_not_null",
        "a_b_unique",
        "a_b_pattern",
        "a_b_min_length",
        "a_b_not_null_2",
        "__not_null",
    ]
    assert all(re.fullmatch("[A-Za-z0-9_]+", name) for name in names)
