"""The kinds of value that a job file holds: how each is checked, told to a person, and described in the JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Strict, WithJsonSchema

from .types import DURATION_HINT, TYPES_HINT, is_type, seconds


class Problem(ValueError):
    """A value that is refused: what is wrong, what to do, and where below the model it stands (keys as in YAML)."""

    def __init__(self, message: str, hint: str | None = None, *path: str | int) -> None:
        super().__init__(message)
        self.hint = hint
        self.path = path


class Frozen(BaseModel):
    """A frozen model over YAML keys; a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), defer_build=True)


def exactly_one(model: BaseModel, what: str, *keys: str) -> None:
    """Raises: Problem: when not exactly one of the keys has a value."""
    given = [key for key in keys if getattr(model, key) is not None]
    if len(given) != 1:
        found = f"found {' and '.join(f'`{key}`' for key in given)}" if given else "found none"
        raise Problem(f"{what} takes exactly one of {', '.join(keys)}; {found}")


def one_of(words: list[str], last: str = "or") -> str:
    """`a, b or c`."""
    return f"{', '.join(words[:-1])} {last} {words[-1]}" if len(words) > 1 else "".join(words)


def _duration(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise Problem("must be a duration", DURATION_HINT)
    found = seconds(value) if isinstance(value, str) else float(value)
    if found is None or not 0 <= found < 3_153_600_000:
        raise Problem(f"`{value}` is no duration", DURATION_HINT)
    return found


def _texts(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, (list, tuple)):
        raise Problem("must be a text or a list of texts")
    return value


def _listed(value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        raise Problem("must be a list", "write it as [a, b] or one `- a` a line")
    return value


def _named_or_inline(value: Any) -> Any:
    if value is not None and not isinstance(value, (str, dict)):
        raise Problem("must be the name of a connection in dativo.yaml, or a mapping")
    return value


def _scalar(value: Any) -> Any:
    if value is not None and not isinstance(value, (str, int, float, bool)):
        raise Problem("must be one value, not a list or a mapping")
    return value


def _pattern(regex: str, what: str, hint: str) -> Callable[[str], str]:
    compiled = re.compile(regex)

    def check(value: str) -> str:
        if compiled.fullmatch(value) is None:
            raise Problem(f"{value[:200]!r} is no {what}", hint)
        return value

    return check


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", value):
        raise Problem(
            f"{value[:200]!r} is no job name",
            "a name is letters, digits, `_`, `-` and `.`, and starts with none of the last two; "
            "folders belong into target.path",
        )
    if len(value) > 128:
        raise Problem(f"a job name of {len(value)} characters", "take at most 128 characters")
    return value


def _type(value: str) -> str:
    if not is_type(value):
        raise Problem(f"unknown type `{value[:200]}`", TYPES_HINT)
    return value


def _regex(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise Problem(f"not a regular expression: {error}") from error
    return value


def _cron(value: str) -> str:
    aliases = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
    part = r"[0-9A-Za-z*?,/\-#]+"
    if value not in aliases and not re.fullmatch(rf"{part}(\s+{part}){{4}}", value.strip()):
        raise Problem(
            f"`{value}` is no cron expression", 'five fields, as in "0 * * * *" (minute hour day month weekday)'
        )
    return value


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:
        raise Problem(f"`{value}` is no time zone", "write a name such as UTC or Europe/Berlin") from error
    return value


def _day(value: str) -> str:
    for kind in (date, datetime):
        try:
            kind.fromisoformat(value)
        except ValueError:
            continue
        return value
    raise Problem(f"`{value}` is no date", "write it as 2013-01-31 or 2013-01-31T10:00:00")


def _relative_key(value: str) -> str:
    if "\0" in value or not value.strip():
        raise Problem("must not be empty" if not value.strip() else "must not hold a NUL character")
    return value


_TEXTS_SCHEMA = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}

Text = Annotated[str, Strict()]
Path = Annotated[str, Strict(), AfterValidator(_relative_key)]
Flag = Annotated[bool, Strict()]
Whole = Annotated[int, Strict()]
Duration = Annotated[
    float,
    BeforeValidator(_duration),
    WithJsonSchema({"type": ["string", "number"], "examples": ["30s", "5m", "24h", "7d"]}),
]
Texts = Annotated[tuple[Path, ...], BeforeValidator(_texts), WithJsonSchema(_TEXTS_SCHEMA)]
Connection = Annotated[
    str | dict[str, Any] | None,
    BeforeValidator(_named_or_inline),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object"}, {"type": "null"}]}),
]
ScalarValue = Annotated[
    Any, BeforeValidator(_scalar), WithJsonSchema({"type": ["string", "number", "boolean", "null"]})
]
ScalarList = Annotated[tuple[ScalarValue, ...], BeforeValidator(_listed)]
JobName = Annotated[
    str,
    Strict(),
    AfterValidator(_name),
    WithJsonSchema({"type": "string", "pattern": r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"}),
]
GroupName = Annotated[
    str,
    Strict(),
    AfterValidator(_pattern(r"[A-Za-z0-9_]+(/[A-Za-z0-9_]+)*", "group", "a group is letters, digits and `_`")),
]
TypeName = Annotated[str, Strict(), AfterValidator(_type)]
Regex = Annotated[str, Strict(), AfterValidator(_regex)]
Cron = Annotated[str, Strict(), AfterValidator(_cron)]
TimeZone = Annotated[str, Strict(), AfterValidator(_timezone)]
Day = Annotated[str, Strict(), AfterValidator(_day)]
Owner = Annotated[
    str,
    Strict(),
    AfterValidator(
        _pattern(r"team:[A-Za-z0-9_.-]+|[^@\s]+@[^@\s]+\.[^@\s]+", "owner", "write team:NAME or an e-mail address")
    ),
]
TagKey = Annotated[
    str,
    AfterValidator(
        _pattern(r"([A-Za-z0-9_.-]{1,63}/)?[A-Za-z0-9_.-]{1,63}", "tag", "at most 63 letters, digits, `_`, `-` and `.`")
    ),
]
TagValue = Annotated[
    str,
    Strict(),
    AfterValidator(_pattern(r"[A-Za-z0-9_.-]{0,63}", "value of a tag", "at most 63 letters, digits, `_`, `-` and `.`")),
]
