"""The grammar of type names and of durations, in plain Python: thousands of jobs are checked without Arrow."""

from __future__ import annotations

import re
from typing import Final

SIMPLE_TYPES: Final = frozenset(
    re.findall(
        r"\w+",
        "string str text varchar utf8 large_string "
        "integer int bigint long smallint tinyint int8 int16 int32 int64 uint8 uint16 uint32 uint64 "
        "float number double real float16 float32 float64 decimal bool boolean "
        "date date32 date64 time timestamp datetime binary bytes large_binary null",
    )
)
TYPES_HINT: Final = (
    "write one of string, int8..int64, uint8..uint64, float32, float64, decimal(p, s), boolean, date, time, "
    "timestamp[us], timestamp[us, UTC], binary, list<T>, map<K, V>, struct<a: T>"
)

_UNIT = re.compile(r"(timestamp|datetime|time|time32|time64|duration)\[(s|ms|us|ns)(?:,\s*(?:tz=)?([^\]\s][^\]]*))?\]")
_DECIMAL = re.compile(r"(?:decimal|decimal128|decimal256|numeric)\((\d{1,3})(?:,\s*(-?\d{1,3}))?\)")
_NESTED = re.compile(r"(list|array|large_list|map|struct|dictionary)<(.*)>", re.DOTALL)
_MAX_DEPTH = 32
_MAX_PRECISION = 76

_DURATION = re.compile(
    r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s(?:ec(?:onds?)?)?|m(?:in(?:utes?)?)?|h(?:ours?)?|d(?:ays?)?|w(?:eeks?)?)"
)
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
DURATION_HINT: Final = "write a number with its unit: 30s, 5m, 24h, 7d, 2w"


def is_type(name: str) -> bool:
    """Whether a contract may write this name as a column's type: `string`, `decimal(10, 2)`, `list<int64>`."""
    return len(name) <= 10_000 and _is_type(name.strip(), 0)


def _is_type(text: str, depth: int) -> bool:
    lowered = text.lower()
    if lowered in SIMPLE_TYPES:
        return True
    if depth > _MAX_DEPTH:
        return False
    if match := _UNIT.fullmatch(text):
        return match[3] is None or match[1] in ("timestamp", "datetime")
    if match := _DECIMAL.fullmatch(lowered):
        precision, scale = int(match[1]), int(match[2] or 0)
        return 1 <= precision <= _MAX_PRECISION and abs(scale) <= precision
    match = _NESTED.fullmatch(text)
    if match is None:
        return False
    kind, arguments = match[1], _arguments(match[2])
    if kind == "struct":
        fields = [part.partition(":") for part in arguments]
        return bool(fields) and all(name.strip() and _is_type(rest.strip(), depth + 1) for name, _, rest in fields)
    wanted = {"map": (2,), "dictionary": (1, 2)}.get(kind, (1,))
    return len(arguments) in wanted and all(_is_type(part, depth + 1) for part in arguments)


def _arguments(text: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for index, char in enumerate(text):
        if char in "<([":
            depth += 1
        elif char in ">)]":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:index])
            start = index + 1
    parts.append(text[start:])
    return [part.strip() for part in parts]


def seconds(text: str) -> float | None:
    """The seconds of a duration such as `30s`, `1.5h` or `1h30m`; None for a text that is none."""
    rest, total = text.strip(), 0.0
    if not rest or len(rest) > 100:
        return None
    while rest:
        match = _DURATION.match(rest)
        if match is None:
            return None
        unit = match[2]
        total += float(match[1]) * _SECONDS[unit if unit in _SECONDS else unit[0]]
        rest = rest[match.end() :].lstrip()
    return total
