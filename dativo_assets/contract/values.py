"""Rules about one column's values, bound to its type: column -> the rows that break the rule. Null breaks none but `required`."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from dativo_plugin_sdk.arrow import type_name

from .casts import is_text
from .literals import day, decimal, integer_bound, integer_limits, moment, rounded_decimal, time
from .masks import Array, Mask, failing, marked
from .model import Rule

Check = Callable[[Array], "Mask | None"]

_SCAN_ROWS = 4096
_SPECIAL = frozenset("\\.^$*+?{}[]|()")
_MAX_DISTINCT_SHARE = 8


def bind_rule(rule: Rule, data_type: Any) -> Check:
    """Raises: ValueError: when the rule makes no sense for the column's type; the text says why."""
    parameters = rule.parameters
    if rule.kind == "required":
        return lambda array: None if array.null_count == 0 else array.is_null()
    if rule.kind in ("min", "max"):
        return _bound(rule.kind == "min", parameters["value"], parameters["exclusive"], data_type)
    if rule.kind == "pattern":
        return _pattern(parameters["pattern"], data_type)
    if rule.kind in ("accepted_values", "rejected_values"):
        return _membership(parameters["values"], data_type, accepted=rule.kind == "accepted_values")
    return _length(rule.kind == "min_length", parameters["value"], data_type)


def _bound(least: bool, value: Any, exclusive: bool, data_type: Any) -> Check:
    if pa.types.is_integer(data_type):
        return _integer_bound(least, value, exclusive, data_type)
    scalar, exclusive = _bound_scalar(least, value, exclusive, data_type)
    if scalar is None:
        return lambda array: None
    above, below = (pc.greater, pc.less) if exclusive else (pc.greater_equal, pc.less_equal)
    test = above if least else below
    return lambda array: failing(test(array, scalar))


def _integer_bound(least: bool, value: Any, exclusive: bool, data_type: Any) -> Check:
    lowest, highest = integer_limits(type_name(data_type))
    bound = integer_bound(least, value, exclusive, lowest, highest)
    if (bound <= lowest) if least else (bound >= highest):
        return lambda array: None
    if (bound > highest) if least else (bound < lowest):
        return lambda array: marked(array.is_valid())
    scalar = pa.scalar(bound, data_type)
    test = pc.greater_equal if least else pc.less_equal
    return lambda array: failing(test(array, scalar))


def _bound_scalar(least: bool, value: Any, exclusive: bool, data_type: Any) -> tuple[Any, bool]:
    """The bound as a value of the column's type; None where every value keeps it."""
    types = pa.types
    if types.is_floating(data_type):
        return pa.scalar(float(decimal(value)), data_type), exclusive
    if types.is_decimal(data_type):
        number = decimal(value)
        if number.is_infinite():
            number = Decimal(10) ** (data_type.precision - data_type.scale) * (1 if number > 0 else -1)
        rounded = rounded_decimal(number, data_type.scale, up=least)
        wide = pa.decimal256(76, data_type.scale) if data_type.precision > 36 else pa.decimal128(38, data_type.scale)
        return pa.scalar(rounded, wide), exclusive and rounded == number
    if types.is_date(data_type):
        return pa.scalar(day(value), data_type), exclusive
    if types.is_timestamp(data_type):
        return pa.scalar(moment(value, data_type.tz, type_name(data_type)), data_type), exclusive
    if types.is_time(data_type):
        return pa.scalar(time(value), data_type), exclusive
    raise ValueError(f"a bound needs a number, a date or a time, and the column is {type_name(data_type)}")


