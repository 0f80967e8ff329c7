"""Parquet files: one split a group of row groups, with projection and row counts from the footers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from dativo_plugin_sdk import (
    FileReader,
    Incremental,
    InputFile,
    Options,
    ReadPlan,
    ReadRequest,
    SchemaMismatchError,
    Split,
    ValidationError,
)
from dativo_plugin_sdk.arrow import parse_type, schema_text, type_name, types_of, unify
from dativo_plugin_sdk.cursor_values import lower_bound
from dativo_plugin_sdk.remote import is_remote
from pydantic import Field

from ._text import file_errors
from ._unchanged import KEY, listed, while_unchanged

_ROWS = 1 << 16
_WHOLE = re.compile(r"-?[0-9]+")


class ParquetOptions(Options):
    """How Parquet files are read."""

    split_bytes: int = Field(64 << 20, ge=1, description="uncompressed bytes of one split, in whole row groups")
    missing_columns: Literal["error", "null"] = Field("error", description="a column that some files lack")


class ParquetReader(FileReader):
    """Reads Parquet. Columns keep the files' types, or take the contract's where that loses nothing."""

    suffixes = (".parquet", ".pq")
    remote = True
    Options = ParquetOptions

    def plan_files(self, files: tuple[InputFile, ...], request: ReadRequest) -> ReadPlan:
        footers = [(file, self._footer(file.path)) for file in files]
        schema = self._schema([(file.path, footer.schema.to_arrow_schema()) for file, footer in footers])
        wanted = schema.names if request.columns is None else request.columns
        unknown = [name for name in wanted if name not in schema.names]
        if unknown:
            raise ValidationError(
                f"{files[0].path} has no column {unknown[0]!r}", hint=f"columns are: {', '.join(schema.names)}"
            )
        incremental = self.source_config.incremental
        schema = _targets(pa.schema([schema.field(name).remove_metadata() for name in wanted]), request)
        splits = [
            split
            for file, footer in footers
            for split in self._splits(file, footer, schema, request.limit, _groups(footer, request, incremental))
        ]
        applied = {"columns", "schema"} | ({"limit"} if len(splits) <= 1 else set())
        return ReadPlan(splits=tuple(splits), schema=schema, applied=frozenset(applied))

    def _schema(self, found: list[tuple[str, pa.Schema]]) -> pa.Schema:
        first_path, first = found[0]
        types = {field.name: field.type for field in first}
        if len(types) != len(first):
            twice = next(name for name in first.names if first.names.count(name) > 1)
            raise ValidationError(f"{first_path} has two columns {twice!r}", details={"file": first_path})
        for path, schema in found[1:]:
            lacks, adds = set(types) - set(schema.names), set(schema.names) - set(types)
            if (lacks or adds) and self.options.missing_columns == "error":
                what = f"lacks column {min(lacks)!r}" if lacks else f"has a column {min(adds)!r}"
                raise ValidationError(
                    f"{path} {what}, other than {first_path}",
                    details={"file": path, "columns": sorted(lacks | adds)},
                    hint="set options.missing_columns: null, or read the files in two jobs",
                )
            for field in schema:
                types[field.name] = _common(field, types.get(field.name, field.type), path, first_path)
        return pa.schema(list(types.items()))

    def _splits(
        self, file: InputFile, footer: pq.FileMetaData, schema: pa.Schema, limit: int | None, wanted: Sequence[int]
    ) -> Iterator[Split]:
        base = {"file": file.path, KEY: listed(self, file), "schema": schema_text(schema), "limit": limit}
        groups: list[int] = []
        rows = size = 0
        for index in wanted:
            group = footer.row_group(index)
            groups.append(index)
            rows, size = rows + group.num_rows, size + group.total_byte_size
            if size >= self.options.split_bytes or index == wanted[-1]:
                yield Split(
                    f"{file.key}#{groups[0]}-{groups[-1]}", {**base, "groups": groups}, rows, size, file.version
                )
                groups, rows, size = [], 0, 0

    def read(self, split: Split) -> Iterator[pa.RecordBatch]:
        return while_unchanged(self, split, self._read_split(split))

    def _read_split(self, split: Split) -> Iterator[pa.RecordBatch]:
        path, left = split.payload["file"], split.payload["limit"]
        schema = pa.schema([(name, parse_type(text)) for name, text in split.payload["schema"].items()])
        row = 0
        with file_errors(path), pq.ParquetFile(self._source(path), pre_buffer=False) as file:
            names = [name for name in schema.names if name in file.schema_arrow.names]
            for batch in file.iter_batches(_ROWS, split.payload["groups"], columns=names, use_threads=False):
                self.raise_if_cancelled()
                batch = batch if left is None else batch.slice(0, left)
                yield _conform(batch, schema, path, row)
                row += batch.num_rows
                left = None if left is None else left - batch.num_rows
                if left == 0:
                    return

    def _source(self, path: str) -> Any:
        return self.open_file(path, "none") if is_remote(path) else path

    def _footer(self, path: str) -> pq.FileMetaData:
        with file_errors(path):
            try:
                return pq.read_metadata(self._source(path))
            except pa.ArrowInvalid as error:
                raise ValidationError(
                    f"{path} is no complete Parquet file: {error}", details={"file": path}, hint="write the file again"
                ) from error


@dataclass(frozen=True)
class _Wanted:
    """Which values of a column a run reads. limits: the least and the greatest, as Parquet's statistics have them; None: there
    is no greatest. nulls: rows without a value too.
    """

    column: str
    limits: Sequence[tuple[Any, Any]]
    nulls: bool = False

    def may_be_in(self, chunk: pq.ColumnChunkMetaData) -> bool:
        known = chunk.statistics if chunk.physical_type in ("INT32", "INT64", "BYTE_ARRAY") else None
        if (
            known is None
            or not known.has_min_max
            or (self.nulls and not (known.has_null_count and not known.null_count))
        ):
            return True
        return any(low <= known.max_raw and (high is None or known.min_raw <= high) for low, high in self.limits)


def _groups(footer: pq.FileMetaData, request: ReadRequest, incremental: Incremental | None) -> Sequence[int]:
    """The row groups that may hold rows of the run's partitions, or such that its cursor leaves to it: by their statistics,
    all where these can't tell.
    """
    kept: Sequence[int] = range(footer.num_row_groups)
    types = types_of(footer.schema.to_arrow_schema())
    columns = {footer.schema.column(index).path: index for index in range(footer.num_columns)}
    for wanted in (*_of_partitions(request, types), *_of_cursor(request, incremental, types)):
        if (index := columns.get(wanted.column)) is not None:
            kept = [group for group in kept if wanted.may_be_in(footer.row_group(group).column(index))]
    return kept


def _of_partitions(request: ReadRequest, types: Mapping[str, pa.DataType]) -> Iterator[_Wanted]:
    declared = types_of(request.schema)
    for part in () if request.partition is None else request.partition.ranges:
        kind = types.get(part.column)
        # What the contract is yet to cast is not what partitions are told by.
        if kind is None or not kind.equals(declared.get(part.column, kind)):
            continue
        if part.start is None:
            if kind == pa.string():
                yield _Wanted(part.column, [(name.encode(),) * 2 for name in part.values])
            elif pa.types.is_signed_integer(kind):
                yield _Wanted(part.column, [(int(name),) * 2 for name in part.values if _WHOLE.fullmatch(name)])
        elif pa.types.is_timestamp(kind) or pa.types.is_date32(kind):
            low, high = (_raw(bound) for bound in part.bounds(kind))
            yield _Wanted(part.column, [(low, high - 1)])


def _of_cursor(
    request: ReadRequest, incremental: Incremental | None, types: Mapping[str, pa.DataType]
) -> Iterator[_Wanted]:
    bound = lower_bound(request, incremental, types)
    if bound is not None and (low := _raw(bound.low)) is not None:
        yield _Wanted(bound.column, [(low, None)], nulls=True)


def _raw(value: pa.Scalar) -> Any:
    """A value as Parquet's statistics have it; None for a type whose statistics compare otherwise."""
    kind = value.type
    if pa.types.is_timestamp(kind):
        return value.cast(pa.int64()).as_py()
    if pa.types.is_date32(kind):
        return value.cast(pa.int32()).as_py()
    if pa.types.is_signed_integer(kind):
        return value.as_py()
    return value.as_py().encode() if kind == pa.string() else None


