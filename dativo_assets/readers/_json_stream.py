"""Objects out of JSON text that is too large to load: lines, or values one after the other."""

from __future__ import annotations

import codecs
import json
import math
from collections.abc import Generator, Iterator
from typing import Any, NoReturn

from dativo_plugin_sdk import ValidationError

from ._text import TextInput

_CHUNK_BYTES = 1 << 18
_EXACT_DIGITS = 17
_SPACE = " \t\r\n"
_TOKEN = 16
"""Characters within which a token cut by the end of the buffer may be misread: true, \\uD83D\\uDE00, ..."""


def _number(text: str) -> float | str:
    """A float, or the text itself where a float would lose digits or the number."""
    value = float(text)
    if len(text) > _EXACT_DIGITS and len(text.lower().partition("e")[0].strip("-0").replace(".", "")) > _EXACT_DIGITS:
        return text
    return value if math.isfinite(value) else text


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(next(name for name in names if names.count(name) > 1))
    return found


class _TwiceError(ValueError):
    """An object that says one key twice."""


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_number)


def malformed(path: str, line: int, column: int, what: str) -> ValidationError:
    """An error at a place of a JSON file."""
    return ValidationError(
        f"{path}:{line}:{column}: {what}", details={"file": path, "line": line, "column_number": column}
    )


def _what(value: Any) -> str:
    return {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}.get(type(value), "a number")


def _row(value: Any, path: str, line: int, column: int) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise malformed(path, line, column, f"expected an object, found {_what(value)}")
    return value


def lines_of(source: TextInput, skip_bad: bool) -> Generator[dict[str, Any], None, int]:
    """One object a line; blank lines don't count. Returns how many bad lines were skipped."""
    skipped = 0
    while line := source.readline():
        text = line.decode().strip(_SPACE)
        if not text:
            continue
        try:
            try:
                row = _row(_DECODER.decode(text), source.path, source.line, 1)
            except json.JSONDecodeError as error:
                raise malformed(source.path, source.line, error.pos + 1, error.msg) from error
            except (ValueError, RecursionError) as error:
                raise malformed(source.path, source.line, 1, _reason(error)) from error
        except ValidationError:
            if not skip_bad:
                raise
            skipped += 1
            continue
        yield row
    return skipped


def _reason(error: Exception) -> str:
    if isinstance(error, _TwiceError):
        return f"an object has the key {str(error)!r} twice"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


class JsonStream:
    """A cursor over JSON text that holds one value at a time."""

    def __init__(self, source: TextInput, max_value_bytes: int) -> None:
        self._source = source
        self._limit = max_value_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._buffer = ""
        self._at = self._mark = 0
        self._line, self._column = 1, 1
        self._ended = False

    def rows(self, records_path: str | None) -> Iterator[dict[str, Any]]:
        """The objects of the array at `records_path`, of the top array, or of the values one after the other.

        Raises: ValidationError: for text that is no JSON, at its line and column; for a path that is not there.
        """
        for key in records_path.split(".") if records_path else ():
            self._descend(key)
        if self._peek() == "[":
            yield from self._array()
            if records_path is None and self._peek():
                self._fail(f"expected the end of the file, found {self._peek()!r}")
            return
        if records_path is not None:
            yield self._next_row()
            return
        while self._peek():
            yield self._next_row()

    def _array(self) -> Iterator[dict[str, Any]]:
        self._take("[")
        if self._peek() == "]":
            self._at += 1
            return
        while True:
            yield self._next_row()
            if self._peek() == "]":
                self._at += 1
                return
            self._take(",")

    def _descend(self, wanted: str) -> None:
        if self._peek() != "{":
            self._fail(f"expected an object with the key {wanted!r} of records_path")
        self._at += 1
        while self._peek() != "}":
            key = self._value()
            if not isinstance(key, str):
                self._fail("expected a key")
            self._take(":")
            if key == wanted:
                return
            self._value()
            if self._peek() != "}":
                self._take(",")
        self._fail(f"no key {wanted!r} here, which options.records_path names")

    def _next_row(self) -> dict[str, Any]:
        self._peek()
        self._forget()
        line, column = self._line, self._column
        return _row(self._value(), self._source.path, line, column)

    def _take(self, character: str) -> None:
        if self._peek() != character:
            self._fail(f"expected {character!r}, found {self._peek()!r}" if self._peek() else "the file ends too early")
        self._at += 1

    def _peek(self) -> str:
        """The next character that is no space; "" at the end."""
        while True:
            while self._at < len(self._buffer) and self._buffer[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if not self._more(_CHUNK_BYTES):
                return ""

    def _value(self) -> Any:
        self._peek()
        self._forget()
        size = _CHUNK_BYTES
        while True:
            try:
                value, end = _DECODER.raw_decode(self._buffer, self._at)
            except json.JSONDecodeError as error:
                cut = error.pos >= len(self._buffer) - _TOKEN or error.msg.startswith("Unterminated string")
                if not (cut and self._grow(size)):
                    self._fail(error.msg, error.pos)
            except (ValueError, RecursionError) as error:
                self._fail(_reason(error))
            else:
                if end < len(self._buffer) or not self._more(_CHUNK_BYTES):  # a number may go on in the next piece
                    self._at = end
                    return value
            size *= 2

    def _grow(self, size: int) -> bool:
        if len(self._buffer) > self._limit:
            self._fail(f"a record is longer than {self._limit:,} bytes")
        return self._more(size)

    def _more(self, size: int) -> bool:
        if self._ended:
            return False
        raw = self._source.read(size)
        self._ended = not raw
        self._buffer += self._decoder.decode(raw, final=self._ended)
        return not self._ended

    def _forget(self) -> None:
        """What was read so far is done with: remember its last line and column, and drop it now and then."""
        self._line, self._column = self._place(self._at)
        self._mark = self._at
        if self._at > _CHUNK_BYTES:
            self._buffer, self._at, self._mark = self._buffer[self._at :], 0, 0

    def _place(self, position: int) -> tuple[int, int]:
        newlines = self._buffer.count("\n", self._mark, position)
        if not newlines:
            return self._line, self._column + position - self._mark
        return self._line + newlines, position - self._buffer.rfind("\n", self._mark, position)

    def _fail(self, what: str, position: int | None = None) -> NoReturn:
        line, column = self._place(self._at if position is None else position)
        raise malformed(self._source.path, line, column, what)
