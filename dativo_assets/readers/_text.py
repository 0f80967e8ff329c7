"""The text of a file: decompressed, decoded to UTF-8, cut into lines."""

from __future__ import annotations

import codecs
import errno
import lzma
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import IO

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
    line: lines given by `readline` so far. byte: where the next one begins, a byte order mark counted.
    quotes: how many of the quote character `read` gave, 0 without one.

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
        self.byte = 0
        self.quotes = 0
        self.closed = False
        self._quote = quote.encode() if quote else b""
        self._end_last_line = end_last_line
        self._offset = 0
        self._failure: ValidationError | None = None
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
                self.byte = len(bom)
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
        """The text of the next bytes. What can't be decoded is raised once all that is before it was given out."""
        held = len(self._decoder.getstate()[0])
        try:
            text = self._decoder.decode(raw, final=not raw)
        except UnicodeDecodeError as error:
            at = self._offset - held + error.start
            self._failure = ValidationError(
                f"{self.path} is not {self._encoding}: {error.reason} at byte {at}",
                "INVALID_ENCODING",
                {"file": self.path, "byte": at},
                hint="set options.encoding (latin-1, windows-1252, utf-16, ...)",
            )
            text = self._decoder.decode(raw[: max(error.start - held, 0)])
        self._offset += len(raw)
        return text.encode()

    def _more(self) -> bytes:
        """The next piece; b"" at the end alone."""
        if self._failure is not None:
            raise self._failure
        while not self._ended:
            with file_errors(self.path, self._offset):
                raw = self._file.read(_CHUNK_BYTES)
            self._ended = not raw
            piece = self._decode(raw)
            if piece:
                self._last = piece[-1:]
                return piece
            if self._failure is not None:
                raise self._failure
        lacking = self._end_last_line and self._last not in b"\r\n"
        self._last = b""
        return b"\n" if lacking else b""

    def read(self, size: int = -1) -> bytes:
        """Exactly `size` bytes, fewer at the end and before an error alone; all that is left for -1."""
        pieces, have = [self._buffer], len(self._buffer)
        while size < 0 or have < size:
            if have and self._failure is not None:
                break
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
        self.byte += len(line)
        return line

    def pass_lines(self, count: int, marks: Collection[bytes]) -> int:
        """Leave out `count` lines, fewer where one may be blank or more than a record; returns how many.

        marks: what a line has none of that is a record of its own.
        """
        passed = 0
        while passed < count:
            end = self._buffer.rfind(b"\n") + 1
            if not end:
                piece = self._more()
                if not piece:
                    break
                self._buffer += piece
                continue
            lines = self._buffer[:end]
            blank = lines.startswith(b"\n") or b"\n\n" in lines
            if blank or passed + lines.count(b"\n") > count or any(mark in lines for mark in marks):
                break
            passed += lines.count(b"\n")
            self.byte += end
            self._buffer = self._buffer[end:]
        self.line += passed
        return passed

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
