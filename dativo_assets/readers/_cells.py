"""Delimited records as text columns: by pyarrow's tokenizer for plain dialects, by our own for the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from dativo_plugin_sdk import CsvOptions, ValidationError

from ._text import Dialect, TextInput

_ROWS = 1 << 16
_LEAST_BLOCK_BYTES = 1 << 12
_MOST_BLOCK_BYTES = 1 << 20  # Arrow holds some fifty blocks; larger ones are no faster


@dataclass
class Cells:
    """The records of one file as batches of text columns: n rows x the `wanted` ones of `names`, null for null.

    open: gives the file positioned at its first record. skipped: rows left out by `bad_lines: skip`, once iterated.

    Raises: ValidationError: for a record of another length, a field over `max_field_bytes`, a quote never closed.
    """

    open: Callable[[], TextInput]
    dialect: Dialect
    options: CsvOptions
    names: Sequence[str]
    wanted: Sequence[str]
    batch_bytes: int
    skipped: int = field(default=0, init=False)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        plain = not (self.options.trim or self.dialect.escape or self.dialect.comment)
        done = 0
        for batch in self._by_arrow() if plain else self._by_record():
            if batch.nbytes > self.options.max_field_bytes:
                self._check_sizes(batch, done)
            done += batch.num_rows
            yield batch

    # -- pyarrow ---------------------------------------------------------------------------------------------------

    def _by_arrow(self) -> Iterator[pa.RecordBatch]:
        block, done = min(max(self.batch_bytes, _LEAST_BLOCK_BYTES), _MOST_BLOCK_BYTES), 0
        while True:
            try:
                for batch in self._parse(block, done):
                    done += batch.num_rows
                    yield batch
                return
            except _RecordOverBlock:  # start over with blocks that hold it, past the rows already given
                block = self._longest(block) + _LEAST_BLOCK_BYTES

    def _parse(self, block: int, done: int) -> Iterator[pa.RecordBatch]:
        source, bad = self.open(), _BadRows(self.options.bad_lines == "skip")
        last = self.names[-1]
        try:
            reader = pacsv.open_csv(
                source,
                read_options=pacsv.ReadOptions(use_threads=False, block_size=block, column_names=list(self.names)),
                parse_options=pacsv.ParseOptions(
                    delimiter=self.dialect.delimiter,
                    quote_char=self.dialect.quote or False,
                    newlines_in_values=self.dialect.quote is not None,
                    invalid_row_handler=bad,
                ),
                convert_options=pacsv.ConvertOptions(
                    check_utf8=False,
                    column_types={name: pa.string() for name in self.names},
                    include_columns=list(dict.fromkeys([*self.wanted, last])),
                    null_values=list(self.options.null_values),
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                ),
            )
            end = ""
            for batch in reader:
                if not batch.num_rows:
                    continue
                end = batch.column(last)[-1].as_py() or ""
                passed, done = min(done, batch.num_rows), max(0, done - batch.num_rows)
                if passed < batch.num_rows:
                    yield batch.slice(passed).select(list(self.wanted))
        except pa.ArrowInvalid as error:
            if bad.first is not None and not bad.skip:
                raise self._ragged(bad.first.number, bad.first.actual_columns) from error
            if "straddl" in str(error):
                raise _RecordOverBlock from error
            if "Empty CSV" not in str(error):
                raise ValidationError(f"{source.path}: {error}", details={"file": source.path}) from error
            end = ""
        finally:
            source.close()
        self.skipped = bad.count
        self._check_closed(source, end)

    def _check_closed(self, source: TextInput, end: str) -> None:
        """Arrow takes a quote that is never closed for a value up to the end of the file."""
        if source.quotes % 2 or end.endswith(("\n", "\r")):
            with self.open() as again:
                for _ in self.dialect.records(again):
                    pass

    def _longest(self, block: int) -> int:
        """Bytes of the first record longer than a block."""
        source = self.open()
        try:
            records = enumerate(self.dialect.records(source), 1)
            sizes = ((row, record.line, len(record.text)) for row, record in records)
            row, line, size = next((found for found in sizes if found[2] >= block), (0, 0, block * 4))
        finally:
            source.close()
        if size > self.options.max_field_bytes * len(self.names):
            raise self._too_long(source.path, {"row": row, "line": line})
        return size

    def _ragged(self, row: int, found: int) -> ValidationError:
        source = self.open()
        try:
            record = next(islice(self.dialect.records(source), row - 1, None), None)
        finally:
            source.close()
        return self._ragged_at(source.path, record.line if record else 0, row, found)

    # -- other dialects --------------------------------------------------------------------------------------------

    def _by_record(self) -> Iterator[pa.RecordBatch]:
        source = self.open()
        picked = [self.names.index(name) for name in self.wanted]
        columns: list[list[str | None]] = [[] for _ in picked]
        rows = size = 0
        try:
            for row, record in enumerate(self.dialect.records(source), 1):
                fields = self.dialect.fields(record)
                if len(fields) != len(self.names):
                    if self.options.bad_lines == "error":
                        raise self._ragged_at(source.path, record.line, row, len(fields))
                    self.skipped += 1
                    continue
                for column, index in zip(columns, picked, strict=True):
                    column.append(self._value(*fields[index]))
                rows, size = rows + 1, size + len(record.text)
                if rows >= _ROWS or size >= self.batch_bytes:
                    yield self._batch(columns)
                    columns, rows, size = [[] for _ in picked], 0, 0
        finally:
            source.close()
        if rows:
            yield self._batch(columns)

    def _value(self, text: str, quoted: bool) -> str | None:
        if quoted:
            return text
        text = text.strip(" ") if self.options.trim else text
        return None if text in self.options.null_values else text

    def _batch(self, columns: Sequence[list[str | None]]) -> pa.RecordBatch:
        return pa.record_batch([pa.array(column, pa.string()) for column in columns], names=list(self.wanted))

    # -- errors ----------------------------------------------------------------------------------------------------

    def _ragged_at(self, path: str, line: int, row: int, found: int) -> ValidationError:
        expected = len(self.names)
        return ValidationError(
            f"{path}:{line}: row {row} has {found} fields, expected {expected}",
            details={"file": path, "line": line, "row": row, "expected": expected, "found": found},
            hint="quote a value that holds the delimiter, or set options.bad_lines: skip to leave such rows out",
        )

    def _too_long(self, path: str, details: dict[str, Any]) -> ValidationError:
        limit = self.options.max_field_bytes
        return ValidationError(
            f"{path}: row {details['row']} holds a field longer than {limit:,} bytes",
            "FIELD_TOO_LONG",
            {"file": path, **details},
            hint="look for a quote left open before it, or raise options.max_field_bytes",
        )

    def _check_sizes(self, batch: pa.RecordBatch, done: int) -> None:
        """done: rows before the batch."""
        with self.open() as source:
            path = source.path
        for name in self.wanted:
            is_long = pc.greater(pc.binary_length(batch.column(name)), self.options.max_field_bytes)
            if (at := pc.index(is_long, True).as_py()) >= 0:
                raise self._too_long(path, {"row": done + at + 1, "column": name})


class _RecordOverBlock(Exception):
    """A record spans more than one of the blocks that Arrow parses."""


class _BadRows:
    """pyarrow's handler of rows of another length: counts them, keeps the first."""

    def __init__(self, skip: bool) -> None:
        self.skip = skip
        self.count = 0
        self.first: Any = None

    def __call__(self, row: Any) -> str:
        self.count += 1
        self.first = self.first or row
        return "skip" if self.skip else "error"
