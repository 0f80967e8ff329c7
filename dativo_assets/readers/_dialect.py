"""How a delimited text is written down: cut into records, and records into fields."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Protocol

from dativo_plugin_sdk import ValidationError


class Lines(Protocol):
    """Lines of a text. path: for errors. line: how many were given. byte: where the next one begins."""

    path: str
    line: int
    byte: int

    def readline(self) -> bytes: ...


@dataclass(frozen=True)
class Record:
    """One record without its line end. line: where it starts, from 1. byte: as well, from 0."""

    line: int
    byte: int
    text: bytes


@dataclass(frozen=True)
class Dialect:
    """How records and fields are told apart. Quotes count at the start of a field alone, escapes inside quotes alone."""

    delimiter: str
    quote: str | None = '"'
    escape: str | None = None
    comment: str | None = None
    max_field_bytes: int = 256 << 20

    def records(self, source: Lines, row: int = 1) -> Iterator[Record]:
        """The records that are neither blank nor a comment. row: the number of the first one; 0: it holds the names.

        Raises: ValidationError: for a quote that is never closed, and whatever the source raises, each with row and line.
        """
        try:
            for record in self._records(source):
                yield record
                row += 1
        except ValidationError as error:
            raise error.at(row=row or None, line=source.line + 1) from error.__cause__

    def _records(self, source: Lines) -> Iterator[Record]:
        comment = (self.comment or "").encode()
        while line := source.readline():
            if line in (b"\n", b"\r\n", b"\r") or (comment and line.startswith(comment)):
                continue
            start = opened = source.line
            byte = source.byte - len(line)
            pieces, size = [line], len(line)
            at = self._open_at(line, False)
            quote = byte + (at or 0)
            while at is not None:
                line = source.readline()
                size += len(line)
                if not line or size > self.max_field_bytes:
                    raise _unclosed(source.path, opened, quote, size)
                pieces.append(line)
                at = self._open_at(line, True)
                if at is not None and at >= 0:
                    opened, quote = source.line, source.byte - len(line) + at
            yield Record(start, byte, _without_end(b"".join(pieces)))

    def _open_at(self, line: bytes, is_open: bool) -> int | None:
        """Where the quote that is open at the end of the line opened; -1: in an earlier line; None: none is open."""
        quote, delimiter = (self.quote or "").encode(), self.delimiter.encode()
        if not quote or (quote not in line and not is_open):
            return None
        position, at = 0, -1
        while True:
            if not is_open:
                at = 0 if position == 0 and line.startswith(quote) else line.find(delimiter + quote, position)
                if at < 0:
                    return None
                at += position > 0 or not line.startswith(quote)
                position = at + 1
            closed = _inside(self.quote or "", self.escape).match(line, position)
            assert closed is not None
            if not line.startswith(quote, closed.end()):
                return at
            position, is_open = closed.end() + 1, False

    def fields(self, record: Record) -> list[tuple[str, bool]]:
        """(text, whether it was quoted) of each field."""
        if not self.quote or self.quote.encode() not in record.text:
            return [(text, False) for text in record.text.decode().split(self.delimiter)]
        out = []
        for match in _field(self.delimiter, self.quote, self.escape).finditer(record.text.decode()):
            quoted, rest, plain, end = match.groups()
            out.append((plain, False) if quoted is None else (self._unescape(quoted) + rest, True))
            if not end:
                break
        return out

    def start_of(self, record: Record, index: int) -> int:
        """The byte of a record at which one of its fields begins, with its quote if it has one."""
        if not self.quote or self.quote.encode() not in record.text:
            return sum(len(text) + 1 for text in record.text.split(self.delimiter.encode())[:index])
        fields = _field(self.delimiter, self.quote, self.escape).finditer(record.text.decode())
        field = next(islice(fields, index, None))
        return len(field.string[: field.start()].encode())

    def _unescape(self, text: str) -> str:
        if self.escape and self.escape != self.quote:
            pair = f"{re.escape(self.escape)}(.)|{re.escape(str(self.quote))}{{2}}"
            return re.sub(pair, lambda match: match[1] or match[0][0], text, flags=re.DOTALL)
        return text.replace(f"{self.quote}{self.quote}", str(self.quote))


def _unclosed(path: str, line: int, byte: int, size_bytes: int) -> ValidationError:
    return ValidationError(
        f"{path}:{line}: a quote opens here and is not closed within {size_bytes:,} bytes",
        "OPEN_QUOTE",
        {"file": path, "line": line, "byte": byte},
        hint="close it, set options.quote_char to null if quotes are ordinary characters here, "
        "or raise options.max_field_bytes",
    )


def _without_end(line: bytes) -> bytes:
    if line.endswith(b"\r\n"):
        return line[:-2]
    return line[:-1] if line.endswith((b"\n", b"\r")) else line


def _content(quote: str, escape: str | None) -> str:
    """A pattern of what may stand between two quotes."""
    q = re.escape(quote)
    if escape is None or escape == quote:
        return f"[^{q}]*(?:{q}{q}[^{q}]*)*"
    e = re.escape(escape)
    return f"[^{q}{e}]*(?:(?:{e}.|{q}{q})[^{q}{e}]*)*"


@lru_cache(maxsize=16)
def _inside(quote: str, escape: str | None) -> re.Pattern[bytes]:
    return re.compile(_content(quote, escape).encode(), re.DOTALL)


@lru_cache(maxsize=16)
def _field(delimiter: str, quote: str, escape: str | None) -> re.Pattern[str]:
    d, q = re.escape(delimiter), re.escape(quote)
    return re.compile(f"(?:{q}({_content(quote, escape)}){q}([^{d}]*)|([^{d}]*))({d}|\\Z)", re.DOTALL)
