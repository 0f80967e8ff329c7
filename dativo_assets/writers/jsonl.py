"""JSON lines in a local directory, committed by one rename: one object a row.

JSON has no word for some values: decimals become strings (their digits survive), dates and times ISO strings, binary
base64, and NaN and infinities are an error unless `not_finite: null`.
"""

from __future__ import annotations

import base64
import json
import math
from typing import Any, Literal

import pyarrow as pa
from dativo_plugin_sdk import (
    AssetDefinition,
    DirectoryOptions,
    DirectoryWriter,
    FileSink,
    TargetConfig,
    ValidationError,
)
from dativo_plugin_sdk.arrow import as_schema
from pydantic import Field

from ._textfile import SUFFIXES, Compression, TextFile


class JsonlOptions(DirectoryOptions):
    """How JSON lines are written."""

    not_finite: Literal["error", "null"] = Field("error", description="NaN and infinities: refuse, or as null")
    compression: Compression = Field("none", description="of the whole file")


class JsonlWriter(DirectoryWriter):
    """Writes JSON lines in UTF-8; a null is written, so that every row has every column."""

    Options = JsonlOptions
    extension = "jsonl"

    def __init__(self, asset_definition: AssetDefinition, target_config: TargetConfig, output_base: str = "") -> None:
        super().__init__(asset_definition, target_config, output_base)
        self.extension = "jsonl" + SUFFIXES[self.options.compression]  # type: ignore[misc]

    def open_file(self, path: str, schema: Any) -> FileSink:
        return _JsonlSink(path, as_schema(schema), self.options)


class _JsonlSink(TextFile):
    def __init__(self, path: str, schema: pa.Schema, options: JsonlOptions) -> None:
        super().__init__(path, options.compression)
        self._null = options.not_finite == "null"
        self._types = [_as_text(field.type) for field in schema]

    def write(self, batch: Any) -> None:
        batch = pa.record_batch(batch)
        columns = [
            _isoformat(column).cast(kind).to_pylist(maps_as_pydicts="strict")
            for column, kind in zip(batch.columns, self._types, strict=True)
        ]
        names = batch.schema.names
        lines = []
        for values in zip(*columns, strict=True):
            row = dict(zip(names, values, strict=True))
            try:
                lines.append(_dump(row))
            except ValueError as error:
                if not self._null:
                    raise _not_finite(row) from error
                lines.append(_dump(_finite(row)))
        if lines:
            self.add(("\n".join(lines) + "\n").encode(), len(lines))


def _dump(row: Any) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_base64)


def _base64(value: Any) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _isoformat(column: pa.Array) -> pa.Array:
    import pyarrow.compute as pc

    if pa.types.is_timestamp(column.type):
        utc = column if column.type.tz is None else column.cast(pa.timestamp(column.type.unit, "UTC"))
        return pc.replace_substring(utc.cast(pa.string()), " ", "T")
    return column


def _as_text(kind: pa.DataType) -> pa.DataType:
    """The type with dates, times and decimals, at any depth, as strings."""
    types = pa.types
    if types.is_temporal(kind) or types.is_decimal(kind):
        if types.is_duration(kind) or types.is_interval(kind):
            raise ValidationError(
                f"JSON has no text for {kind}", hint="cast the column in the contract, or write parquet"
            )
        return pa.string()
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return pa.list_(_as_text(kind.value_type))
    if types.is_struct(kind):
        return pa.struct([(field.name, _as_text(field.type)) for field in kind])
    return kind.value_type if types.is_dictionary(kind) else kind


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _not_finite(row: dict[str, Any]) -> ValidationError:
    column = next((name for name, value in row.items() if _finite(value) != value), "")
    return ValidationError(
        f"column {column!r} holds {row.get(column)!r}, which JSON can't say",
        details={"column": column},
        hint="set target.options.not_finite: null, or write parquet",
    )
