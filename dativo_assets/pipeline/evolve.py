"""How a table's columns may change between commits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dativo_plugin_sdk import ValidationError
from dativo_plugin_sdk.arrow import parse_type, unify


def schema_changes(old: Mapping[str, str], new: Mapping[str, str], evolve: str) -> tuple[str, ...]:
    """What changes from the committed columns to the run's, one sentence each; {name: type name} in, order ignored.

    Raises: ValidationError: for a change that the policy does not allow.
    """
    changes = []
    for name, type_text in new.items():
        if name not in old:
            changes.append((f"column {name!r} ({type_text}) is new", evolve != "none", "add_columns"))
        elif old[name] != type_text:
            wider = unify(parse_type(old[name]), parse_type(type_text)).equals(parse_type(type_text))
            changes.append(
                (f"column {name!r} was {old[name]} and is {type_text}", evolve == "widen" and wider, "widen")
            )
    for name in old:
        if name not in new:
            changes.append((f"column {name!r} ({old[name]}) is gone", evolve != "none", "add_columns"))
    for text, allowed, policy in changes:
        if not allowed:
            raise ValidationError(
                f"the data does not fit the table: {text}",
                "SCHEMA_CHANGED",
                {"changes": [change for change, _, _ in changes]},
                hint=f"set `evolve: {policy}` in the job, declare the column's type in a contract, or load the table "
                "anew with --full-refresh",
            )
    return tuple(text for text, _, _ in changes)


def schema_of(text: Mapping[str, str]) -> Any:
    """{column: type name} as a pyarrow schema."""
    import pyarrow as pa

    return pa.schema([(name, parse_type(type_text)) for name, type_text in text.items()])
