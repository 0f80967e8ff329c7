"""Casts against a naive reading of each value in Python."""

from __future__ import annotations

import datetime as dt
import math
import re
import struct
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from dativo_plugin_sdk.arrow import parse_type
from hypothesis import given
from hypothesis import strategies as st

from dativo_assets.contract.casts import bind_cast

BAD = object()

DIGITS = st.text("0123456789", min_size=1, max_size=22)
NUMBERS = st.builds(
    lambda sign, whole, fraction, exponent: sign + whole + fraction + exponent,
    st.sampled_from(["", "", "-", "+", " "]),
    st.one_of(st.just(""), DIGITS, st.integers(0, 2**64 + 2).map(str)),
    st.one_of(st.just(""), st.just("."), DIGITS.map(lambda d: "." + d), st.just(".500"), st.just("." + "0" * 50)),
    st.one_of(st.just(""), st.just(""), st.sampled_from(["e3", "E-4", "e400", "e-400", "e"])),
)
LONG_S = "\N{LATIN SMALL LETTER LONG S}"  # which a match that ignores case takes for an s
WORDS = st.sampled_from(
    ["nan", "NaN", "NAN", "inf", "-inf", "Infinity", "+inf", "true", "TRUE", "fAlse", "1", "0", "yes"]
    + [f"fal{LONG_S}e", "", " ", "7\n"]
)
DATES = st.one_of(
    st.dates().map(str),
    st.builds("{:04d}-{:02d}-{:02d}".format, st.integers(0, 9999), st.integers(0, 13), st.integers(0, 32)),
    st.sampled_from(["2000-02-29", "1900-02-29", "2013-1-1", "20130101", "0000-01-01", "2013-01-01 "]),
)
TIMES = st.builds(
    "{:02d}:{:02d}:{:02d}{}".format,
    st.integers(0, 24),
    st.integers(0, 60),
    st.integers(0, 60),
    st.one_of(st.just(""), DIGITS.map(lambda d: "." + d[:12]), st.sampled_from([".", ".000000000", ".1230000"])),
)
ZONES = st.sampled_from(["", "", "Z", "+01:00", "-0530", "+24:00", " UTC"])
MOMENTS = st.builds(lambda d, t, s, z: d + s + t + z, DATES, TIMES, st.sampled_from(["T", " ", "  "]), ZONES)
TEXTS = st.lists(st.none() | NUMBERS | WORDS | DATES | MOMENTS | TIMES | st.text(max_size=6), max_size=12)


def read_int(bits: int, signed: bool) -> Callable[[str], Any]:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)

    def read(text: str) -> Any:
        if not re.fullmatch(r"-?(0|[1-9][0-9]*)", text) or (text[0] == "-" and not signed):
            return BAD
        return int(text) if low <= int(text) <= high else BAD

    return read


def read_float(text: str) -> Any:
    if text.lower() in ("nan", "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"):
        return float(text)
    match = re.fullmatch(r"-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?", text)
    if not match:
        return BAD
    value = float(text)
    exact = Decimal(text)
    if math.isinf(value) or (value == 0 and exact != 0):
        return BAD
    if re.fullmatch("-?[0-9]+", text) and int(text) != int(value):
        return BAD
    return value


def read_decimal(precision: int, scale: int) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if not re.fullmatch(r"-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)", text):
            return BAD
        whole, _, fraction = text.lstrip("-").partition(".")
        if not whole and scale == 0:
            return BAD
        fraction = fraction.rstrip("0")
        fits = len(fraction) <= scale and len(whole.lstrip("0")) <= precision - scale
        return Decimal(text) if fits else BAD

    return read


def read_bool(text: str) -> Any:
    known = {"true": True, "false": False}
    return known.get(text.lower(), BAD) if text.isascii() else BAD


def read_date(text: str) -> Any:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return BAD
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return BAD