def _pattern(pattern: str, data_type: Any) -> Check:
    if not is_text(data_type):
        raise ValueError(f"a pattern needs text, and the column is {type_name(data_type)}")
    try:
        pc.match_substring_regex(pa.array([""], pa.string()), pattern=pattern)
    except pa.ArrowInvalid as error:
        reason = str(error).removeprefix("Invalid regular expression: ")
        raise ValueError(
            f"the pattern {pattern!r} can't be used: {reason}; "
            "patterns are RE2's, which has no lookahead, lookbehind or backreference"
        ) from error
    # A search for plain text takes half the time of the same search by an expression.
    match = pc.match_substring if _SPECIAL.isdisjoint(pattern) else pc.match_substring_regex
    return _by_distinct(lambda array: failing(match(array, pattern=pattern)))


def _by_distinct(check: Check) -> Check:
    """The same check over the distinct values alone, where a cheap look at the first rows finds few of them."""

    def run(array: Array) -> Mask | None:
        if len(array) < _SCAN_ROWS:
            return check(array)
        distinct = len(pc.unique(array.slice(0, _SCAN_ROWS)))
        if distinct * _MAX_DISTINCT_SHARE > _SCAN_ROWS:
            return check(array)
        encoded = array.dictionary_encode()
        bad = check(encoded.dictionary)
        return None if bad is None else pc.fill_null(bad.take(encoded.indices), False)

    return run


def _membership(values: tuple[Any, ...], data_type: Any, *, accepted: bool) -> Check:
    wanted = [_value(value, data_type) for value in values if value is not None]
    try:
        options = pa.array(wanted, data_type)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"a listed value is no {type_name(data_type)}: {error}") from error
    if pa.types.is_nested(data_type):
        raise ValueError(f"listed values need a plain type, and the column is {type_name(data_type)}")
    if accepted:
        return lambda array: _unlisted(array, options)
    with_null = any(value is None for value in values)

    def rejected(array: Array) -> Mask | None:
        found = pc.is_in(array, value_set=options)
        if with_null and array.null_count:
            found = pc.or_(found, array.is_null())
        return marked(found)

    return rejected


def _unlisted(array: Array, options: Array) -> Mask | None:
    found = pc.is_in(array, value_set=options)
    if found.true_count == len(array) - array.null_count:
        return None
    return pc.and_not(array.is_valid(), found)


def _value(value: Any, data_type: Any) -> Any:
    """A listed value as the column's type takes it."""
    types = pa.types
    if is_text(data_type):
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value)
    if types.is_boolean(data_type):
        if not isinstance(value, bool):
            raise ValueError(f"{value!r} is no boolean")
        return value
    if types.is_integer(data_type):
        number = decimal(value)
        if number != number.to_integral_value():
            raise ValueError(f"{value!r} is no integer")
        return int(number)
    if types.is_floating(data_type):
        return float(decimal(value))
    if types.is_decimal(data_type):
        return decimal(value)
    if types.is_date(data_type):
        return day(value)
    if types.is_timestamp(data_type):
        return moment(value, data_type.tz, type_name(data_type))
    return time(value) if types.is_time(data_type) else value


def _length(least: bool, bound: int, data_type: Any) -> Check:
    types = pa.types
    if is_text(data_type):
        return lambda array: _text_length(array, least, bound)
    if types.is_binary(data_type) or types.is_large_binary(data_type):
        measure = pc.binary_length
    elif types.is_list(data_type) or types.is_large_list(data_type):
        measure = pc.list_value_length
    else:
        raise ValueError(f"a length needs text, bytes or a list, and the column is {type_name(data_type)}")
    test = pc.greater_equal if least else pc.less_equal
    return lambda array: failing(test(measure(array), bound))


def _text_length(array: Array, least: bool, bound: int) -> Mask | None:
    """Characters, told from bytes where those suffice: a character has one to four of them."""
    extremes = pc.min_max(pc.binary_length(array))
    if least:
        shortest = extremes["min"].as_py()
        if shortest is None or shortest >= 4 * bound or (bound == 1 and shortest >= 1):
            return None
        return failing(pc.greater_equal(pc.utf8_length(array), bound))
    longest = extremes["max"].as_py()
    if longest is None or longest <= bound:
        return None
    return failing(pc.less_equal(pc.utf8_length(array), bound))
