"""CSV files in a local directory, committed by one rename: what they say, the CSV reader reads back equal."""

from __future__ import annotations

import json
import re
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from dativo_plugin_sdk import (
    AssetDefinition,
    DirectoryOptions,
    DirectoryWriter,
    FileSink,
    TargetConfig,
    ValidationError,
)
from dativo_plugin_sdk.arrow import as_schema, type_name
from pydantic import Field, field_validator

from ._textfile import SUFFIXES, Compression, TextFile


class CsvOptions(DirectoryOptions):
    """How CSV files are written."""

    delimiter: str = Field(",", description="one character")
    header: bool = Field(True, description="whether the first row holds the column names")
    null_value: str = Field(
        "", max_length=255, description="unquoted text for null; an empty string is written as two quotes"
    )
    nested: Literal["error", "json"] = Field("error", description="lists, structs and maps: refuse, or as JSON text")
    compression: Compression = Field("none", description="of the whole file")

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, value: str) -> str:
        if len(value) != 1 or value in '\r\n\0"' or not value.isascii():
            raise ValueError("must be one ASCII character, and no quote or line break")
        return value


class CsvWriter(DirectoryWriter):
    """Writes CSV in UTF-8 with ISO dates and times. Null is `null_value` unquoted; text is quoted where it must be."""

    Options = CsvOptions
    extension = "csv"

    def __init__(self, asset_definition: AssetDefinition, target_config: TargetConfig, output_base: str = "") -> None:
        super().__init__(asset_definition, target_config, output_base)
        self.extension = "csv" + SUFFIXES[self.options.compression]  # type: ignore[misc]

    def open_file(self, path: str, schema: Any) -> FileSink:
        return _CsvSink(path, as_schema(schema), self.options)


class _CsvSink(TextFile):
    def __init__(self, path: str, schema: pa.Schema, options: CsvOptions) -> None:
        for field in schema:
            _check(field, options)
        super().__init__(path, options.compression)
        self._options = options
        special = re.escape(options.delimiter)
        self._needs_quotes = rf'["\r\n{special}]|\A\z|\A{re.escape(options.null_value)}\z'
        if options.header:
            self.add(self._line([self._quoted(pa.array([name], pa.string())) for name in schema.names]), 0)

    def write(self, batch: Any) -> None:
        batch = pa.record_batch(batch)
        if not batch.num_rows:
            return
        if batch.num_columns == 1 and not self._options.null_value and batch.column(0).null_count:
            raise ValidationError(
                f"column {batch.schema.names[0]!r} stands alone and holds null, which CSV would show as a blank line",
                hint="set target.options.null_value, such as NA",
            )
        self.add(self._line([self._cells(column) for column in batch.columns]), batch.num_rows)

    def _line(self, columns: list[pa.Array]) -> bytes:
        rows = pc.binary_join_element_wise(*columns, self._options.delimiter)
        lines = pa.ListArray.from_arrays(pa.array([0, len(rows)], pa.int32()), rows)
        text: bytes = pc.binary_join(lines, "\n")[0].as_buffer().to_pybytes()
        return text + b"\n"

    def _cells(self, column: pa.Array) -> pa.Array:
        texts = _texts(column)
        if pa.types.is_floating(column.type):
            whole = pc.match_substring_regex(texts, r"\A-?[0-9]+\z")
            texts = pc.if_else(whole, pc.binary_join_element_wise(texts, ".0", ""), texts)  # 1.0 stays a float
        return pc.fill_null(self._quoted(texts), self._options.null_value)

    def _quoted(self, texts: pa.Array) -> pa.Array:
        doubled = pc.replace_substring(texts, '"', '""')
        quoted = pc.binary_join_element_wise('"', doubled, '"', "")
        return pc.if_else(pc.match_substring_regex(texts, self._needs_quotes), quoted, texts)


def _texts(column: pa.Array) -> pa.Array:
    kind, types = column.type, pa.types
    if types.is_dictionary(kind):
        return _texts(column.dictionary_decode())
    if types.is_nested(kind):
        dump = [
            None if value is None else json.dumps(value, ensure_ascii=False, default=str)
            for value in column.to_pylist()
        ]
        return pa.array(dump, pa.string())
    if types.is_timestamp(kind):
        utc = column if kind.tz is None else column.cast(pa.timestamp(kind.unit, "UTC"))
        return pc.replace_substring(utc.cast(pa.string()), " ", "T")
    return column.cast(pa.string())


def _check(field: pa.Field, options: CsvOptions) -> None:
    kind, types = field.type, pa.types
    nested = types.is_nested(kind)
    binary = types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)
    if binary or (nested and options.nested == "error") or types.is_duration(kind) or types.is_interval(kind):
        raise ValidationError(
            f"CSV has no text for column {field.name!r}, a {type_name(kind)}",
            details={"column": field.name},
            hint="set target.options.nested: json" if nested else "leave the column out, or write parquet",
        )
