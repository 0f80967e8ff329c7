"""The JSON Schema of a library's options as a pydantic model, so that a job's options are checked at their lines."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Literal, Optional, Union

from pydantic import Field, JsonValue, ValidationError, create_model

from dativo_plugin_sdk.options import Options

_INT64 = {"ge": -(2**63), "le": 2**63 - 1}
_CONSTRAINTS = {
    "minimum": "ge",
    "maximum": "le",
    "exclusiveMinimum": "gt",
    "exclusiveMaximum": "lt",
    "multipleOf": "multiple_of",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minItems": "min_length",
    "maxItems": "max_length",
    "pattern": "pattern",
    "description": "description",
}


def options_model(name: str, schema: Mapping[str, Any], base: type[Options] = Options) -> type[Options]:
    """A model of the properties in a JSON Schema: types, enum, const, bounds, lengths, patterns, items, defaults. What it does
    not know of JSON Schema is left to the library.

    Raises: ValueError: for a schema that is none, a property whose name is no identifier, or a default that isn't of its type.
    """
    properties = schema.get("properties", {})
    if not isinstance(properties, Mapping):
        raise ValueError("properties is no object")
    for key in properties:
        if not key.isidentifier() or key.startswith("_"):
            raise ValueError(f"the option {key!r} is no name: letters, digits and underscores")
    try:
        required = frozenset(schema.get("required", ()))
        fields: dict[str, Any] = {key: _field(value, key in required) for key, value in properties.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an option may be named as a method of pydantic's
            model = create_model(f"{name}_options", __base__=base, **fields)
            model.model_rebuild()
    except Exception as error:  # of pydantic's many kinds, for a type, pattern or bound that is none
        raise ValueError(str(error)) from error
    _check_defaults(model)
    return model


def _check_defaults(model: type[Options]) -> None:
    try:
        model.model_validate({})
    except ValidationError as error:
        for wrong in error.errors(include_url=False):
            if wrong["type"] != "missing":
                raise ValueError(f"the default of {wrong['loc'][0]}: {wrong['msg']}") from None


def _field(schema: Any, required: bool) -> tuple[Any, Any]:
    if not isinstance(schema, Mapping):
        raise ValueError("a property is no object")
    constraints = {ours: schema[theirs] for theirs, ours in _CONSTRAINTS.items() if theirs in schema}
    kind = _type(schema)
    if kind is int:
        constraints = {**_INT64, **constraints}
    elif kind is float:
        constraints["allow_inf_nan"] = False
    if "default" in schema or required:
        return kind, Field(schema.get("default", ...), validate_default=True, **constraints)
    return Optional[kind], Field(None, **constraints)  # noqa: UP045 - of a type that is a value here


def _type(schema: Mapping[str, Any]) -> Any:
    if "const" in schema:
        return Literal[schema["const"]]
    if "enum" in schema:
        return Literal[tuple(schema["enum"])]
    kind = schema.get("type")
    if isinstance(kind, list):
        return Union[tuple(_type({**schema, "type": one}) for one in kind)]  # noqa: UP007 - as above
    if kind == "array":
        items = schema.get("items")
        return list[_type(items)] if isinstance(items, Mapping) else list[JsonValue]  # type: ignore[misc]
    found = {"integer": int, "number": float, "string": str, "boolean": bool, "null": None}
    return dict[str, JsonValue] if kind == "object" else found.get(str(kind), JsonValue)
