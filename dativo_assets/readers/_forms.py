"""Numbers and dates written as a job says, put into the one form that the grammar of values reads."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dativo_plugin_sdk import ConfigurationError

_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_FIRST_OF_20TH = 69
"""Short years below this one are of the 21st century, as POSIX has it."""

_LONG = {"F": "%Y-%m-%d", "T": "%H:%M:%S"}
_TWO_DIGITS = ("m", "d", "H", "I")
_DIRECTIVES = {
    "Y": "(?P<Y>[0-9]{4})",
    "y": "(?P<y>[0-9]{2})",
    "B": f"(?P<B>{'|'.join(_MONTHS)})",
    "b": f"(?P<B>{'|'.join(month[:3] for month in _MONTHS)})",
    "M": "(?P<M>[0-9]{2})",
    "S": "(?P<S>[0-9]{2})",
    "f": "(?P<f>[0-9]{1,9})",
    "p": "(?P<p>am|pm)",
    "z": "(?P<z>(?-i:Z)|[+-][0-9]{2}:?[0-9]{2})",
    "%": "%",
}
_HINT = "directives are %Y %y %m %b %B %d %H %I %M %S %f %p %z %F %T %%"


@dataclass(frozen=True)
class Form:
    """One form of dates or points in time, from strftime directives. Without a time of day it means midnight."""

    pattern: re.Pattern[str]

    @classmethod
    def of(cls, option: str, text: str) -> Form:
        """Raises: ConfigurationError: for an unknown directive, and where a form says too little or too much."""

        def wrong(what: str) -> ConfigurationError:
            return ConfigurationError(f"options.{option}: {text!r} {what}", hint=_HINT)

        if text.startswith(('"', "'")):
            raise wrong("begins with a quote, which belongs to the field")
        pieces = re.findall(r"%.|%|[^%]", re.sub("%([FT])", lambda match: _LONG[match[1]], text), re.DOTALL)
        used = [piece[1:] for piece in pieces if piece.startswith("%")]
        for directive in used:
            if directive not in _DIRECTIVES and directive not in _TWO_DIGITS:
                raise wrong(f"has the unknown directive %{directive}")
        for what, one_of in (("a year", "Yy"), ("a month", "mbB"), ("a day", "d")):
            if sum(used.count(directive) for directive in one_of) != 1:
                raise wrong(f"must have {what} once")
        if any(used.count(directive) > 1 for directive in "MSfzp"):
            raise wrong("has a directive twice")
        if used.count("H") + used.count("I") > 1 or used.count("I") != used.count("p"):
            raise wrong("must have %H, or %I with %p")
        if option == "date_formats" and not set(used) <= set("YymbBd%"):
            raise wrong("has a time, dates have none")
        return cls(re.compile("".join(map(_pattern, pieces, [*pieces[1:], ""])), re.IGNORECASE | re.DOTALL))

    def iso(self, text: str, *, day: bool) -> str | None:
        """The text in the form of ISO 8601, None where it is in another form. day: without the time."""
        match = self.pattern.fullmatch(text)
        if match is None:
            return None
        part = {"H": "00", "M": "00", "S": "00", **{k: v for k, v in match.groupdict().items() if v is not None}}
        if "y" in part:
            part["Y"] = f"{20 if int(part['y']) < _FIRST_OF_20TH else 19}{part['y']}"
        if "B" in part:
            named = part["B"].lower()
            part["m"] = str(next(number for number, name in enumerate(_MONTHS, 1) if name.startswith(named)))
        if "I" in part:
            if not 1 <= int(part["I"]) <= 12:
                return None
            part["H"] = str(int(part["I"]) % 12 + 12 * (part["p"].lower() == "pm"))
        date = f"{part['Y']}-{part['m']:0>2}-{part['d']:0>2}"
        if day:
            return date
        fraction = f".{part['f']}" if "f" in part else ""
        return f"{date}T{part['H']:0>2}:{part['M']}:{part['S']}{fraction}{part.get('z', '')}"


def _pattern(piece: str, following: str) -> str:
    if not piece.startswith("%"):
        return f"(?-i:{re.escape(piece)})"
    directive = piece[1:]
    if directive in _TWO_DIGITS:
        # One digit may do, unless more digits follow at once.
        least = 2 if following[1:] in ("Y", "y", "M", "S", "f", *_TWO_DIGITS) and following[:1] == "%" else 1
        return f"(?P<{directive}>[0-9]{{{least},2}})"
    return _DIRECTIVES[directive]


@dataclass(frozen=True)
class Separators:
    """What stands in numbers: before the fraction, and between the thousands where anything does."""

    decimal: str = "."
    thousands: str | None = None

    def plain(self, text: str) -> str | None:
        """The number with a dot before its fraction and nothing between its thousands; None for no such number."""
        whole = re.split(f"[{re.escape(self.decimal)}eE]", text, maxsplit=1)[0]
        rest = text[len(whole) :]
        if self.thousands is not None and self.thousands in whole:
            if not re.fullmatch(f"-?[0-9]{{1,3}}({re.escape(self.thousands)}[0-9]{{3}})+", whole):
                return None
            whole = whole.replace(self.thousands, "")
        if self.decimal != "." and "." in whole + rest:
            return None
        return whole + rest.replace(self.decimal, ".")


def first(forms: Iterable[Form], text: str, *, day: bool) -> str | None:
    """The text in ISO 8601 by the first form it is in; None where it is in none."""
    return next((iso for form in forms if (iso := form.iso(text, day=day)) is not None), None)


def _hex(text: str) -> bytes | None:
    try:
        return binascii.unhexlify(text)
    except (binascii.Error, ValueError):
        return None


def _base64(text: str) -> bytes | None:
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return value if base64.b64encode(value) == text.encode() else None  # bits that no byte is made of are no base64


BINARY: dict[str, Callable[[str], bytes | None]] = {"raw": str.encode, "hex": _hex, "base64": _base64}
"""The bytes a text stands for, None where it stands for none, by `binary_format`."""