def read_time(text: str) -> Any:
    match = re.fullmatch(r"([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]+))?)?", text)
    if not match or (match[4] or "")[6:].strip("0"):
        return BAD
    try:
        return dt.time(int(match[1]), int(match[2]), int(match[3] or 0), int((match[4] or "0")[:6].ljust(6, "0")))
    except ValueError:
        return BAD


def read_moment(zoned: bool) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        match = re.fullmatch(r"(.{10})[T ]([0-9:]{8}(?:\.[0-9]+)?)(Z|[+-][0-9]{2}(?::?[0-9]{2})?)?", text)
        if not match or bool(match[3]) != zoned:
            return BAD
        day, time = read_date(match[1]), read_time(match[2])
        if day is BAD or time is BAD:
            return BAD
        moment = dt.datetime.combine(day, time)
        if not zoned:
            return moment
        digits = match[3].replace(":", "")[1:].ljust(4, "0") if match[3] != "Z" else "0000"
        if int(digits[:2]) > 23 or int(digits[2:]) > 59:
            return BAD
        shift = dt.timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
        try:
            return (moment + shift if match[3][0] == "-" else moment - shift).replace(tzinfo=dt.timezone.utc)
        except OverflowError:
            return None

    return read


READERS: dict[str, Callable[[str], Any]] = {
    "int8": read_int(8, True),
    "int64": read_int(64, True),
    "uint8": read_int(8, False),
    "uint64": read_int(64, False),
    "float64": read_float,
    "decimal(5, 2)": read_decimal(5, 2),
    "decimal(3, 0)": read_decimal(3, 0),
    "decimal(4, 4)": read_decimal(4, 4),
    "decimal(38, 9)": read_decimal(38, 9),
    "bool": read_bool,
    "date": read_date,
    "time[us]": read_time,
    "timestamp[us]": read_moment(False),
    "timestamp[us, UTC]": read_moment(True),
}


def run(values: list[Any], source: Any, target: str) -> tuple[list[Any], list[bool]]:
    array = pa.array(values, source)
    cast = bind_cast(array.type, parse_type(target))
    result, bad = (array, None) if cast is None else cast(array)
    assert result.type.equals(parse_type(target))
    assert bad is None or bad.null_count == 0
    return result, [False] * len(values) if bad is None else bad.to_pylist()


@pytest.mark.parametrize("target", READERS)
@pytest.mark.parametrize("source", [pa.string(), pa.large_string()])
@given(values=TEXTS)
def test_text_becomes_a_type_exactly_where_a_naive_reading_says_so(target: str, source: Any, values: list[Any]) -> None:
    wanted = [None if value is None else READERS[target](value) for value in values]
    result, bad = run(values, source, target)
    assert bad == [value is BAD for value in wanted]
    for index, value in enumerate(wanted):
        if value is BAD or value is None:
            continue
        found = result[index].as_py()
        assert found == value or (isinstance(value, float) and math.isnan(value) and math.isnan(found)), values[index]


@pytest.mark.parametrize(
    "text", ["007", "+7", " 7", "7 ", "1.0", "1e3", "", "9223372036854775808", "7\n", "\u0667", "0x10"]
)
def test_what_looks_like_a_number_but_is_none_is_refused(text: str) -> None:
    assert run([text], pa.string(), "int64")[1] == [True]


def test_a_decimal_of_many_zeros_keeps_its_value() -> None:
    result, bad = run(["1." + "0" * 60, "12.3" + "0" * 60], pa.string(), "decimal(5, 1)")
    assert bad == [False, False]
    assert result.to_pylist() == [Decimal("1.0"), Decimal("12.3")]


def test_a_timestamp_beyond_its_unit_is_refused() -> None:
    values = ["3000-01-01 00:00:00", "2013-01-01 00:00:00.123456789", "2013-01-01 00:00:00.1234567891"]
    assert run(values, pa.string(), "timestamp[ns]")[1] == [True, False, True]
    assert run(["2013-01-01 00:00:00.5", "2013-01-01 00:00:00.000"], pa.string(), "timestamp[s]")[1] == [True, False]


