"""Text columns as typed columns: the lossless grammar of each type, and inference by trying them in order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from dativo_plugin_sdk import CsvOptions

from ._forms import BINARY, Form, Separators, first

_YEAR = "(?:[0-9]{3}[1-9]|[0-9]{2}[1-9][0-9]|[0-9][1-9][0-9]{2}|[1-9][0-9]{3})"
_DATE = _YEAR + "-[0-9]{2}-[0-9]{2}"
_TIME = "[0-9]{2}:[0-9]{2}:[0-9]{2}"
_INTEGER = "-?(?:0|[1-9][0-9]*)"
_DECIMAL = _INTEGER + r"(?:\.[0-9]+)?"
_NOT_FINITE = "(?i:nan|-?inf|-?infinity)"
_FLOAT = _DECIMAL + r"(?:[eE][+-]?[0-9]+)?|" + _NOT_FINITE
_ZONE = "(?:Z|[+-][0-9]{2}:?[0-9]{2})"
_FRACTION = {"s": "", "ms": r"(?:\.[0-9]{1,3})?", "us": r"(?:\.[0-9]{1,6})?", "ns": r"(?:\.[0-9]{1,9})?"}
_DIGITS = {32: 9, 64: 17}
"""Significant digits that a float of that width is trusted with; longer texts are kept as text. Zeros before and behind
them are none."""

_CANDIDATES = (
    pa.int64(),
    pa.float64(),
    pa.bool_(),
    pa.date32(),
    pa.timestamp("us"),
    pa.timestamp("ns"),
    pa.timestamp("us", "UTC"),
    pa.timestamp("ns", "UTC"),
)
_PLAIN = Separators()
_INFERRED_INTEGER = r"-?(?:0|[1-9][0-9]{0,17})"
_IDENTIFIER = r"-?[0-9]{18,}"
"""Too many digits alone for an integer: no float on the strength of that, be they zeros at the end."""


class Misfit(Exception):
    """The value at `index` of a column is outside the grammar of the type asked for."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index


@dataclass(frozen=True)
class Grammar:
    """Parses text columns.

    true_values, false_values: texts that mean true and false, in any case. dates, instants: forms besides ISO 8601.
    separators: of numbers. binary: the format of bytes.
    """

    true_values: tuple[str, ...] = ("true",)
    false_values: tuple[str, ...] = ("false",)
    dates: tuple[Form, ...] = ()
    instants: tuple[Form, ...] = ()
    separators: Separators = _PLAIN
    binary: str = "raw"

    @classmethod
    def of(cls, options: CsvOptions) -> Grammar:
        """Raises: ConfigurationError: for a form of dates or times that is none."""
        return cls(
            options.true_values,
            options.false_values,
            tuple(Form.of("date_formats", text) for text in options.date_formats),
            tuple(Form.of("timestamp_formats", text) for text in options.timestamp_formats),
            Separators(options.decimal_separator, options.thousands_separator),
            options.binary_format,
        )

    def infer(self, texts: pa.Array) -> pa.DataType:
        """The narrowest type whose grammar holds every text; nulls don't count; string where none does."""
        texts = texts.drop_null()
        if not len(texts):
            return pa.string()
        for candidate in _CANDIDATES:
            if self.infers(texts[:1], candidate) and self.infers(texts, candidate):
                return candidate
        return pa.string()

    def infers(self, texts: pa.Array, candidate: pa.DataType) -> bool:
        """Whether a column may be of the type on the strength of the texts."""
        if not self.fits(texts, candidate):
            return False
        if pa.types.is_integer(candidate):
            return _all(_matches(self._numbers(texts), _INFERRED_INTEGER))
        return not pa.types.is_floating(candidate) or not _any(_matches(self._numbers(texts), _IDENTIFIER))

    def _numbers(self, texts: pa.Array) -> pa.Array:
        """Numbers as the grammar writes them."""
        return texts if self.separators == _PLAIN else _mapped(texts, self.separators.plain, pa.string())

    def fits(self, texts: pa.Array, wanted: pa.DataType) -> bool:
        """Whether every text is in the grammar of the type."""
        try:
            self.parse(texts, wanted)
        except Misfit:
            return False
        return True

    def parse(self, texts: pa.Array, wanted: pa.DataType) -> pa.Array:
        """n texts -> n values of the type, null for null.

        Raises: Misfit: at the first text that is outside the grammar or does not fit the range.
        """
        types = pa.types
        if types.is_string(wanted):
            return texts
        if types.is_binary(wanted) or types.is_large_binary(wanted):
            return _mapped(texts, BINARY[self.binary], wanted)
        if _is_number(wanted):
            texts = self._numbers(texts)
        elif self.dates and types.is_date(wanted):
            texts = _in_iso(texts, self.dates, wanted)
        elif self.instants and types.is_timestamp(wanted):
            texts = _in_iso(texts, self.instants, wanted)
        if types.is_large_string(wanted):
            return texts.cast(wanted)
        if types.is_boolean(wanted):
            return self._booleans(texts)
        if types.is_date64(wanted):
            return replace(self, dates=()).parse(texts, pa.date32()).cast(wanted)
        if types.is_time(wanted):
            _require(_matches(texts, _pattern(wanted)))
            moments = pc.binary_join_element_wise("1970-01-01T", texts, "")
            return _cast(moments, pa.timestamp(wanted.unit)).cast(wanted)
        _require(_matches(texts, _pattern(wanted)))
        if types.is_timestamp(wanted) and wanted.tz is not None:
            return _cast(texts, pa.timestamp(wanted.unit, "UTC")).cast(wanted)
        values = _cast(texts, wanted)
        if types.is_floating(wanted):
            _require(_exact(texts, values, _DIGITS[wanted.bit_width]))
        return values

    def _booleans(self, texts: pa.Array) -> pa.Array:
        lowered = pc.utf8_lower(texts)
        is_true, is_false = (
            pc.is_in(lowered, _texts(value.lower() for value in values))
            for values in (self.true_values, self.false_values)
        )
        _require(pc.or_(pc.or_(is_true, is_false), texts.is_null()))
        return pc.if_else(texts.is_null(), pa.scalar(None, pa.bool_()), is_true)


