"""The text of a delimited file: decompressed, decoded to UTF-8, cut into records, and records into fields."""

from __future__ import annotations

import codecs
import errno
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, Protocol

from dativo_plugin_sdk import (
    AuthenticationError,
    ConfigurationError,
    ConnectionError,
    TransientError,
    ValidationError,
    open_input,
)
from dativo_plugin_sdk.files import Compression
from typing_extensions import Self

DETECTION_BYTES = 64 << 10
"""Bytes at the beginning of a text in which its encoding and dialect are looked for."""

_CHUNK_BYTES = 1 << 18
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DEVICE = (errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE)
_BROKEN = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError)


@contextmanager
def file_errors(path: str, byte: int | None = None) -> Iterator[None]:
    """Whatever opening, reading or decompressing a file raises, as an error of the tree that names the file.

    byte: of its text, where reading had come to.
    """
    details: dict[str, object] = {"file": path} if byte is None else {"file": path, "byte": byte}
    said = f"can't read {path}" if byte is None else f"can't read {path} from byte {byte} on"
    try:
        yield
    except PermissionError as error:
        raise AuthenticationError(
            f"no permission to read {path}", "PERMISSION_DENIED", details, hint="grant the running user access to it"
        ) from error
    except FileNotFoundError as error:
        raise ConnectionError(
            f"{path} does not exist any more", "FILE_NOT_FOUND", details, retryable=False, hint="check the path"
        ) from error
    except IsADirectoryError as error:
        raise ConfigurationError(
            f"{path} is a directory", "IS_A_DIRECTORY", details, hint="name files, or a glob"
        ) from error
    except _BROKEN as error:
        raise _damaged(said, details, error) from error
    except OSError as error:
        if error.errno is None:  # bz2, gzip and zstd tell of broken data this way
            raise _damaged(said, details, error) from error
        if error.errno in _DEVICE:
            hint = f"look at the disk or mount of {path}, then run the job again"
            raise TransientError(f"{said}: {error.strerror}", "IO_ERROR", details, hint=hint) from error
        raise ValidationError(f"{said}: {error.strerror}", details=details) from error


def _damaged(said: str, details: dict[str, object], error: Exception) -> ValidationError:
    return ValidationError(
        f"{said}: it is truncated or corrupt: {error}",
        "DAMAGED_FILE",
        details,
        hint="get the file again, or set options.compression if its suffix misleads",
    )


class TextInput:
    """A file as UTF-8 bytes without BOM, every byte checked; a binary stream of `read` and `readline`.

    end_last_line: add the line end that the file's last line lacks.
    line: lines given by `readline` so far. quotes: how many of the quote character `read` gave, 0 without one.

    Raises: ValidationError: at the first byte that is not of the encoding, with its offset in the decompressed file.
    """

    def __init__(
        self,
        path: str,
        encoding: str = "utf-8",
        compression: Compression = "auto",
        *,
        quote: str | None = None,
        end_last_line: bool = False,
        open_file: Callable[[str, Compression], IO[bytes]] = open_input,
    ) -> None:
        self.path = path
        self.line = 0
        self.quotes = 0
        self.closed = False
        self._quote = quote.encode() if quote else b""
        self._end_last_line = end_last_line
        self._offset = 0
        with file_errors(path):
            self._file = open_file(path, compression)
        try:
            self._begin(encoding)
        except BaseException:
            self.close()
            raise

    def _begin(self, encoding: str) -> None:
        with file_errors(self.path, 0):
            head = self._file.read(_CHUNK_BYTES)
        for bom, named in _BOMS:
            if head.startswith(bom):
                encoding, self._offset, head = named, len(bom), head[len(bom) :]
                break
        if encoding == "auto":
            encoding = _encoding_of(head[:DETECTION_BYTES])
        try:
            self._encoding = codecs.lookup(encoding).name
            self._decoder = codecs.getincrementaldecoder(encoding)("strict")
        except (LookupError, ValueError) as error:
            raise ConfigurationError(
                f"unknown encoding {encoding!r}", hint="utf-8, utf-16, latin-1, windows-1252, ..."
            ) from error
        self._ended = not head
        self._buffer = self._decode(head)
        self._last = self._buffer[-1:]

    @property
    def encoding(self) -> str:
        """The encoding's name, be it given or found."""
        return self._encoding

    def _decode(self, raw: bytes) -> bytes:
        held = len(self._decoder.getstate()[0])
        try:
            text = self._decoder.decode(raw, final=not raw)
        except UnicodeDecodeError as error:
            at = self._offset - held + error.start
            raise ValidationError(
                f"{self.path} is not {self._encoding}: {error.reason} at byte {at}",
                details={"file": self.path, "byte": at},
                hint="set options.encoding (latin-1, windows-1252, utf-16, ...)",
            ) from error
        self._offset += len(raw)
        return text.encode()

    def _more(self) -> bytes:
        """The next piece; b"" at the end alone."""
        while not self._ended:
            with file_errors(self.path, self._offset):
                raw = self._file.read(_CHUNK_BYTES)
            self._ended = not raw
            piece = self._decode(raw)
            if piece:
                self._last = piece[-1:]
                return piece
        lacking = self._end_last_line and self._last not in b"\r\n"
        self._last = b""
        return b"\n" if lacking else b""

    def read(self, size: int = -1) -> bytes:
        """Exactly `size` bytes, fewer at the end alone; all that is left for -1."""
        pieces, have = [self._buffer], len(self._buffer)
        while size < 0 or have < size:
            piece = self._more()
            if not piece:
                break
            pieces.append(piece)
            have += len(piece)
        whole = b"".join(pieces)
        size = have if size < 0 else size
        self._buffer = whole[size:]
        whole = whole[:size]
        if self._quote:
            self.quotes += whole.count(self._quote)
        return whole

    def readline(self) -> bytes:
        r"""The next line with its end (\n, \r\n or \r); b"" after the last."""
        pieces: list[bytes] = []
        buffer = self._buffer
        while True:
            end = _line_end(buffer)
            if end and not (end == len(buffer) and buffer.endswith(b"\r")):
                break
            piece = self._more()
            if not piece:
                end = end or len(buffer)
                break
            if end:  # a \r at the edge: the \n that may follow belongs to it
                buffer += piece
            else:
                pieces.append(buffer)
                buffer = piece
        pieces.append(buffer[:end])
        self._buffer = buffer[end:]
        line = b"".join(pieces)
        self.line += bool(line)
        return line

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.closed = True
        self._file.close()