def test_nested_text_is_read_as_json() -> None:
    result, bad = run(["[1, 2]", None, "[1, x", '["a"]', "7"], pa.string(), "list<int64>")
    assert bad == [False, False, True, True, True]
    assert result.to_pylist()[:2] == [[1, 2], None]


INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


def in_range(value: int, type_name: str) -> bool:
    bits = int(re.findall(r"\d+", type_name)[0])
    return 0 <= value < 2**bits if type_name[0] == "u" else -(2 ** (bits - 1)) <= value < 2 ** (bits - 1)


@given(st.sampled_from(INTEGERS), st.sampled_from(INTEGERS), st.data())
def test_an_integer_becomes_another_exactly_in_its_range(source: str, target: str, data: Any) -> None:
    bits = int(re.findall(r"\d+", source)[0])
    low, high = (0, 2**bits - 1) if source[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    edge = st.sampled_from([0, 127, 128, 255, 256, 2**31, 2**32 - 1, 2**63 - 1, -128, -129, -(2**63)])
    number = st.one_of(st.integers(low, high), edge.filter(lambda value: low <= value <= high))
    values = data.draw(st.lists(st.none() | number, max_size=8))
    result, bad = run(values, parse_type(source), target)
    assert bad == [value is not None and not in_range(value, target) for value in values]
    assert all(b or result[i].as_py() == values[i] for i, b in enumerate(bad))


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(2**53 - 2, 2**53 + 2), max_size=8))
def test_an_integer_becomes_a_float_up_to_where_floats_have_every_integer(values: list[Any]) -> None:
    result, bad = run(values, pa.int64(), "float64")
    assert bad == [value is not None and abs(value) > 2**53 for value in values]
    assert all(b or result[i].as_py() == values[i] for i, b in enumerate(bad))


@given(st.lists(st.none() | st.floats() | st.integers(-300, 300).map(float), max_size=8))
def test_a_float_becomes_an_integer_only_where_it_is_one(values: list[Any]) -> None:
    for target in ("int8", "int64", "uint64"):
        result, bad = run(values, pa.float64(), target)
        fits = [v is None or (math.isfinite(v) and v == int(v) and in_range(int(v), target)) for v in values]
        assert bad == [not fit for fit in fits]
        assert all(b or result[i].as_py() == values[i] for i, b in enumerate(bad))


@given(st.lists(st.none() | st.floats() | st.floats(width=32), max_size=8))
def test_a_float_is_narrowed_only_where_it_comes_back(values: list[Any]) -> None:
    _, bad = run(values, pa.float64(), "float32")

    def narrow(value: float) -> float:
        try:
            return float(struct.unpack("f", struct.pack("f", value))[0])
        except OverflowError:
            return math.inf

    assert bad == [v is not None and not math.isnan(v) and narrow(v) != v for v in values]


@given(st.lists(st.none() | st.integers(-(10**9), 10**9), max_size=8))
def test_an_integer_becomes_a_decimal_that_has_the_digits(values: list[Any]) -> None:
    result, bad = run(values, pa.int64(), "decimal(5, 2)")
    assert bad == [value is not None and abs(value) >= 1000 for value in values]
    assert all(b or result[i].as_py() == values[i] for i, b in enumerate(bad))


def test_a_float_becomes_a_decimal_only_where_it_comes_back() -> None:
    values = [0.1, 0.125, 1e10, math.nan, -math.inf, None, 5.0]
    result, bad = run(values, pa.float64(), "decimal(5, 2)")
    assert bad == [False, True, True, True, True, False, False]
    assert result.to_pylist()[0] == Decimal("0.10")