def parseable(wanted: pa.DataType) -> bool:
    """Whether text has a grammar for the type; others (nested ones) are left to the contract's casts."""
    types = pa.types
    return bool(
        types.is_string(wanted)
        or types.is_large_string(wanted)
        or types.is_binary(wanted)
        or types.is_large_binary(wanted)
        or types.is_boolean(wanted)
        or _is_number(wanted)
        or types.is_date32(wanted)
        or types.is_time(wanted)
        or types.is_timestamp(wanted)
    )


def _is_number(wanted: pa.DataType) -> bool:
    types = pa.types
    float_ = types.is_float32(wanted) or types.is_float64(wanted)
    return bool(types.is_integer(wanted) or float_ or types.is_decimal(wanted))


def _mapped(texts: pa.Array, convert: Callable[[str], Any], wanted: pa.DataType) -> pa.Array:
    """Each text converted, null for null. Raises: Misfit: at the first one that converts to None."""
    values = [None if text is None else convert(text) for text in texts.to_pylist()]
    for index, value in enumerate(values):
        if value is None and texts[index].is_valid:
            raise Misfit(index)
    return pa.array(values, wanted)


def _in_iso(texts: pa.Array, forms: tuple[Form, ...], wanted: pa.DataType) -> pa.Array:
    """Dates or points in time in ISO 8601, those that are in one of the forms put into it."""
    if _all(_matches(texts, _pattern(wanted))):
        return texts
    day = pa.types.is_date(wanted)
    iso = re.compile(_pattern(wanted))
    return _mapped(texts, lambda text: text if iso.fullmatch(text) else first(forms, text, day=day), pa.string())


@lru_cache(maxsize=64)
def _pattern(wanted: pa.DataType) -> str:
    types = pa.types
    if types.is_integer(wanted):
        return _INTEGER
    if types.is_floating(wanted):
        return _FLOAT
    if types.is_decimal(wanted):
        return _DECIMAL
    if types.is_date(wanted):
        return _DATE
    if types.is_time(wanted):
        return _TIME + _FRACTION[wanted.unit]
    return f"{_DATE}[T ]{_TIME}{_FRACTION[wanted.unit]}{_ZONE if wanted.tz else ''}"


def _matches(texts: pa.Array, pattern: str) -> pa.Array:
    return pc.match_substring_regex(texts, rf"\A(?:{pattern})\z")


def _all(mask: pa.Array) -> bool:
    return pc.all(mask, min_count=0).as_py() is True


def _any(mask: pa.Array) -> bool:
    return pc.any(mask, min_count=0).as_py() is True


def _require(mask: pa.Array) -> None:
    if not _all(mask):
        raise Misfit(pc.index(mask, False).as_py())


def _cast(texts: pa.Array, wanted: pa.DataType) -> pa.Array:
    try:
        return texts.cast(wanted)
    except pa.ArrowInvalid:
        low, high = 0, len(texts)  # the first misfit is in [low, high): Arrow does not tell where
    while high - low > 1:
        middle = (low + high) // 2
        try:
            texts[low:middle].cast(wanted)
            low = middle
        except pa.ArrowInvalid:
            high = middle
    raise Misfit(low)


def _texts(values: Iterable[str]) -> pa.Array:
    """As `pa.array`, which would import pandas wherever that is installed."""
    builder = pa.lib.StringBuilder()
    builder.append_values(list(values))
    return builder.finish()


def _exact(texts: pa.Array, values: Any, digits: int) -> pa.Array:
    """Whether each float kept its text: not too many digits, no overflow to infinity, no underflow to zero."""
    long = pc.greater(pc.binary_length(texts), digits)
    extreme = pc.or_(pc.is_inf(values), pc.equal(values, 0))
    doubtful = pc.and_(texts.is_valid(), pc.fill_null(pc.or_(long, extreme), False))
    if not _any(doubtful):
        return pc.invert(doubtful)
    mantissa = pc.replace_substring_regex(texts, r"[eE].*|[.\-]", "")
    significant = pc.binary_length(pc.replace_substring_regex(mantissa, r"\A0+|0+\z", ""))
    named = _matches(texts, _NOT_FINITE)
    kept = pc.and_(pc.is_finite(values), pc.or_(pc.not_equal(values, 0), pc.equal(significant, 0)))
    return pc.or_(named, pc.and_(pc.less_equal(significant, digits), kept))
