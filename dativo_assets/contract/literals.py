"""Values as a contract writes them, in plain Python. Each raises ValueError with a text for a person."""

from __future__ import annotations

import datetime as dt
import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation, localcontext
from typing import Any


def decimal(value: Any) -> Decimal:
    """Any number but NaN; infinities are numbers here."""
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        found = Decimal("nan")
    if found.is_nan():
        raise ValueError(f"{value!r} is no number")
    return found


def rounded_decimal(number: Decimal, scale: int, *, up: bool) -> Decimal:
    """The number with `scale` digits behind the point."""
    with localcontext() as context:
        context.prec = 100
        try:
            return number.quantize(Decimal(1).scaleb(-scale), ROUND_CEILING if up else ROUND_FLOOR)
        except InvalidOperation:
            raise ValueError(f"{number} is larger than any decimal") from None


def integer_limits(name: str) -> tuple[int, int]:
    """The least and the greatest value of an integer type, by its name: `int8` to `uint64`."""
    unsigned, bits = name.startswith("u"), int(name.lstrip("uint"))
    return (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def integer_bound(least: bool, value: Any, exclusive: bool, lowest: int, highest: int) -> int:
    """A bound on integers of lowest..highest that may be reached itself; it may lie outside of them."""
    number = decimal(value)
    if number.is_infinite():
        return highest + 1 if number > 0 else lowest - 1
    bound = math.ceil(number) if least else math.floor(number)
    if exclusive and bound == number:
        bound += 1 if least else -1
    return bound


def day(value: Any) -> dt.date:
    try:
        return dt.date.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f"{value!r} is no date; write it as 2013-01-31") from None


def time(value: Any) -> dt.time:
    try:
        return dt.time.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f"{value!r} is no time; write it as 10:00:00") from None


def moment(value: Any, zone: str | None, type_name: str) -> dt.datetime:
    """A timestamp for a column of a zone, or of none; type_name: the column's, for the error."""
    text = str(value)
    try:
        found = dt.datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    except ValueError:
        raise ValueError(f"{value!r} is no timestamp; write it as 2013-01-31T10:00:00") from None
    if (found.tzinfo is None) != (zone is None):
        need = "needs a zone, such as Z" if zone else "must have no zone"
        raise ValueError(f"{value!r} {need}: the column is {type_name}")
    return found
