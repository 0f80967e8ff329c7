"""`${NAME}`, `${NAME:-default}` and what they stand for: resolved when a run needs them, and masked in all it says.

A model keeps references as they are written; `$${NAME}` is the text `${NAME}`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from dativo_assets.errors import ConfigurationError, Location

from .masking import MASK, is_secret_name

Locate = Callable[..., Location]

_REFERENCE = re.compile(
    r"\$(?P<escape>\$)?\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|(?P<wrong>[^}]*)\}?)"
)
_PASSWORD = re.compile(
    r"""[A-Za-z][\w+.\-]*://[^\s:/@]*:(?P<in_url>[^\s@/]+)@|\b(?:password|pwd)\s*=\s*(?:'(?P<quoted>[^']+)'|(?P<bare>[^\s;'&]+))""",
    re.IGNORECASE,
)
_WHOLE_WORD_CHARACTERS = 4


class Redactor:
    """Knows every value that must not be shown. Its pickle and its repr are empty."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, value: str) -> None:
        """Masks a value from now on, also as it looks inside JSON, a repr or a URL."""
        forms = {
            value,
            value.strip(),
            quote(value, safe=""),
            quote_plus(value),
            json.dumps(value)[1:-1],
            repr(value)[1:-1],
        }
        forms |= {json.dumps(value, ensure_ascii=False)[1:-1], *(line for line in value.splitlines() if len(line) > 8)}
        forms -= {"", *self._values}
        if forms:
            self._values |= forms
            self._pattern = None

    @property
    def knows_any(self) -> bool:
        return bool(self._values)

    def redact(self, text: str) -> str:
        """The text with every known value masked. A value of under four characters is masked where it stands alone."""
        if not self._values:
            return text
        if self._pattern is None:
            # The longest first: a value that holds another one is masked whole.
            self._pattern = re.compile(
                "|".join(map(_exactly, sorted(self._values, key=lambda value: (-len(value), value))))
            )
        return self._pattern.sub(MASK, text)

    def __repr__(self) -> str:
        return f"Redactor({len(self._values)} values)"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Redactor, ())


def _exactly(value: str) -> str:
    escaped = re.escape(value)
    return escaped if len(value) >= _WHOLE_WORD_CHARACTERS else rf"(?<![\w.]){escaped}(?![\w.])"


def resolve(
    value: Any, environment: Mapping[str, str], redactor: Redactor | None = None, *, locate: Locate | None = None
) -> Any:
    """A JSON value with every reference in its texts replaced; mappings and lists are copied, what holds none is as it was.

    redactor: learns every value found, and every literal under a key such as `password`. locate: a path below `value` to its
    place in a file, for errors (`functools.partial(job.location, "source", "options")`).

    Raises: ConfigurationError: for a variable that is not set and has no default. It names the variable, and no value.
    """
    return _resolved(value, environment, redactor or Redactor(), locate, (), secret=False)


def references(value: Any) -> Iterator[str]:
    """The names of the variables that a JSON value refers to."""
    if isinstance(value, str):
        for match in _REFERENCE.finditer(value):
            if match["name"] and not match["escape"]:
                yield match["name"]
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from references(inner)


def _resolved(
    value: Any,
    environment: Mapping[str, str],
    redactor: Redactor,
    locate: Locate | None,
    path: tuple[str | int, ...],
    *,
    secret: bool,
) -> Any:
    if isinstance(value, Mapping):
        return {
            key: _resolved(
                inner, environment, redactor, locate, (*path, key), secret=secret or is_secret_name(str(key))
            )
            for key, inner in value.items()
        }
    if isinstance(value, (list, tuple)):
        items = (
            _resolved(inner, environment, redactor, locate, (*path, index), secret=secret)
            for index, inner in enumerate(value)
        )
        return tuple(items) if isinstance(value, tuple) else list(items)
    if not isinstance(value, str):
        if secret and value is not None and not isinstance(value, bool):
            redactor.add(str(value))
        return value
    text = _text(value, environment, redactor, locate, path) if "${" in value else value
    if secret:
        redactor.add(text)
    for match in _PASSWORD.finditer(text):
        redactor.add(match["in_url"] or match["quoted"] or match["bare"])
    return text


def _text(
    value: str,
    environment: Mapping[str, str],
    redactor: Redactor,
    locate: Locate | None,
    path: tuple[str | int, ...],
) -> str:
    def replace(match: re.Match[str]) -> str:
        if match["escape"]:
            return match[0][1:]
        name = match["name"]
        if name is None:
            raise _refused(
                f"`${{{match['wrong']}}}` refers to no variable",
                "write ${NAME} or ${NAME:-default}; the text itself is written $${...}",
                locate,
                path,
            )
        found = environment.get(name)
        if match["default"] is not None and not found:
            return match["default"]
        if found is None:
            raise _refused(
                f"the variable {name} is not set", f"set {name}, or write ${{{name}:-default}}", locate, path
            )
        redactor.add(found)
        return found

    return _REFERENCE.sub(replace, value)


def _refused(message: str, hint: str, locate: Locate | None, path: tuple[str | int, ...]) -> ConfigurationError:
    where = locate(*path, key=False).details() if locate is not None else {}
    return ConfigurationError(message, details=where, hint=hint)
