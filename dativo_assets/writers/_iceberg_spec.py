"""`partition_by` as an Iceberg partition spec: a column, or a transform of one, such as `day(ts)` or `bucket(16, id)`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from dativo_plugin_sdk import ConfigurationError, ValidationError
from pyiceberg.partitioning import PARTITION_FIELD_ID_START, PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import (
    BucketTransform,
    DayTransform,
    HourTransform,
    IdentityTransform,
    MonthTransform,
    TruncateTransform,
    YearTransform,
)

_CALL = re.compile(r"^\s*([a-z]+)\s*\(\s*(?:(\d+)\s*,\s*)?(.+?)\s*\)\s*$")
_PLAIN: dict[str, Any] = {"year": YearTransform, "month": MonthTransform, "day": DayTransform, "hour": HourTransform}
_SIZED: dict[str, Any] = {"bucket": BucketTransform, "truncate": TruncateTransform}


def spec_of(partition_by: Sequence[str], schema: Schema) -> PartitionSpec:
    """The spec over columns of a schema. Raises: ValidationError, ConfigurationError: for what is no part of it."""
    fields = []
    for at, text in enumerate(partition_by):
        column, transform, suffix = _parse(text, set(schema.column_names))
        try:
            source = schema.find_field(column)
        except ValueError as error:
            raise ValidationError(
                f"partition_by names {column!r}, which is not a column of the data",
                hint=f"columns are: {', '.join(schema.column_names)}",
            ) from error
        if not transform.can_transform(source.field_type):
            raise ConfigurationError(f"partition_by: {text} can't be, for {column} is {source.field_type}")
        name = f"{column}_{suffix}" if suffix else column
        fields.append(PartitionField(source.field_id, PARTITION_FIELD_ID_START + at, transform, name))
    return PartitionSpec(*fields)


def fields_of(spec: PartitionSpec, schema: Schema) -> list[str]:
    """Each field of a spec as text, for comparison and for a person."""
    return [f"{field.transform}({schema.find_column_name(field.source_id)})" for field in spec.fields]


def _parse(text: str, columns: set[str]) -> tuple[str, Any, str]:
    """(column, transform, suffix of the field's name)."""
    found = None if text in columns else _CALL.match(text)
    if found is None:
        return text, IdentityTransform(), ""
    word, size, column = found.groups()
    plain = _PLAIN.get(word.removesuffix("s"))
    if plain is not None and size is None:
        return column, plain(), word.removesuffix("s")
    if word in _SIZED and size is not None and int(size) > 0:
        return column, _SIZED[word](int(size)), "bucket" if word == "bucket" else "trunc"
    raise ConfigurationError(
        f"partition_by: {text} is no transform",
        hint="use year, month, day, hour (column), bucket(16, column), truncate(4, column)",
    )