def _encoding_of(sample: bytes) -> str:
    """The encoding of the beginning of a text without a byte order mark."""
    # Text in UTF-16 has zeros in every other byte wherever it is ASCII.
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if odd * 4 > len(sample) and even * 16 < len(sample):
        return "utf-16-le"
    if even * 4 > len(sample) and odd * 16 < len(sample):
        return "utf-16-be"
    try:
        codecs.getincrementaldecoder("utf-8")("strict").decode(sample)
    except UnicodeDecodeError:
        return "windows-1252"
    return "utf-8"


def _line_end(buffer: bytes) -> int:
    newline = buffer.find(b"\n")
    carriage = buffer.find(b"\r", 0, len(buffer) if newline < 0 else newline)
    if carriage < 0:
        return newline + 1
    return carriage + 2 if newline == carriage + 1 else carriage + 1


class Lines(Protocol):
    """Lines of a text. path: for errors. line: how many were given."""

    path: str
    line: int

    def readline(self) -> bytes: ...


@dataclass(frozen=True)
class Record:
    """One record without its line end. line: where it starts, from 1."""

    line: int
    text: bytes


@dataclass(frozen=True)
class Dialect:
    """How records and fields are told apart. Quotes count at the start of a field alone, escapes inside quotes alone."""

    delimiter: str
    quote: str | None = '"'
    escape: str | None = None
    comment: str | None = None
    max_field_bytes: int = 256 << 20

    def records(self, source: Lines) -> Iterator[Record]:
        """The records that are neither blank nor a comment.

        Raises: ValidationError: for a quote that is never closed, naming the line where it opened.
        """
        comment = (self.comment or "").encode()
        while line := source.readline():
            if line in (b"\n", b"\r\n", b"\r") or (comment and line.startswith(comment)):
                continue
            start = opened = source.line
            pieces, size = [line], len(line)
            at = self._open_at(line, False)
            while at is not None:
                line = source.readline()
                size += len(line)
                if not line or size > self.max_field_bytes:
                    raise _unclosed(source.path, opened, size)
                pieces.append(line)
                at = self._open_at(line, True)
                if at is not None and at >= 0:
                    opened = source.line
            yield Record(start, _without_end(b"".join(pieces)))

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

    def _unescape(self, text: str) -> str:
        if self.escape and self.escape != self.quote:
            pair = f"{re.escape(self.escape)}(.)|{re.escape(str(self.quote))}{{2}}"
            return re.sub(pair, lambda match: match[1] or match[0][0], text, flags=re.DOTALL)
        return text.replace(f"{self.quote}{self.quote}", str(self.quote))


def _unclosed(path: str, line: int, size_bytes: int) -> ValidationError:
    return ValidationError(
        f"{path}:{line}: a quote opens here and is not closed within {size_bytes:,} bytes",
        details={"file": path, "line": line},
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
