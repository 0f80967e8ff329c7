"""How a delimited file is written down, where its job leaves that to be found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice, product

import pyarrow as pa
from dativo_plugin_sdk import CsvOptions, ValidationError

from ._dialect import Dialect
from ._grammar import Grammar
from ._text import DETECTION_BYTES, TextInput

_DELIMITERS = ",;\t|"
_ROWS = 100


@dataclass
class _Sample:
    """The whole lines of the beginning of a file, as `Dialect.records` takes them."""

    path: str
    text: bytes
    line: int = 0
    byte: int = 0
    _left: Iterator[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self._left = iter(self.text.splitlines(keepends=True))

    def readline(self) -> bytes:
        self.line += 1
        return next(self._left, b"")


def detect(options: CsvOptions, source: TextInput) -> tuple[Dialect, bool]:
    """The dialect of a file, positioned at its first record, and whether that record holds the names."""
    text = source.read(DETECTION_BYTES)
    if len(text) == DETECTION_BYTES:
        text = text[: max(text.rfind(b"\n"), text.rfind(b"\r")) + 1]
    quotes = ('"', "'") if options.quote_char == "auto" else (options.quote_char,)
    delimiters = _DELIMITERS if options.delimiter in (None, "auto") else (options.delimiter or "",)
    candidates = []
    for quote, delimiter in product(quotes, delimiters):
        escape = options.escape_char
        if escape == "auto":
            escape = "\\" if quote and _escapes(text, delimiter.encode(), quote.encode()) else None
        candidates.append(Dialect(delimiter, quote, escape, options.comment, options.max_field_bytes))
    best = candidates[0]
    if len(candidates) > 1:
        best = max(candidates, key=lambda dialect: _fit(dialect, source.path, text))
    header = _has_header(options, best, source.path, text) if options.header == "auto" else options.header
    return best, header


def _records(dialect: Dialect, path: str, text: bytes) -> list[list[tuple[str, bool]]]:
    found = []
    with suppress(ValidationError):  # a sample may stop inside quotes; the records before that count
        for record in islice(dialect.records(_Sample(path, text)), _ROWS):
            found.append(dialect.fields(record))
    return found


def _fit(dialect: Dialect, path: str, text: bytes) -> tuple[int, int, int]:
    """How many records have as many fields as the first one, how many fields that is, how many of all are quoted."""
    if dialect.delimiter in (dialect.quote, dialect.comment):
        return 0, 0, 0
    rows = _records(dialect, path, text)
    quoted = sum(is_quoted for row in rows for _, is_quoted in row)
    width = len(rows[0]) if rows else 0
    return (sum(len(row) == width for row in rows), width, quoted) if width > 1 else (0, 0, quoted)


def _escapes(text: bytes, delimiter: bytes, quote: bytes) -> bool:
    """Whether a backslash stands before quotes inside fields more often than quotes are doubled there."""
    outside = (delimiter, quote, b"\n", b"\r")
    windows = [text[at : at + 4] for at in range(len(text) - 3)]
    escaped = sum(w[1:3] == b"\\" + quote and w[3:] not in outside for w in windows)
    doubled = sum(w[1:3] == quote * 2 and w[:1] not in (*outside, b"\\") and w[3:] not in outside for w in windows)
    return escaped > doubled


def _has_header(options: CsvOptions, dialect: Dialect, path: str, text: bytes) -> bool:
    """Whether the first record can only be names: all there, all different, none a number, a truth or a time."""
    rows = _records(dialect, path, text)
    if not rows:
        return True
    names = [name for name, _ in rows[0]]
    known = not any(not name or (name in options.null_values and not quoted) for name, quoted in rows[0])
    grammar = Grammar.of(options)
    return (
        known
        and len(set(names)) == len(names)
        and all(pa.types.is_string(grammar.infer(pa.array([name]))) for name in names)
    )
