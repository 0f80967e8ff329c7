"""Lines of JSON parsed by the native package `dativo-rust-json`, where it is installed; what is not plain is left to Python.

Its rows are those that Python would have given: it refuses a block of lines rather than to read it in another way.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from importlib.util import find_spec
from typing import IO, Any, NamedTuple

import pyarrow as pa
from dativo_plugin_sdk import TransientError

from ._text import TextInput

_BLOCK_BYTES = 1 << 20
_LEAST_BYTES = 4 << 20
_MOST_BYTES = 64 << 20
_PIECES_PER_THREAD = 8
_SEARCH_BYTES = 1 << 16


class Block(NamedTuple):
    """Whole lines. batch: their rows, None where Python has to read them. first: lines before them in their part."""

    text: bytes
    batch: pa.RecordBatch | None
    first: int


def is_native() -> bool:
    """Whether the native package is installed."""
    return find_spec("dativo_rust_json") is not None


def native_lines(schema: pa.Schema, others: bool) -> Any | None:
    """A parser for columns of this schema; others: objects have keys besides. None where it is not installed."""
    try:
        from dativo_rust_json import Lines
    except ImportError:
        return None
    return Lines(schema, others)


def blocks(source: TextInput, parser: Any) -> Iterator[Block]:
    """The rest of a text, block by block."""
    first = 0
    while text := source.read(_BLOCK_BYTES):
        if not text.endswith(b"\n"):
            text += source.readline()
        parsed = parser.parse(text)
        yield Block(text, None if parsed is None else pa.record_batch(parsed[0]), first)
        first += count_lines(text) if parsed is None else parsed[1]


def lines_again(text: bytes, path: str, first: int) -> TextInput:
    """Lines as a text of their own that counts from `first` on."""
    # Behind a blank line, at which no byte order mark is looked for.
    source = TextInput(path, open_file=lambda _path, _compression: io.BytesIO(b"\n" + text))
    source.line = first - 1
    return source


def count_lines(text: bytes) -> int:
    r"""Line ends: \n, \r\n and \r."""
    return text.count(b"\n") + (text.count(b"\r") - text.count(b"\r\n") if b"\r" in text else 0)


def lines_before(path: str, end: int) -> tuple[int, int]:
    """Lines in the first `end` bytes of a file, and how many of them are not blank."""
    with TextInput(path, open_file=lambda _path, _compression: open_part(path, 0, end)) as source:
        rows = sum(1 for line in iter(source.readline, b"") if not line.isspace())
        return source.line, rows


def starts(path: str, size: int, threads: int) -> list[int]:
    """Where one large file can be cut: at objects behind line ends, the first one at 0."""
    piece = min(max(size // (_PIECES_PER_THREAD * threads), _LEAST_BYTES), _MOST_BYTES)
    found = [0]
    with open(path, "rb") as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):  # UTF-16, whatever the options say
            return found
        for near in range(piece, size - piece // 2, piece):
            if near <= found[-1]:
                continue
            file.seek(near)
            at = near
            while text := file.read(_SEARCH_BYTES):
                if (end := text.find(b"\n{")) >= 0:
                    found.append(at + end + 1)
                    break
                file.seek(at := at + max(1, len(text) - 1))
    return [0, *(start for start in found[1:] if start < size)]


def open_part(path: str, start: int, end: int) -> IO[bytes]:
    """The bytes `start..end` of a file, all of which must be there."""
    return io.BufferedReader(_Part(path, start, end))


class _Part(io.RawIOBase):
    def __init__(self, path: str, start: int, end: int) -> None:
        self._file = os.open(path, os.O_RDONLY)
        self._path, self._at, self._end = path, start, end

    def readable(self) -> bool:
        return True

    def readinto(self, out: Any) -> int:
        wanted = memoryview(out)[: self._end - self._at]
        got = os.preadv(self._file, [wanted], self._at) if len(wanted) else 0
        if not got and len(wanted):
            raise TransientError(
                f"{self._path} changed while it was read",
                "FILE_CHANGED",
                {"file": self._path, "byte": self._at},
                hint="run again once it is complete",
            )
        self._at += got
        return got

    def close(self) -> None:
        if not self.closed:
            os.close(self._file)
        super().close()
