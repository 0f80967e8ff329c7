"""Text to a declared type, only where the text says exactly one value of it: "007", " 7" and "1.0" are no integers."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from .masks import Array, Mask, at_positions, either, failing, find_failing, marked

# RE2 reads these; `$` there is the end of the text alone, never before a line break.
_MONTH_DAY = "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
_LEAP_YEAR = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_YEAR = "(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
_DATE = f"(?:{_YEAR}-{_MONTH_DAY}|{_LEAP_YEAR}-02-29)"
_HOUR_MINUTE = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_ZONE = "(?:Z|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)"
_EXACT = {16: 2**11, 32: 2**24, 64: 2**53}
_UNIT_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
_MAX_INTEGER_CHARACTERS = 20  # of the least int64 and of the greatest uint64


class TextCast:
    """pattern: what a text must look like. A text that looks right can still be out of range."""

    def __init__(self, pattern: str, target: Any) -> None:
        self.pattern, self.target = f"^(?:{pattern})$", target

    def __call__(self, array: Array) -> tuple[Array, Mask | None]:
        """The array as the target type, null in the rows that do not fit, and those rows."""
        bad = failing(pc.match_substring_regex(array, pattern=self.pattern))
        text = _blank(array, bad)
        try:
            result = self.convert(text)
        except pa.ArrowInvalid:
            late = self.out_of_range(text)
            bad, text = either(bad, late), _blank(text, late)
            result = self.convert(text)
        lost = self.lost(text, result)
        if lost is not None:
            bad, result = either(bad, lost), pc.if_else(lost, pa.scalar(None, self.target), result)
        return result, bad

    def convert(self, text: Array) -> Array:
        return text.cast(self.target)

    def out_of_range(self, text: Array) -> Mask:
        """The rows that `convert` refused."""
        return find_failing(text, self.convert)

    def lost(self, text: Array, result: Array) -> Mask | None:
        """The rows whose value is another one than the text says."""
        return None


def _blank(text: Array, bad: Mask | None) -> Array:
    return text if bad is None else pc.if_else(bad, pa.scalar(None, text.type), text)


class _Integer(TextCast):
    def out_of_range(self, text: Array) -> Mask:
        long = pc.fill_null(pc.greater(pc.utf8_length(text), _MAX_INTEGER_CHARACTERS), False)
        values = _blank(text, long).cast(pa.decimal128(38, 0))
        signed = pa.types.is_signed_integer(self.target)
        bits = self.target.bit_width - (1 if signed else 0)
        high = pa.scalar(2**bits - 1, pa.int64() if bits < 64 else pa.uint64()).cast(pa.decimal128(38, 0))
        low = pa.scalar(-(2**bits) if signed else 0, pa.int64()).cast(pa.decimal128(38, 0))
        outside = pc.or_(pc.greater(values, high), pc.less(values, low))
        return pc.or_(long, pc.fill_null(outside, False))


class _Float(TextCast):
    def lost(self, text: Array, result: Array) -> Mask | None:
        infinite = pc.is_inf(result)
        bad = None
        if pc.any(infinite, min_count=0).as_py():
            bad = marked(pc.and_(infinite, pc.match_substring_regex(text, pattern="[0-9]")))
        zero = pc.equal(result, pa.scalar(0.0, self.target))
        if pc.any(zero, min_count=0).as_py():
            bad = either(bad, marked(pc.and_(zero, pc.match_substring_regex(text, pattern="^[-0.]*[1-9]"))))
        limit = pa.scalar(float(_EXACT[self.target.bit_width]), self.target)
        large = pc.and_(pc.greater(pc.abs(result), limit), pc.invert(infinite))
        if pc.any(large, min_count=0).as_py():
            large = pc.fill_null(pc.and_(large, pc.match_substring_regex(text, pattern="^-?[0-9]+$")), False)
            rows = pc.indices_nonzero(large).to_pylist()
            wrong = [row for row in rows if int(text[row].as_py()) != int(result[row].as_py())]
            bad = either(bad, at_positions(wrong, len(text)) if wrong else None)
        return bad


class _Decimal(TextCast):
    def convert(self, text: Array) -> Array:
        # Arrow overflows in silence when a text has more digits than the widest decimal: drop zeros that say nothing.
        longest = pc.max(pc.binary_length(text)).as_py()
        scale = self.target.scale
        if longest is not None and longest > self.target.precision + 2:
            pattern, by = (r"\.0*$", "") if scale == 0 else (rf"(\.[0-9]{{{scale}}})0+$", r"\1")
            text = pc.replace_substring_regex(text, pattern=pattern, replacement=by)
        return text.cast(self.target)


class _Boolean(TextCast):
    def convert(self, text: Array) -> Array:
        return pc.equal(pc.ascii_lower(text), pa.scalar("true", text.type))


class _Timestamp(TextCast):
    def convert(self, text: Array) -> Array:
        return _trimmed(text, self.target.unit).cast(self.target)


class _Time(TextCast):
    def convert(self, text: Array) -> Array:
        day = pa.scalar("1970-01-01T", text.type)
        moment = pc.binary_join_element_wise(day, _trimmed(text, self.target.unit), pa.scalar("", text.type))
        return moment.cast(pa.timestamp(self.target.unit)).cast(self.target)


class _Json(TextCast):
    """A nested value, written as JSON."""

    def convert(self, text: Array) -> Array:
        try:
            values = [None if value is None else json.loads(value) for value in text.to_pylist()]
            return pa.array(values, self.target)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise pa.ArrowInvalid(str(error)) from error


def _trimmed(text: Array, unit: str) -> Array:
    """Without zeros below the unit, which Arrow refuses."""
    digits = _UNIT_DIGITS[unit]
    longest = pc.max(pc.binary_length(text)).as_py()
    if longest is None or longest <= len("00:00:00.") + digits:
        return text
    pattern, by = (r"\.0+", "") if digits == 0 else (rf"(\.[0-9]{{{digits}}})0+", r"\1")
    return pc.replace_substring_regex(text, pattern=pattern, replacement=by)


def _fraction(unit: str) -> str:
    digits = _UNIT_DIGITS[unit]
    return r"(?:\.0+)?" if digits == 0 else rf"(?:\.[0-9]{{1,{digits}}}0*)?"


def _decimal_pattern(precision: int, scale: int) -> str:
    whole = precision - scale
    integer = f"(?:0|[1-9][0-9]{{0,{whole - 1}}})" if whole > 0 else "0"
    if scale == 0:
        return rf"-?{integer}(?:\.0*)?"
    fraction = rf"\.[0-9]{{1,{scale}}}0*"
    return rf"-?(?:{integer}(?:{fraction}|\.)?|{fraction})"


def text_cast(target: Any) -> TextCast | None:
    """The cast from text, None where there is none."""
    types = pa.types
    if types.is_integer(target):
        return _Integer(("-?" if types.is_signed_integer(target) else "") + "(?:0|[1-9][0-9]*)", target)
    if types.is_floating(target):
        number = r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
        return _Float(f"{number}|[nN][aA][nN]|[-+]?[iI][nN][fF](?:[iI][nN][iI][tT][yY])?", target)
    if types.is_decimal(target):
        return _Decimal(_decimal_pattern(target.precision, target.scale), target) if target.scale >= 0 else None
    if types.is_boolean(target):
        return _Boolean("[tT][rR][uU][eE]|[fF][aA][lL][sS][eE]", target)
    if types.is_date(target):
        return TextCast(_DATE, target)
    if types.is_timestamp(target):
        zone = _ZONE if target.tz is not None else ""
        return _Timestamp(f"{_DATE}[T ]{_HOUR_MINUTE}:[0-5][0-9]{_fraction(target.unit)}{zone}", target)
    if types.is_time(target):
        return _Time(f"{_HOUR_MINUTE}(?::[0-5][0-9]{_fraction(target.unit)})?", target)
    if types.is_nested(target):
        return _Json(r"\s*[\[{](?s:.*)", target)
    return None
