"""Rows that wait for a commit in Arrow files of this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .arrow import as_schema, pyarrow
from .errors import ValidationError
from .models import Committable, WriteTask
from .writer import SplitWriter


class StagedRows(SplitWriter):
    """One worker's rows in one file of a folder. compression: None for rows that are to be mapped into memory."""

    def __init__(self, folder: Path, task: WriteTask, compression: str | None = "lz4") -> None:
        pa = pyarrow()
        self._path = folder / f"{task.kind}-{task.index:04d}.arrow"
        self._kind = task.kind
        self._rows = 0
        self._file = pa.OSFile(str(self._path), "wb")
        options = pa.ipc.IpcWriteOptions(compression=compression)
        self._writer = pa.ipc.new_stream(self._file, as_schema(task.schema), options=options)

    def write(self, batch: Any) -> None:
        batch = pyarrow().record_batch(batch)
        self._rows += batch.num_rows
        self._writer.write_batch(batch)

    def finish(self) -> Sequence[Committable]:
        self._writer.close()
        self._file.close()
        size = self._path.stat().st_size
        return [Committable(kind=self._kind, rows=self._rows, bytes=size, payload={"file": self._path.name})]

    def abort(self) -> None:
        with suppress(Exception):
            self._file.close()
        self._path.unlink(missing_ok=True)


def staged_schema(folder: Path, staged: Sequence[Committable]) -> Any:
    """The Arrow schema of staged rows."""
    pa = pyarrow()
    with pa.OSFile(str(folder / staged[0].payload["file"])) as file:
        return pa.ipc.open_stream(file).schema


def reread(path: Path, columns: Sequence[str]) -> Iterator[Any]:
    """Some columns of the rows staged in a file."""
    pa = pyarrow()
    with pa.OSFile(str(path)) as file:
        for batch in pa.ipc.open_stream(file):
            yield batch.select(list(columns))


def staged_batches(
    folder: Path,
    staged: Sequence[Committable],
    schema: Any,
    constants: Mapping[str, Any] | None = None,
    number: str | None = None,
) -> Any:
    """Staged rows as a RecordBatchReader of `schema`, whose last columns are `constants`. number: a column that counts
    the rows, added behind them.

    Raises, while it is read: ValidationError: where a value would not survive its column's type.
    """
    pa = pyarrow()
    whole = schema if number is None else schema.append(pa.field(number, pa.int64()))

    def read() -> Iterator[Any]:
        count = 0
        for item in staged:
            with pa.OSFile(str(folder / item.payload["file"])) as file:
                for batch in pa.ipc.open_stream(file):
                    rows = batch.num_rows
                    columns = [_cast(array, schema.field(at)) for at, array in enumerate(batch.columns)]
                    columns += [pa.repeat(value, rows) for value in (constants or {}).values()]
                    if number is not None:
                        columns.append(pa.array(range(count, count + rows), pa.int64()))
                        count += rows
                    yield pa.RecordBatch.from_arrays(columns, schema=whole)

    return pa.RecordBatchReader.from_batches(whole, read())


def _cast(array: Any, field: Any) -> Any:
    pa = pyarrow()
    if array.type.equals(field.type):
        return array
    try:
        if pa.types.is_nested(array.type):
            return pa.array([None if v is None else json.dumps(v, default=str) for v in array.to_pylist()], field.type)
        return array.cast(field.type)
    except pa.ArrowInvalid as error:
        raise ValidationError(
            f"column {field.name}: {error}", details={"column": field.name}, hint="round it, or declare another type"
        ) from error