def _common(field: pa.Field, known: pa.DataType, path: str, first: str) -> pa.DataType:
    wider = unify(known, field.type)
    if pa.types.is_string(wider) and not (_is_text(known) and _is_text(field.type)):
        raise ValidationError(
            f"column {field.name!r} is {type_name(field.type)} in {path} and {type_name(known)} in {first}",
            details={"file": path, "column": field.name},
            hint="declare the column as string in the contract's schema, or read the files in two jobs",
        )
    return wider


def _targets(schema: pa.Schema, request: ReadRequest) -> pa.Schema:
    declared = types_of(request.schema)
    widened = {name: parse_type(text) for name, text in request.widen.items()}
    fields = []
    for field in schema:
        target = declared.get(field.name, field.type)
        chosen = target if _checked_cast(field.type, target) else field.type
        fields.append((field.name, widened.get(field.name, chosen)))
    return pa.schema(fields)


def _is_text(kind: pa.DataType) -> bool:
    return kind in (pa.string(), pa.large_string(), pa.string_view())


def _checked_cast(source: pa.DataType, target: pa.DataType) -> bool:
    """Whether Arrow's safe cast refuses every value that would change; other casts are left to the contract."""
    types = pa.types
    if types.is_timestamp(source) and types.is_timestamp(target):
        return (source.tz is None) == (target.tz is None)
    whole = types.is_integer(source)
    exact = whole or types.is_decimal(source)
    return bool(
        (_is_text(source) and _is_text(target))
        or (exact and (types.is_integer(target) or types.is_decimal(target)))
        or ((whole or types.is_float32(source)) and types.is_float64(target))
    )


def _conform(batch: pa.RecordBatch, schema: pa.Schema, path: str, row: int) -> pa.RecordBatch:
    arrays = []
    for field in schema:
        index = batch.schema.get_field_index(field.name)
        if index < 0:
            arrays.append(pa.nulls(batch.num_rows, field.type))
            continue
        array = batch.column(index)
        if not array.type.equals(field.type):
            try:
                array = array.cast(field.type, safe=True)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise SchemaMismatchError(
                    f"{path}: column {field.name!r} is {array.type} and does not fit {field.type}: {error}",
                    details={"file": path, "row": row + 1},
                    column=field.name,
                    widen_to=type_name(array.type),
                ) from error
        arrays.append(array)
    return pa.record_batch(arrays, schema=schema)
