"""A column as its declared type, where every value stays what it is; the rows where one would not are violations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from .masks import Array, Mask, either, find_failing, marked, without
from .text_casts import text_cast

Cast = Callable[[Array], tuple[Array, "Mask | None"]]
"""A column of the source's type -> the column as declared, null in the rows that do not fit; and those rows."""

_EXACT = {16: 2**11, 32: 2**24, 64: 2**53}


def bind_cast(source: Any, target: Any) -> Cast | None:
    """The cast from one type to another; None when a column passes as it is.

    Raises: TypeError: when no value of the one could be a value of the other; the text says why.
    """
    types = pa.types
    if source.equals(target):
        return None
    if types.is_dictionary(source):
        return _after(lambda array: array.cast(source.value_type), bind_cast(source.value_type, target))
    if types.is_dictionary(target):
        return _after_result(bind_cast(source, target.value_type), lambda array: array.cast(target))
    if types.is_null(source):
        return lambda array: (pa.nulls(len(array), target), None)
    if is_text(source):
        if is_text(target) or _is_binary(target):
            return _plain(target)
        found = text_cast(target)
        if found is None:
            raise TypeError("text can't be read as such")
        return _after(lambda array: array.cast(pa.string()), found) if not types.is_string(source) else found
    return _typed(source, target)


def is_text(data_type: Any) -> bool:
    """Whether it is one of Arrow's types of text."""
    types = pa.types
    return bool(types.is_string(data_type) or types.is_large_string(data_type) or _is_view(data_type, "string_view"))


def _is_view(data_type: Any, name: str) -> bool:
    return str(data_type) == name


def _is_binary(data_type: Any) -> bool:
    types = pa.types
    return bool(
        types.is_binary(data_type)
        or types.is_large_binary(data_type)
        or types.is_fixed_size_binary(data_type)
        or _is_view(data_type, "binary_view")
    )


def _after(first: Callable[[Array], Array], then: Cast | None) -> Cast:
    return lambda array: (first(array), None) if then is None else then(first(array))


def _after_result(cast: Cast | None, then: Callable[[Array], Array]) -> Cast:
    def run(array: Array) -> tuple[Array, Mask | None]:
        result, bad = (array, None) if cast is None else cast(array)
        return then(result), bad

    return run


def _plain(
    target: Any,
    *,
    before: Callable[[Array], Mask | None] | None = None,
    convert: Callable[[Array], Array] | None = None,
    refused: Callable[[Array], Mask | None] | None = None,
    after: Callable[[Array, Array], Mask | None] | None = None,
) -> Cast:
    """A cast that is tried on the whole column first.

    before: rows that must not be converted at all. refused: the rows for which `convert` failed. after: rows whose
    result is another value than the source's.
    """
    work = convert or (lambda array: array.cast(target))

    def run(array: Array) -> tuple[Array, Mask | None]:
        bad = None if before is None else before(array)
        array = without(array, bad)
        try:
            result = work(array)
        except pa.ArrowInvalid:
            late = find_failing(array, work) if refused is None else refused(array)
            bad, array = either(bad, late), without(array, late)
            result = work(array)
        if after is not None and (lost := after(array, result)) is not None:
            bad, result = either(bad, lost), without(result, lost)
        return result, bad

    return run


def _typed(source: Any, target: Any) -> Cast:
    types = pa.types
    number = types.is_integer(target) or types.is_floating(target) or types.is_decimal(target)
    if types.is_integer(source) and number:
        return _from_integer(source, target)
    if types.is_floating(source) and number:
        return _from_float(source, target)
    if types.is_decimal(source) and number:
        return _from_decimal(source, target)
    if types.is_boolean(source) and types.is_integer(target):
        return _plain(target)
    if types.is_integer(source) and types.is_boolean(target):
        return _plain(target, before=lambda array: _outside(array, 0, 1))
    if is_text(target) and not types.is_nested(source) and not types.is_duration(source):
        return _plain(target, convert=lambda array: array.cast(pa.string()).cast(target))
    if _is_binary(source) and _is_binary(target):
        return _plain(target)
    if types.is_temporal(source) and types.is_temporal(target):
        return _temporal(source, target)
    if types.is_nested(source) and types.is_nested(target):
        return _plain(target, convert=_nested(target), after=lambda array, result: _not_back(array, result))
    raise TypeError("the one is no spelling of the other")


