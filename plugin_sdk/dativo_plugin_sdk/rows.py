"""Rows (lists of dicts) and mixed Arrow objects as record batches of one schema."""

from __future__ import annotations

import datetime as dt
import json
import numbers
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from .arrow import as_schema, batches_of, is_arrow, is_row_list, iterate, parse_type, pyarrow, type_name, unify
from .errors import PluginError, SchemaMismatchError

if TYPE_CHECKING:
    import pyarrow as pa

_MIXABLE = frozenset({int, float})
_EXACT = 2**53  # integers up to here are exact as float64


_WRITTEN = (numbers.Number, dt.date, dt.time, dt.timedelta, UUID)
_BASES: tuple[type, ...] = (bool, numbers.Integral, float, str, bytes, dt.datetime, dt.date, dict, list, tuple)


@cache
def _kind(value_type: Any) -> type:
    """The kind of a value that decides whether two may share a column: int for every integer, list for a tuple."""
    base: type = next((base for base in _BASES if issubclass(value_type, base)), value_type)
    if base is numbers.Integral:
        return int
    return list if base is tuple else base


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(value, ensure_ascii=False, default=_text)
    if isinstance(value, _WRITTEN):
        return str(value)
    raise PluginError(
        f"a row holds a {type(value).__name__}, which is no column's value",
        hint="yield text, numbers, booleans, bytes, dates, times, decimals, lists or dicts of these",
    )


