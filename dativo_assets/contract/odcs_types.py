"""The types of an Open Data Contract Standard property as ours: the logical type says what, the physical type how wide."""

from __future__ import annotations

import re

from dativo_assets.config.types import is_type

from .node import Node

# A database's name for a type means the wider of what databases mean by it: no value that fits there is refused here.
_PHYSICAL = {
    "tinyint": "int16",
    "smallint": "int16",
    "int2": "int16",
    "int4": "int32",
    "int8": "int64",
    "serial": "int64",
    "bigserial": "int64",
    "mediumint": "int32",
    "byteint": "int16",
    "float4": "float32",
    "float8": "float64",
    "double precision": "float64",
    "money": "decimal(19, 4)",
    "number": "decimal(38, 9)",
    "numeric": "decimal(38, 9)",
    "bit": "bool",
    "bytea": "binary",
    "blob": "binary",
    "varbinary": "binary",
    "raw": "binary",
    "image": "binary",
    "timestamptz": "timestamp[us, UTC]",
    "timestamp_tz": "timestamp[us, UTC]",
    "timestamp_ltz": "timestamp[us, UTC]",
    "timestamp with time zone": "timestamp[us, UTC]",
    "timestamp with local time zone": "timestamp[us, UTC]",
    "datetimeoffset": "timestamp[us, UTC]",
    "timestamp_ntz": "timestamp[us]",
    "timestamp without time zone": "timestamp[us]",
    "datetime2": "timestamp[us]",
    "smalldatetime": "timestamp[us]",
    "time without time zone": "time[us]",
    "character varying": "string",
}
_TEXTS = (
    "char character nchar bpchar varchar2 nvarchar nvarchar2 ntext tinytext mediumtext longtext clob nclob uuid "
    "uniqueidentifier json jsonb variant xml enum citext inet cidr"
)
_PHYSICAL.update(dict.fromkeys(_TEXTS.split(), "string"))
_LOGICAL = {
    "string": "string",
    "integer": "int64",
    "number": "float64",
    "boolean": "bool",
    "date": "date",
    "timestamp": "timestamp[us]",
    "time": "time[us]",
}
_FORMATS = {
    **{f"{sign}{bits}": f"{word}{bits}" for sign, word in (("i", "int"), ("u", "uint")) for bits in (8, 16, 32, 64)},
    "f32": "float32",
    "f64": "float64",
}
_FAMILIES = {
    "integer": ("int", "uint", "decimal", "bigint", "smallint", "tinyint", "long"),
    "number": ("int", "uint", "decimal", "float", "double", "real", "number", "numeric", "bigint", "smallint", "long"),
    "string": ("string", "str", "text", "varchar", "utf8", "large_string", "binary", "bytes", "large_binary"),
    "boolean": ("bool",),
    "date": ("date", "timestamp"),
    "timestamp": ("timestamp", "datetime"),
    "time": ("time32", "time64", "time"),
    "object": ("struct", "map"),
    "array": ("list", "array", "large_list"),
}
_MAX_DEPTH = 32


def type_of(item: Node, notes: list[str], depth: int = 0) -> str:
    """The type name of a property or of an array's items. What is left aside is told in `notes`.

    Raises: ConfigurationError: for a property without a type that can be told.
    """
    if depth > _MAX_DEPTH:
        raise item.error(f"nested deeper than {_MAX_DEPTH} levels")
    logical = item.text("logicalType")
    written = item.text("physicalType")
    physical = None if written is None else _physical(written)
    if logical is None:
        if physical is not None:
            return physical
        if written is None:
            raise item.error("a property needs a `logicalType`", f"one of {', '.join(_FAMILIES)}")
        node = item.get("physicalType")
        assert node is not None
        raise node.error(f"unknown physicalType `{written}`", f"add a logicalType: one of {', '.join(_FAMILIES)}")
    if logical not in _FAMILIES:
        node = item.get("logicalType")
        assert node is not None
        raise node.error(f"unknown logicalType `{logical}`", f"one of {', '.join(_FAMILIES)}")
    if written is not None and (physical is None or not _agrees(physical, logical)):
        why = "is not known here" if physical is None else f"is no {logical}"
        notes.append(f"{item.location}: physicalType {written} {why}; the logicalType {logical} is used")
        physical = None
    return physical or _logical(item, logical, notes, depth)


def _physical(text: str) -> str | None:
    lowered = re.sub(r"\s+", " ", text.strip().lower())
    arguments = next(iter(re.findall(r"\([^)]*\)", lowered)), "")
    base = re.sub(r" ?\([^)]*\)", "", lowered).strip()
    if base in ("number", "numeric", "decimal", "dec") and arguments:
        found = f"decimal{arguments}"
        return found if is_type(found) else None
    if base in _PHYSICAL:
        return _PHYSICAL[base]
    if base in ("timestamp", "datetime", "time", "int", "integer", "bigint", "varchar", "float", "double", "string"):
        return base
    return text.strip() if is_type(text) else None


def _agrees(type_name: str, logical: str) -> bool:
    word = re.match(r"[a-z_]*(?:\d+)?", type_name.lower())
    base = word[0] if word else ""
    return any(base == family or base.rstrip("0123456789") == family for family in _FAMILIES[logical]) or (
        logical == "integer" and base == "integer"
    )


def _logical(item: Node, logical: str, notes: list[str], depth: int) -> str:
    options = item.get("logicalTypeOptions")
    form = None if options is None else options.text("format")
    if logical in ("integer", "number") and form in _FORMATS:
        return _FORMATS[form]
    if logical == "timestamp" and options is not None and options.flag("timezone"):
        return f"timestamp[us, {options.text('defaultTimezone') or 'UTC'}]"
    if logical == "date" and form is not None and re.search("[HhKk]", form):
        return "timestamp[us]"  # version 3.0 of the standard had no timestamp
    if logical == "array":
        inner = item.get("items")
        if inner is None:
            raise item.error("an array needs `items`", "items: {logicalType: string}")
        return f"list<{type_of(inner, notes, depth + 1)}>"
    if logical == "object":
        fields = []
        for field in item.listed("properties"):
            name = field.text("physicalName") or field.text("name")
            if name is None:
                raise field.error("a property needs a `name`")
            fields.append(f"{name}: {type_of(field, notes, depth + 1)}")
        if not fields:
            raise item.error("an object needs `properties`", "or physicalType: json, to keep it as text")
        return f"struct<{', '.join(fields)}>"
    return _LOGICAL[logical]
