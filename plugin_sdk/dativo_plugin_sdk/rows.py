"""Rows (lists of dicts) and mixed Arrow objects as record batches of one schema."""

from __future__ import annotations

import datetime as dt
import json
import numbers
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from .arrow import batches_of, is_arrow, is_row_list, iterate, parse_type, pyarrow, type_name, types_of, unify
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


@cache
def _native() -> tuple[Any, dict[type, pa.DataType]] | None:
    """What makes columns of rows natively, and the type that it makes of values of a class; None where it is not installed."""
    try:
        from dativo_rust_json import Rows as NativeRows
    except ImportError:
        return None
    pa = pyarrow()
    types = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string(), bytes: pa.binary()}
    return NativeRows, {**types, dt.datetime: pa.timestamp("us"), dt.date: pa.date32()}


class Rows:
    """Turns what a level-1 reader yields into batches of one schema.

    The first item fixes the schema; `declared` and `widen` types win. A later item that does not fit raises
    SchemaMismatchError, upon which the pipeline starts over with the wider type: nothing is changed in silence.
    A `schema` given is fixed from the start.
    """

    def __init__(self, declared: Any = None, widen: Mapping[str, str] | None = None, schema: Any = None) -> None:
        self._types: dict[str, pa.DataType] = {name: parse_type(text) for name, text in (widen or {}).items()}
        self._widened = frozenset(self._types)
        self._declared = types_of(declared)
        self._fixed = schema is not None
        if schema is not None:
            self._types = types_of(schema)
        self._converter: Any = None

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
        columns = self._by_native(rows) or self._by_python(rows)
        if not self._fixed:
            types = {
                name: self._first_type(name, values) if isinstance(values, list) else values.type
                for name, values in columns.items()
            }
            self._fix(list(columns), types)
        out = []
        for name in columns:
            if name not in self._types:
                raise self._late(name, self._infer(columns[name]).type)
        for name, wanted in self._types.items():
            values = columns.get(name)
            if isinstance(values, list):
                values = self._column(name, values, wanted)
            out.append(pa.nulls(len(rows), wanted) if values is None else values)
        return pa.record_batch(out, schema=self.schema)

    def _by_python(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
        """The values of each column."""
        names: dict[str, None] = {} if not self._fixed else dict.fromkeys(self._types)
        for row in rows:
            for key in row:
                if key not in names:
                    names[key] = None
        keys: list[Any] = list(names)
        bad = [key for key in keys if not isinstance(key, str)]
        if bad:
            raise PluginError(f"a row has a column name that is no text: {bad[0]!r}", hint="use text as keys")
        return {name: [row.get(name) for row in rows] for name in names}

    def _by_native(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, pa.Array | list[Any]] | None:
        """The columns whose values are all plainly of their type, the values of each other one; None where Python has to look."""
        converter = self._converter or self._converter_for(rows)
        found = None if converter is None else converter.convert(rows if isinstance(rows, list) else list(rows))
        if found is None:
            return None
        if self._fixed:
            self._converter = converter
        batch, columns = pyarrow().record_batch(found[0]), found[1]
        columns.update(zip(batch.schema.names, batch.columns, strict=True))
        return {name: columns[name] for name in (self._types if self._fixed else rows[0])}

    def _converter_for(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        """Native code for the columns of the schema, or of the first row while there is none; None where there can't be any."""
        native = _native()
        if native is None:
            return None
        make, types = native
        wanted = self._types if self._fixed else self._guessed(rows, types)
        if not all(isinstance(name, str) for name in wanted):
            return None
        pa, made = pyarrow(), set(types.values())
        return make(pa.schema([(name, kind if kind in made else pa.null()) for name, kind in wanted.items()]))

    def expected(self, row: Mapping[str, Any]) -> pa.Schema | None:
        """The schema of rows that begin with this one, where native code is installed and the row has a value in each column."""
        native = _native()
        if self._fixed or native is None:
            return self.schema if self._fixed else None
        pa = pyarrow()
        types: dict[str, Any] = {}
        for name, value in row.items():
            found, declared = native[1].get(type(value)), self._declared.get(name)
            is_float = found == pa.int64() and declared == pa.float64()
            types[name] = self._types.get(name, declared if is_float else found)
        return None if None in types.values() else pa.schema(list(types.items()))

    def _guessed(self, rows: Sequence[Mapping[str, Any]], types: Mapping[type, pa.DataType]) -> dict[str, Any]:
        """What the columns of the first row may be: what is known of them, else what Arrow makes of the first value."""
        found: dict[str, Any] = {}
        for name in rows[0]:
            known = self._types.get(name, self._declared.get(name))
            if known is None:
                known = types.get(type(next((row[name] for row in rows if row.get(name) is not None), None)))
            found[name] = known
        return found

    def _first_type(self, name: str, values: list[Any]) -> pa.DataType:
        """The type of a column that begins with these values: the declared one, where they are of it."""
        pa = pyarrow()
        found, declared = self._infer(values).type, self._declared.get(name)
        if declared is None:
            return found
        is_exact = found == pa.int64() and all(abs(value) <= _EXACT for value in values if value is not None)
        return declared if pa.types.is_null(found) or (is_exact and declared == pa.float64()) else found

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