def test_decimals_change_only_without_loss() -> None:
    values = [Decimal("1.50"), Decimal("1.25"), Decimal("99999.00"), None]
    kind = pa.decimal128(7, 2)
    assert run(values, kind, "decimal(3, 1)")[1] == [False, True, True, False]
    assert run(values, kind, "int16")[1] == [True, True, True, False]
    assert run([Decimal("3.00"), Decimal("1.50")], kind, "int16")[1] == [False, True]
    assert run(values, kind, "float64")[1] == [False, False, False, False]
    wide = [Decimal("12345678901234567890.12"), Decimal("0.10")]
    assert run(wide, pa.decimal128(30, 2), "float64")[1] == [True, False]


def test_numbers_and_booleans_become_text_as_they_are_written() -> None:
    assert run([1, -5, None], pa.int64(), "string")[0].to_pylist() == ["1", "-5", None]
    assert run([0.1, 1e22], pa.float64(), "string")[0].to_pylist() == ["0.1", "1e+22"]
    assert run([True, False], pa.bool_(), "string")[0].to_pylist() == ["true", "false"]
    assert run([0, 1, 2], pa.int64(), "bool")[1] == [False, False, True]


def test_moments_change_only_without_loss() -> None:
    noon, midnight = dt.datetime(2013, 1, 1, 12), dt.datetime(2013, 1, 1)
    assert run([noon, midnight, None], pa.timestamp("us"), "date")[1] == [True, False, False]
    assert run([dt.date(2013, 1, 1)], pa.date32(), "timestamp[us]")[0].to_pylist() == [midnight]
    fine = dt.datetime(2013, 1, 1, 0, 0, 0, 1)
    assert run([noon, fine], pa.timestamp("us"), "timestamp[s]")[1] == [False, True]
    assert run([dt.datetime(3000, 1, 1), noon], pa.timestamp("us"), "timestamp[ns]")[1] == [True, False]
    zoned = pa.timestamp("us", "Europe/Berlin")
    assert run([dt.datetime(2013, 1, 1, tzinfo=dt.timezone.utc)], zoned, "timestamp[us, UTC]")[1] == [False]


def test_nested_values_change_only_without_loss() -> None:
    assert run([[1, 2], [300], None], pa.list_(pa.int64()), "list<int8>")[1] == [False, True, False]
    assert run([[0.5], [0.1]], pa.list_(pa.float64()), "list<float32>")[1] == [False, True]
    source = pa.struct([("a", pa.int64()), ("b", pa.string())])
    assert run([{"a": 1, "b": None}, {"a": 1, "b": "x"}], source, "struct<a: int64>")[1][1] is True


def test_a_dictionary_and_a_column_of_nulls_arrive_as_the_declared_type() -> None:
    column = pa.array(["1", "x", None, "1"]).dictionary_encode()
    cast = bind_cast(column.type, pa.int64())
    assert cast is not None
    result, bad = cast(column)
    assert result.to_pylist() == [1, None, None, 1]
    assert bad.to_pylist() == [False, True, False, False]
    assert run([None, None], pa.null(), "decimal(5, 2)")[0].to_pylist() == [None, None]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("timestamp[us]", "timestamp[us, UTC]"),
        ("timestamp[us, UTC]", "timestamp[us]"),
        ("date", "timestamp[us, UTC]"),
        ("int64", "timestamp[us]"),
        ("bool", "float64"),
        ("list<int64>", "string"),
        ("struct<a: int64>", "int64"),
        ("date", "int32"),
    ],
)
def test_types_of_which_no_value_is_the_other_are_told_apart(source: str, target: str) -> None:
    with pytest.raises(TypeError):
        bind_cast(parse_type(source), parse_type(target))


def test_text_that_is_sliced_is_cast_where_it_stands() -> None:
    array = pa.array(["x", "1", "y", "2"]).slice(1)
    cast = bind_cast(array.type, pa.int32())
    assert cast is not None
    result, bad = cast(array)
    assert result.to_pylist() == [1, None, 2]
    assert bad.to_pylist() == [False, True, False]
