"""Columns to rules: names that stay, and descriptions as SQL would say them. No Arrow in here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from .model import Column, Rule


def compile_rules(columns: tuple[Column, ...], key: tuple[str, ...], extra: Iterable[Rule] = ()) -> tuple[Rule, ...]:
    """Every rule of the columns, then `extra`, each with a name of its own. key: the primary key's columns, in its order."""
    rules: list[Rule] = []
    if columns:
        declared = ", ".join(f"{column.name} {column.type}" for column in columns)
        rules.append(Rule("types", "types", tuple(column.name for column in columns), declared))
    for column in columns:
        rules.extend(_of_column(column, key))
    if key:
        where = next(column.location for column in columns if column.name == key[0])
        rules.append(Rule("primary_key", "primary_key", key, f"PRIMARY KEY ({', '.join(key)})", location=where))
    rules.extend(extra)
    return _named_once(rules)


def identifier(text: str) -> str:
    """The text as letters, digits and `_`."""
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_") or "_"


def literal(value: Any) -> str:
    """A value as SQL writes it."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float)) else "'" + str(value).replace("'", "''") + "'"


def literals(values: Iterable[Any]) -> str:
    """`('a', 'b')`; a long list is cut."""
    shown = [literal(value) for value in values]
    return f"({', '.join(shown[:20])}{', ...' if len(shown) > 20 else ''})"


def _of_column(column: Column, key: tuple[str, ...]) -> list[Rule]:
    name, must = column.name, column.constraints
    found: list[Rule] = []

    def add(suffix: str, kind: Any, description: str, **parameters: Any) -> None:
        rule_name = f"{identifier(name)}_{suffix}"
        found.append(Rule(rule_name, kind, (name,), description, parameters=parameters, location=column.location))

    if column.required and name not in key:
        add("not_null", "required", f"{name} IS NOT NULL")
    if column.unique and key != (name,):
        add("unique", "unique", f"UNIQUE ({name})")
    for low, exclusive in ((must.min, False), (must.exclusive_min, True)):
        if low is not None:
            suffix = "exclusive_min" if exclusive else "min"
            add(suffix, "min", f"{name} {'>' if exclusive else '>='} {literal(low)}", value=low, exclusive=exclusive)
    for high, exclusive in ((must.max, False), (must.exclusive_max, True)):
        if high is not None:
            suffix = "exclusive_max" if exclusive else "max"
            add(suffix, "max", f"{name} {'<' if exclusive else '<='} {literal(high)}", value=high, exclusive=exclusive)
    if must.pattern is not None:
        add("pattern", "pattern", f"{name} ~ {literal(must.pattern)}", pattern=must.pattern)
    if must.accepted_values is not None:
        values = must.accepted_values
        add("accepted_values", "accepted_values", f"{name} IN {literals(values)}", values=values)
    if must.min_length is not None:
        add("min_length", "min_length", f"length({name}) >= {must.min_length}", value=must.min_length)
    if must.max_length is not None:
        add("max_length", "max_length", f"length({name}) <= {must.max_length}", value=must.max_length)
    return found


def _named_once(rules: list[Rule]) -> tuple[Rule, ...]:
    taken: set[str] = set()
    out = []
    for rule in rules:
        name, number = rule.name, 2
        while name in taken:
            name, number = f"{rule.name}_{number}", number + 1
        taken.add(name)
        out.append(rule if name == rule.name else replace(rule, name=name))
    return tuple(out)