class Rows:
    """Turns what a level-1 reader yields into batches of one schema.

    The first item fixes the schema; `declared` and `widen` types win. A later item that does not fit raises
    SchemaMismatchError, upon which the pipeline starts over with the wider type: nothing is changed in silence.
    A `schema` given is fixed from the start.
    """

    def __init__(self, declared: Any = None, widen: Mapping[str, str] | None = None, schema: Any = None) -> None:
        self._types: dict[str, pa.DataType] = {name: parse_type(text) for name, text in (widen or {}).items()}
        self._widened = frozenset(self._types)
        self._declared: dict[str, pa.DataType] = (
            {} if declared is None else {field.name: field.type for field in as_schema(declared)}
        )
        self._fixed = schema is not None
        if schema is not None:
            self._types = {field.name: field.type for field in as_schema(schema)}

    @property
    def schema(self) -> pa.Schema:
        """The schema fixed so far."""
        return pyarrow().schema(list(self._types.items()))

    def convert(self, item: Any) -> Iterator[pa.RecordBatch]:
        """Batches of one yielded item.

        Raises: SchemaMismatchError: when the item does not fit. PluginError: when it is no batch at all.
        """
        if isinstance(item, dict):
            item = [item]
        if is_row_list(item):
            if item:
                yield self._from_rows(item)
            return
        if not is_arrow(item) and hasattr(item, "columns") and hasattr(item, "to_dict"):
            item = pyarrow().Table.from_pandas(item, preserve_index=False)
        if not is_arrow(item):
            raise PluginError(
                f"a reader yielded {type(item).__name__}; expected a list of dicts, a record batch, a table or a frame",
                hint="yield lists of dicts, or anything with __arrow_c_stream__ or __arrow_c_array__",
            )
        for batch in batches_of(item):
            yield self._from_batch(batch)

    def _fix(self, names: Sequence[str], inferred: Mapping[str, Any]) -> None:
        types = {name: self._types.get(name, inferred[name]) for name in names}
        for name in self._types:
            types.setdefault(name, self._types[name])
        self._types, self._fixed = types, True

    def _late(self, name: str, found: Any) -> SchemaMismatchError:
        known = self._types.get(name)
        wider = found if known is None else unify(known, found)
        what = f"column {name!r} appeared late" if known is None else f"column {name!r} holds a {found} value"
        expected = "" if known is None else f", not {known}"
        return SchemaMismatchError(what + expected, column=name, widen_to=type_name(wider))

    def _from_batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        pa = pyarrow()
        names = batch.schema.names
        if len(set(names)) != len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise PluginError(f"duplicate column names: {', '.join(twice)}", hint="give each column its own name")
        if not self._fixed:
            self._fix(names, {field.name: field.type for field in batch.schema})
        arrays = []
        for name in names:
            if name not in self._types:
                raise self._late(name, batch.schema.field(name).type)
        for name, wanted in self._types.items():
            if name not in names:
                arrays.append(pa.nulls(batch.num_rows, wanted))
                continue
            array = batch.column(name)
            if not array.type.equals(wanted):
                try:
                    array = array.cast(wanted, safe=True)
                except pa.ArrowException as error:
                    raise self._late(name, array.type) from error
            arrays.append(array)
        return pa.record_batch(arrays, schema=self.schema)

    def _from_rows(self, rows: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
        pa = pyarrow()
        names: dict[str, None] = {} if not self._fixed else dict.fromkeys(self._types)
        for row in rows:
            for key in row:
                if key not in names:
                    names[key] = None
        keys: list[Any] = list(names)
        bad = [key for key in keys if not isinstance(key, str)]
        if bad:
            raise PluginError(f"a row has a column name that is no text: {bad[0]!r}", hint="use text as keys")
        columns = {name: [row.get(name) for row in rows] for name in names}
        if not self._fixed:
            arrays = {name: self._first(name, values) for name, values in columns.items()}
            self._fix(list(names), {name: array.type for name, array in arrays.items()})
        out = []
        for name in columns:
            if name not in self._types:
                raise self._late(name, self._infer(columns[name]).type)
        for name, wanted in self._types.items():
            values = columns.get(name)
            out.append(pa.nulls(len(rows), wanted) if values is None else self._column(name, values, wanted))
        return pa.record_batch(out, schema=self.schema)

    def _first(self, name: str, values: list[Any]) -> pa.Array:
        pa = pyarrow()
        wanted = self._types.get(name) or self._declared.get(name)
        if wanted is not None and name not in self._widened:
            inferred = self._infer(values)
            if inferred.type.equals(wanted) or pa.types.is_null(inferred.type):
                return pa.array(values, type=wanted)
            return inferred
        return self._infer(values)

    def _infer(self, values: list[Any]) -> pa.Array:
        pa = pyarrow()
        kinds = {_kind(value.__class__) for value in values if value is not None}
        if len(kinds) > 1 and not kinds <= _MIXABLE:  # Arrow would read 0 among dates as the first of 1970
            return pa.array([_text(value) for value in values], type=pa.string())
        try:
            return pa.array(values)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            if kinds <= {int, float} and all(abs(v) <= _EXACT for v in values if isinstance(v, int)):
                return pa.array([None if v is None else float(v) for v in values], type=pa.float64())
            return pa.array([_text(value) for value in values], type=pa.string())

    def _column(self, name: str, values: list[Any], wanted: pa.DataType) -> pa.Array:
        pa = pyarrow()
        if pa.types.is_string(wanted):
            return pa.array([_text(value) for value in values], type=wanted)
        inferred = self._infer(values)
        if inferred.type.equals(wanted):
            return inferred
        if pa.types.is_null(inferred.type):
            return pa.nulls(len(values), wanted)
        if unify(wanted, inferred.type).equals(wanted):
            try:
                return pa.array(values, type=wanted)
            except (pa.ArrowException, TypeError, ValueError, OverflowError):
                pass
        raise self._late(name, inferred.type)


def to_batches(items: Any, declared: Any = None, widen: Mapping[str, str] | None = None) -> Iterator[pa.RecordBatch]:
    """Record batches of one schema from what a reader's `extract` or `read` gave.

    declared: the contract's schema, for columns whose values are all null at first. widen: see `ReadRequest`.
    """
    rows = Rows(declared, widen)
    for item in iterate(items):
        yield from rows.convert(item)
