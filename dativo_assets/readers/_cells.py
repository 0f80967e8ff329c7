"""Delimited records as text columns: by pyarrow's tokenizer for plain dialects, by our own for the rest."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from dativo_plugin_sdk import CsvOptions, ValidationError

from ._dialect import Dialect, Record
from ._text import TextInput

_LINE_END = re.compile(rb"\r\n|\r|\n")
_ROWS = 1 << 16
_LEAST_BLOCK_BYTES = 1 << 12
_MOST_BLOCK_BYTES = 1 << 20  # Arrow holds some fifty blocks; larger ones are no faster


@dataclass
class Cells:
    """The records of one file as batches of text columns: n rows x the `wanted` ones of `names`, null for null.

    open: gives the file positioned at its first record. skipped: rows left out by `bad_lines: skip`, once iterated.

    Raises: ValidationError: for a record of another length, a field over `max_field_bytes`, a quote never closed.
    """

    path: str
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
            yield batch.select(list(self.wanted))

    def place(self, row: int, column: str) -> dict[str, int]:
        """Row, line and byte of a value, as they are in the file. row: among those that were given, from 1."""
        skips, index = self.options.bad_lines == "skip", self.names.index(column)
        marks = [mark.encode() for mark in (self.dialect.quote, self.dialect.comment, "\r") if mark]
        with self.open() as source:
            given = 0 if skips else source.pass_lines(row - 1, marks)
            for number, record in enumerate(self.dialect.records(source), given + 1):
                if skips and len(self.dialect.fields(record)) != len(self.names):
                    continue
                given += 1
                if given == row:
                    at = self.dialect.start_of(record, index)
                    lines = len(_LINE_END.findall(record.text[:at]))
                    return {"row": number, "line": record.line + lines, "byte": record.byte + at}
        return {"row": row}

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
        # A field too long for a block ends the block, whatever its column.
        looked_at = self.names if self.options.max_field_bytes < block else [*self.wanted, last]
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
                    include_columns=list(dict.fromkeys(looked_at)),
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
                    yield batch.slice(passed)
        except pa.ArrowInvalid as error:
            if bad.first is not None and not bad.skip:
                raise self._ragged(bad.first.number, bad.first.actual_columns) from error
            if "straddl" in str(error):
                raise _RecordOverBlock from error
            if "Empty CSV" not in str(error):
                raise ValidationError(f"{self.path}: {error}", details={"file": self.path}) from error
            end = ""
        except ValidationError as error:
            raise self._placed(error) from error.__cause__
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

    def _placed(self, error: ValidationError) -> ValidationError:
        """What the text raised, with the row and the line, which are found by reading up to there again."""
        try:
            with self.open() as again:
                for _ in self.dialect.records(again):
                    pass
        except ValidationError as found:
            return found
        return error

    def _longest(self, block: int) -> int:
        """Bytes of the first record longer than a block."""
        source = self.open()
        try:
            records = enumerate(self.dialect.records(source), 1)
            row, record = next((found for found in records if len(found[1].text) >= block), (0, None))
        finally:
            source.close()
        if record is None:
            return block * 4
        size = len(record.text)
        if size > self.options.max_field_bytes * len(self.names):
            raise self._too_long({"row": row, "line": record.line, "byte": record.byte})
        return size

    def _ragged(self, row: int, found: int) -> ValidationError:
        source = self.open()
        try:
            record = next(islice(self.dialect.records(source), row - 1, None), None)
        finally:
            source.close()
        return self._ragged_at(record, row, found)

    # -- other dialects --------------------------------------------------------------------------------------------

    def _by_record(self) -> Iterator[pa.RecordBatch]:
        source = self.open()
        picked = [self.names.index(name) for name in self.wanted]
        columns: list[list[str | None]] = [[] for _ in picked]
        rows = size = given = 0
        try:
            for row, record in enumerate(self.dialect.records(source), 1):
                fields = self.dialect.fields(record)
                if len(fields) != len(self.names):
                    if self.options.bad_lines == "error":
                        raise self._ragged_at(record, row, len(fields))
                    self.skipped += 1
                    continue
                if len(record.text) > self.options.max_field_bytes:
                    self._check_fields(fields, given)
                given += 1
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

    def _ragged_at(self, record: Record | None, row: int, found: int) -> ValidationError:
        """record: None where it is no longer there."""
        expected = len(self.names)
        line, byte = (0, 0) if record is None else (record.line, record.byte)
        return ValidationError(
            f"{self.path}:{line}: row {row} has {found} fields, expected {expected}",
            "RAGGED_ROW",
            {"file": self.path, "line": line, "row": row, "byte": byte, "expected": expected, "found": found},
            hint="quote a value that holds the delimiter, or set options.bad_lines: skip to leave such rows out",
        )

    def _too_long(self, details: dict[str, Any]) -> ValidationError:
        limit = self.options.max_field_bytes
        return ValidationError(
            f"{self.path}: row {details['row']} holds a field longer than {limit:,} bytes",
            "FIELD_TOO_LONG",
            {"file": self.path, **details},
            hint="look for a quote left open before it, or raise options.max_field_bytes",
        )

    def _check_sizes(self, batch: pa.RecordBatch, done: int) -> None:
        """done: rows before the batch."""
        for name in batch.schema.names:
            is_long = pc.greater(pc.binary_length(batch.column(name)), self.options.max_field_bytes)
            if (at := pc.index(is_long, True).as_py()) >= 0:
                raise self._too_long({**self.place(done + at + 1, name), "column": name})

    def _check_fields(self, fields: Sequence[tuple[str, bool]], given: int) -> None:
        """given: rows before this one."""
        for name, cell in zip(self.names, fields, strict=True):
            if len((self._value(*cell) or "").encode()) > self.options.max_field_bytes:
                raise self._too_long({**self.place(given + 1, name), "column": name})


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
