"""Arrow without a dependency: types by name, and anything that speaks the C data interface as record batches.

pyarrow is imported on first use; a plugin whose data is already Arrow and that never calls in here needs none.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from .errors import ConfigurationError, DativoError, PluginError, from_text

if TYPE_CHECKING:
    import pyarrow as pa

_ALIASES = {
    "string": "string",
    "str": "string",
    "text": "string",
    "varchar": "string",
    "utf8": "string",
    "large_string": "large_string",
    "integer": "int64",
    "int": "int64",
    "bigint": "int64",
    "long": "int64",
    "smallint": "int16",
    "tinyint": "int8",
    "float": "float64",
    "number": "float64",
    "double": "float64",
    "real": "float32",
    "bool": "bool",
    "boolean": "bool",
    "date": "date32",
    "date32": "date32",
    "time": "time64[us]",
    "timestamp": "timestamp[us]",
    "datetime": "timestamp[us]",
    "binary": "binary",
    "bytes": "binary",
    "large_binary": "large_binary",
    "null": "null",
    "decimal": "decimal(38, 9)",
}
_PARAMETRIC = re.compile(r"^(timestamp|datetime|time|time32|time64|duration)\[(s|ms|us|ns)(?:,\s*(?:tz=)?([^\]]+))?\]$")
_DECIMAL = re.compile(r"^(?:decimal|decimal128|decimal256|numeric)\((\d+)(?:,\s*(-?\d+))?\)$")
_NESTED = re.compile(r"^(list|array|large_list|map|struct|dictionary)<(.*)>$", re.DOTALL)


def pyarrow() -> Any:
    """The pyarrow module.

    Raises: PluginError: when it is not installed.
    """
    try:
        import pyarrow as module
    except ImportError as error:
        raise PluginError(
            "this plugin yields rows, which need pyarrow to become Arrow columns",
            hint="pip install pyarrow",
        ) from error
    return module


def int64s(values: Iterable[int]) -> Any:
    """An Arrow array. pyarrow.array and pyarrow.scalar would load pandas, where that is installed, to see if it is one of its."""
    pa = pyarrow()
    found = array("q", values)
    return pa.Array.from_buffers(pa.int64(), len(found), [None, pa.py_buffer(found)])


def int64(value: int) -> Any:
    """An Arrow scalar, in the same way."""
    return int64s((value,))[0]


def _split_arguments(text: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for index, char in enumerate(text):
        if char in "<([":
            depth += 1
        elif char in ">)]":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:index])
            start = index + 1
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


def parse_type(name: str) -> pa.DataType:
    """The Arrow type of a type name as contracts write it: `string`, `int32`, `decimal(10, 2)`, `timestamp[us, UTC]`,
    `list<string>`, `struct<a: int64, b: string>`.

    Raises: ConfigurationError: for a name that is none.
    """
    pa = pyarrow()
    text = name.strip()
    lowered = text.lower()
    if lowered in _ALIASES and "[" not in _ALIASES[lowered] and "(" not in _ALIASES[lowered]:
        target = _ALIASES[lowered]
        factory = {"bool": "bool_", "date32": "date32", "null": "null"}.get(target, target)
        return getattr(pa, factory)()
    text = _ALIASES.get(lowered, text)
    if match := _PARAMETRIC.match(text):
        kind, unit, zone = match.groups()
        if kind in ("timestamp", "datetime"):
            return pa.timestamp(unit, tz=zone.strip() if zone else None)
        if kind == "duration":
            return pa.duration(unit)
        return pa.time32(unit) if unit in ("s", "ms") else pa.time64(unit)
    if match := _DECIMAL.match(text.lower()):
        precision, scale = int(match[1]), int(match[2] or 0)
        if 1 <= precision <= 76 and abs(scale) <= precision:
            return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
    if match := _NESTED.match(text):
        kind, inner = match[1], _split_arguments(match[2])
        if kind in ("list", "array", "large_list") and len(inner) == 1:
            item = parse_type(inner[0])
            return pa.large_list(item) if kind == "large_list" else pa.list_(item)
        if kind == "map" and len(inner) == 2:
            return pa.map_(parse_type(inner[0]), parse_type(inner[1]))
        if kind == "dictionary":
            return pa.dictionary(pa.int32(), parse_type(inner[-1]))
        if kind == "struct":
            fields = [part.partition(":") for part in inner]
            if all(separator for _, separator, _ in fields):
                return pa.struct([(key.strip(), parse_type(value)) for key, _, value in fields])
    if re.fullmatch(r"(u?int(8|16|32|64)|float(16|32|64)|date64)", lowered):
        return getattr(pa, lowered)()
    raise ConfigurationError(
        f"unknown type {name!r}",
        hint="write one of string, int8..int64, uint8..uint64, float32, float64, decimal(p, s), boolean, date, time, "
        "timestamp[us], timestamp[us, UTC], binary, list<T>, map<K, V>, struct<a: T>",
    )


def type_name(data_type: Any) -> str:
    """The name of a pyarrow type, such that `parse_type(type_name(t)) == t` for every type that `parse_type` makes."""
    pa = pyarrow()
    types = pa.types
    if types.is_decimal(data_type):
        return f"decimal({data_type.precision}, {data_type.scale})"
    if types.is_timestamp(data_type):
        return f"timestamp[{data_type.unit}, {data_type.tz}]" if data_type.tz else f"timestamp[{data_type.unit}]"
    if types.is_time(data_type):
        return f"time[{data_type.unit}]"
    if types.is_date32(data_type):
        return "date"
    if types.is_date64(data_type):
        return "date64"
    if types.is_floating(data_type):
        return f"float{data_type.bit_width}"
    if types.is_dictionary(data_type):
        return f"dictionary<{type_name(data_type.value_type)}>"
    if types.is_map(data_type):
        return f"map<{type_name(data_type.key_type)}, {type_name(data_type.item_type)}>"
    if types.is_large_list(data_type):
        return f"large_list<{type_name(data_type.value_type)}>"
    if types.is_list(data_type) or types.is_fixed_size_list(data_type):
        return f"list<{type_name(data_type.value_type)}>"
    if types.is_struct(data_type):
        inner = ", ".join(f"{field.name}: {type_name(field.type)}" for field in data_type)
        return f"struct<{inner}>"
    return str(data_type)


def schema_text(schema: Any) -> dict[str, str]:
    """{column: type name} of anything with `__arrow_c_schema__`, in order."""
    return {field.name: type_name(field.type) for field in as_schema(schema)}


def as_schema(schema: Any) -> pa.Schema:
    """A pyarrow schema of anything with `__arrow_c_schema__`."""
    pa = pyarrow()
    return schema if isinstance(schema, pa.Schema) else pa.schema(schema)


def types_of(schema: Any) -> dict[str, pa.DataType]:
    """{column: type} of anything with `__arrow_c_schema__`, in order; none of None."""
    return {} if schema is None else {field.name: field.type for field in as_schema(schema)}


def unify(left: Any, right: Any) -> Any:
    """The narrowest type that holds the values of both unchanged; string where there is none."""
    pa = pyarrow()
    types = pa.types
    if left.equals(right) or types.is_null(right):
        return left
    if types.is_null(left):
        return right
    if types.is_struct(left) and types.is_struct(right):
        fields = {field.name: field.type for field in left}
        for field in right:
            fields[field.name] = unify(fields[field.name], field.type) if field.name in fields else field.type
        return pa.struct(list(fields.items()))
    if types.is_list(left) and types.is_list(right):
        return pa.list_(unify(left.value_type, right.value_type))
    if types.is_decimal(left) and types.is_decimal(right):
        scale = max(left.scale, right.scale)
        precision = max(left.precision - left.scale, right.precision - right.scale) + scale
        return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(min(precision, 76), scale)
    numeric = [types.is_integer(t) or types.is_floating(t) for t in (left, right)]
    if all(numeric):
        if types.is_integer(left) and types.is_integer(right):
            wider = max(left, right, key=lambda t: t.bit_width)
            return wider if types.is_signed_integer(left) == types.is_signed_integer(right) else pa.int64()
        return pa.float64()
    return pa.string()


def translate(error: BaseException) -> BaseException:
    """The DativoError that a native plugin put into an Arrow error text; other errors unchanged."""
    found = None if isinstance(error, DativoError) else from_text(str(error))
    if found is None:
        return error
    found.__cause__ = error
    return found


def _stream(obj: Any) -> Iterator[pa.RecordBatch]:
    pa = pyarrow()
    reader = pa.RecordBatchReader.from_stream(obj)
    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return
        except Exception as error:
            translated = translate(error)
            if translated is error:
                raise
            raise translated from error
        yield batch


def is_arrow(obj: Any) -> bool:
    """Whether the object speaks the Arrow C data interface."""
    return hasattr(obj, "__arrow_c_stream__") or hasattr(obj, "__arrow_c_array__")


def stream_schema(obj: Any) -> pa.Schema | None:
    """The schema of a stream before its first batch, where the object can tell without being consumed."""
    schema = getattr(obj, "schema", None)
    return as_schema(schema) if hasattr(schema, "__arrow_c_schema__") else None


def batches_of(obj: Any) -> Iterator[pa.RecordBatch]:
    """Record batches of one Arrow object: a stream, a table, a frame, a record batch, a struct array."""
    pa = pyarrow()
    if isinstance(obj, pa.RecordBatch):
        yield obj
    elif hasattr(obj, "__arrow_c_stream__"):
        yield from _stream(obj)
    elif hasattr(obj, "__arrow_c_array__"):
        yield pa.record_batch(obj)
    else:
        raise PluginError(
            f"got {type(obj).__name__}, which is neither Arrow (`__arrow_c_stream__`, `__arrow_c_array__`) nor rows",
            hint="yield lists of dicts, record batches, tables or frames",
        )


def is_row_list(obj: Any) -> bool:
    """Whether the object is a list (or tuple) of mappings."""
    return isinstance(obj, (list, tuple)) and all(issubclass(kind, dict) for kind in set(map(type, obj)))


def iterate(obj: Any) -> Iterator[Any]:
    """The items of what a reader returned: one Arrow object or row list is one item; other iterables give theirs."""
    if (
        is_arrow(obj)
        or hasattr(obj, "to_dict")
        or isinstance(obj, dict)
        or (isinstance(obj, (list, tuple)) and obj and isinstance(obj[0], dict))
    ):
        yield obj
    elif isinstance(obj, Iterable) and not isinstance(obj, (str, bytes)):
        yield from obj
    elif obj is not None:
        raise PluginError(
            f"a reader returned {type(obj).__name__}; expected batches",
            hint="yield lists of dicts, record batches, tables or frames",
        )
