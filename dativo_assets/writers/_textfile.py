"""A text file being written, plain or compressed."""

from __future__ import annotations

import gzip
import os
from contextlib import suppress
from typing import IO, Any, Literal, cast

Compression = Literal["none", "gzip", "zstd"]
SUFFIXES: dict[Compression, str] = {"none": "", "gzip": ".gz", "zstd": ".zst"}


class TextFile:
    """Rows as bytes. `finish` tells rows and bytes on disk; `abort` leaves no file."""

    def __init__(self, path: str, compression: Compression) -> None:
        self._path = path
        self._rows = 0
        self._file = _open(path, compression)

    def add(self, text: bytes, rows: int) -> None:
        self._file.write(text)
        self._rows += rows

    def finish(self) -> dict[str, Any]:
        self._file.close()
        return {"rows": self._rows, "bytes": os.path.getsize(self._path)}

    def abort(self) -> None:
        with suppress(OSError):
            self._file.close()
        with suppress(FileNotFoundError):
            os.unlink(self._path)


def _open(path: str, compression: Compression) -> IO[bytes]:
    if compression == "gzip":
        return cast(IO[bytes], gzip.open(path, "wb", compresslevel=6))
    if compression == "zstd":
        import pyarrow

        return cast(IO[bytes], pyarrow.CompressedOutputStream(path, "zstd"))
    return open(path, "wb")