def _from_integer(source: Any, target: Any) -> Cast:
    if pa.types.is_integer(target):
        signed = pa.types.is_signed_integer(target)
        bits = target.bit_width - (1 if signed else 0)
        return _plain(target, refused=lambda array: _outside(array, -(2**bits) if signed else 0, 2**bits - 1))
    if pa.types.is_floating(target):
        exact = _EXACT[target.bit_width]
        return _plain(target, refused=lambda array: _outside(array, -exact, exact))
    whole = target.precision - target.scale
    wide = pa.decimal128(20, 0)
    if whole >= 20:
        return _plain(target, convert=lambda array: array.cast(wide).cast(target))
    most = 10**whole - 1
    return _plain(
        target, before=lambda array: _outside(array, -most, most), convert=lambda array: array.cast(wide).cast(target)
    )


def _outside(array: Array, low: int, high: int) -> Mask | None:
    """The rows of an integer column outside of low..high; bounds that the column's own type can't reach are left out."""
    signed = pa.types.is_signed_integer(array.type)
    bits = array.type.bit_width - (1 if signed else 0)
    least, most = (-(2**bits) if signed else 0), 2**bits - 1
    bad = None
    if low > least:
        bad = marked(pc.less(array, pa.scalar(low, array.type)))
    if high < most:
        bad = either(bad, marked(pc.greater(array, pa.scalar(high, array.type))))
    return bad


def _from_float(source: Any, target: Any) -> Cast:
    if pa.types.is_floating(target):
        if target.bit_width > source.bit_width:
            return _plain(target)
        return _plain(target, convert=lambda array: array.cast(target, safe=False), after=_other_number)
    if pa.types.is_integer(target):
        signed = pa.types.is_signed_integer(target)
        bits = target.bit_width - (1 if signed else 0)
        low, high = float(-(2**bits) if signed else 0), float(2**bits)

        def not_whole(array: Array) -> Mask | None:
            array = array.cast(pa.float64())
            inside = pc.and_(pc.greater_equal(array, low), pc.less(array, high))
            return marked(pc.invert(pc.and_(inside, pc.equal(pc.trunc(array), array))))

        return _plain(target, convert=lambda array: array.cast(pa.float64()).cast(target), refused=not_whole)
    limit = float(10 ** (target.precision - target.scale))

    def too_large(array: Array) -> Mask | None:
        return marked(pc.invert(pc.less(pc.abs(array), pa.scalar(limit, array.type))))

    return _plain(target, before=too_large, after=_other_number)


def _from_decimal(source: Any, target: Any) -> Cast:
    if pa.types.is_floating(target):
        return _plain(target, after=_other_number)
    return _plain(target)


def _other_number(array: Array, result: Array) -> Mask | None:
    """The rows whose value does not come back; NaN comes back as NaN."""
    if pa.types.is_decimal(array.type):
        widest = pa.decimal256(76, array.type.scale)
        try:
            return marked(pc.not_equal(result.cast(array.type), array))
        except pa.ArrowInvalid:
            return marked(pc.not_equal(result.cast(widest), array.cast(widest)))
    back = result.cast(array.type)
    other = pc.not_equal(back, array)
    if not pc.any(other, min_count=0).as_py():
        return None
    return marked(pc.and_not(other, pc.is_nan(array)))


def _temporal(source: Any, target: Any) -> Cast:
    types = pa.types
    if types.is_timestamp(source) and types.is_timestamp(target):
        if (source.tz is None) != (target.tz is None):
            raise TypeError("a moment in a time zone and a local time are different things")
        return _plain(target)
    if types.is_date(source) and types.is_date(target):
        return _plain(target, after=_other_moment)
    if types.is_date(source) and types.is_timestamp(target) and target.tz is None:
        return _plain(target)
    if types.is_timestamp(source) and source.tz is None and types.is_date(target):
        return _plain(target, convert=lambda array: array.cast(target, safe=False), after=_other_moment)
    if types.is_time(source) and types.is_time(target):
        return _plain(target)
    if types.is_duration(source) and types.is_duration(target):
        return _plain(target)
    raise TypeError("the one is no spelling of the other")


def _other_moment(array: Array, result: Array) -> Mask | None:
    return marked(pc.not_equal(result.cast(array.type), array))


def _nested(target: Any) -> Callable[[Array], Array]:
    def convert(array: Array) -> Array:
        try:
            return array.cast(target)
        except (pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            raise pa.ArrowInvalid(str(error)) from error

    return convert


def _not_back(array: Array, result: Array) -> Mask | None:
    """The rows of a nested column that do not come back: a field dropped, a number rounded."""
    try:
        back = result.cast(array.type)
    except pa.ArrowException:
        back = None
    if back is not None and back.equals(array):
        return None
    pairs = zip(array.to_pylist(), result.to_pylist(), strict=True)
    return pa.array([left != right and repr(left) != repr(right) for left, right in pairs], pa.bool_())
