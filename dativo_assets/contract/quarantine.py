"""Rejected rows as they came, each with the rules it broke and where it came from."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from .binding import Broken
from .masks import Array, Mask
from .origin import ORIGIN_NAMES

_TYPES = (pa.string(), pa.string(), pa.string(), pa.string(), pa.int64())


def quarantine_schema(source: pa.Schema) -> pa.Schema:
    """The source's columns, then: the rules broken, joined by `;`; the column of each; the first one's value as text; the
    split; the row in it, from 1.
    """
    return pa.schema([*source, *zip(ORIGIN_NAMES, _TYPES, strict=True)])


def rejected_rows(
    batch: pa.RecordBatch,
    rejected: Mask,
    broken: list[Broken],
    split: str,
    numbers: Callable[[Array], Array],
    schema: pa.Schema,
) -> pa.RecordBatch:
    """One row for each row of `rejected`. broken: what keeps rows from landing, in the contract's order. numbers: positions
    of rows in the batch -> their numbers in the split.
    """
    rows = pc.indices_nonzero(rejected)
    taken = batch.take(rows)
    rules: Array = pa.repeat(pa.scalar(""), len(rows))
    columns, values = rules, pa.nulls(len(rows), pa.string())
    for item in broken:
        marks = item.rows.take(rows)
        keyed = item.rule.kind in ("unique", "primary_key")
        first = pc.and_(marks, pc.equal(rules, ""))
        values = pc.if_else(first, as_text(taken.column(item.column)), values)
        rules = _joined(rules, marks, item.rule.name)
        columns = _joined(columns, marks, ",".join(item.rule.columns) if keyed else batch.schema.names[item.column])
    origin = [
        rules,
        columns,
        values,
        pa.repeat(pa.scalar(split, pa.string()), len(rows)),
        numbers(rows),
    ]
    return pa.RecordBatch.from_arrays([*taken.columns, *origin], schema=schema)


def _joined(texts: Array, marks: Mask, word: str) -> Array:
    """The word behind what stands there already, in the rows marked."""
    longer = pc.binary_join_element_wise(texts, pa.scalar(word), ";")
    return pc.if_else(marks, pc.if_else(pc.equal(texts, ""), pa.scalar(word), longer), texts)


def as_text(array: Array) -> Array:
    """Any column as text, for people."""
    try:
        return array.cast(pa.string())
    except pa.ArrowException:
        return pa.array([text_of(value) for value in array.to_pylist()], pa.string())


def text_of(value: Any) -> str | None:
    """A value as text, for people."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.hex()
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, (dict, list)) else str(value)
