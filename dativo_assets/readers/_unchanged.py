"""A file that is not the one that was planned: what is read of it belongs to no run, and fails this one."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
from dativo_plugin_sdk import DativoError, FileReader, InputFile, Split, TransientError, ValidationError

from ._text import file_errors

KEY = "fingerprint"
"""In a split's payload, beside `file`: the file as it was when it was listed."""


def listed(reader: FileReader, file: InputFile) -> list[int]:
    """The fingerprint of a file as it was when it was listed."""
    with file_errors(file.path):
        now = reader.fingerprint(file.path)
    return [*file.fingerprint, *now[len(file.fingerprint) :]]


def while_unchanged(reader: FileReader, split: Split, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches of a split whose payload has `KEY`; a file of which a part is enough is not looked at again.

    Raises: TransientError: at their end, or in place of what is wrong with them, when the file has changed since.
    """
    try:
        yield from batches
    except (ValidationError, pa.ArrowException, IndexError) as error:
        _check(reader, split, error)  # what half a record looks like is no news then
        raise
    if split.payload["limit"] is None:
        _check(reader, split)


def _check(reader: FileReader, split: Split, cause: Exception | None = None) -> None:
    path = split.payload["file"]
    with file_errors(path):
        now = reader.fingerprint(path)
    if now != split.payload[KEY]:
        details = cause.details if isinstance(cause, DativoError) else {}
        raise TransientError(
            f"{path} changed while it was read",
            "FILE_CHANGED",
            {**details, "file": path},
            hint="run again once it is complete",
        ) from cause
