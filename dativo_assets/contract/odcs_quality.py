"""The `quality` entries of an Open Data Contract Standard file as rules: its library of metrics; what else it holds is told."""

from __future__ import annotations

from typing import Any

from .model import Kind, Limit, Rule, Severity
from .node import Node
from .rules import identifier, literal, literals

_OPERATORS: dict[str, Any] = {
    "mustBe": "=",
    "mustNotBe": "<>",
    "mustBeGreaterThan": ">",
    "mustBeGreaterOrEqualTo": ">=",
    "mustBeLessThan": "<",
    "mustBeLessOrEqualTo": "<=",
    "mustBeBetween": "between",
    "mustNotBeBetween": "not between",
}
_ABOUT = "id name description dimension businessImpact tags customProperties authoritativeDefinitions"
_HOW = "type metric rule arguments validValues unit severity method schedule scheduler query engine implementation"
_KEYS = frozenset({*_ABOUT.split(), *_HOW.split(), *_OPERATORS})
_OLDER = {"nullCheck": "nullValues", "duplicateCount": "duplicateValues", "duplicates": "duplicateValues"}
_WARNINGS = frozenset({"warn", "warning", "info", "information", "low", "minor"})


def quality_rules(entry: Node, column: str | None, notes: list[str]) -> list[Rule]:
    """The rules of one entry. column: the property it stands at, None at the table. What can't be checked goes to `notes`.

    Raises: ConfigurationError: for a metric of the library that says what makes no sense.
    """
    entry.only(_KEYS)
    metric = entry.text("metric") or entry.text("rule")
    kind = entry.text("type") or ("library" if metric else "text")
    about = entry.text("name") or entry.text("id") or metric or kind
    if kind != "library" or metric is None:
        if kind != "text" or metric is not None or entry.get("query") is not None:
            notes.append(f"{entry.location}: quality rule {about} is of type {kind}, which is not checked here")
        else:
            notes.append(f"{entry.location}: quality rule {about} is a text for people, which is not checked")
        return []
    metric = _OLDER.get(metric, metric)
    if metric == "rowCount":
        return [_rule(entry, "row_count", "row_count", (), "count(*)", {}, _limit(entry))]
    limit = _limit(entry)
    each = _forbids_all(limit)
    if metric == "duplicateValues":
        columns = _columns(entry, column)
        name = f"{'_'.join(identifier(part) for part in columns)}_unique"
        return [_rule(entry, name, "unique", columns, f"UNIQUE ({', '.join(columns)})", {}, None if each else limit)]
    if metric not in ("nullValues", "missingValues", "invalidValues"):
        notes.append(f"{entry.location}: quality metric {metric} is not known here and not checked")
        return []
    if column is None:
        raise entry.error(f"the metric {metric} belongs to a property", "move it into the property's `quality`")
    return [
        _rule(entry, f"{identifier(column)}_{suffix}", kind_, (column,), text, parameters, None if each else limit)
        for suffix, kind_, text, parameters in _measures(entry, metric, column)
    ]


def _measures(entry: Node, metric: str, column: str) -> list[tuple[str, Kind, str, dict[str, Any]]]:
    arguments = entry.get("arguments")
    if metric == "nullValues" or (metric == "missingValues" and arguments is None):
        return [("not_null", "required", f"{column} IS NOT NULL", {})]
    if metric == "missingValues":
        assert arguments is not None
        values = tuple(item.value for item in arguments.listed("missingValues"))
        if not values:
            raise arguments.error("missingValues needs the values that count as missing", "missingValues: ['', 'N/A']")
        text = f"{column} NOT IN {literals(values)}"
        return [("not_missing", "rejected_values", text, {"values": values})]
    holder = arguments or entry
    found: list[tuple[str, Kind, str, dict[str, Any]]] = []
    if holder.get("validValues") is not None:
        values = tuple(item.value for item in holder.listed("validValues"))
        found.append(("accepted_values", "accepted_values", f"{column} IN {literals(values)}", {"values": values}))
    pattern = arguments.text("pattern") if arguments is not None else None
    if pattern is not None:
        found.append(("pattern", "pattern", f"{column} ~ {literal(pattern)}", {"pattern": pattern}))
    if not found:
        raise entry.error("invalidValues needs `validValues` or `pattern`", "arguments: {validValues: [a, b]}")
    return found


def _columns(entry: Node, column: str | None) -> tuple[str, ...]:
    if column is not None:
        return (column,)
    arguments = entry.get("arguments")
    names = () if arguments is None else tuple(str(item.value) for item in arguments.listed("properties"))
    if not names:
        raise entry.error("duplicateValues of a table needs the properties", "arguments: {properties: [a, b]}")
    return names


def _limit(entry: Node) -> Limit:
    given = [key for key in _OPERATORS if entry.get(key) is not None]
    if len(given) != 1:
        found = ", ".join(f"`{key}`" for key in given) or "none"
        raise entry.error(f"a metric takes exactly one comparison; found {found}", "mustBe: 0")
    node = entry.get(given[0])
    assert node is not None
    unit = entry.text("unit") or "rows"
    if unit not in ("rows", "percent", "%"):
        raise (entry.get("unit") or entry).error(f"unknown unit `{unit}`", "rows or percent")
    words: Any = "rows" if unit == "rows" else "percent"
    if given[0].endswith("Between"):
        values = [item.value for item in node.items()]
        if len(values) != 2 or not all(_is_number(value) for value in values):
            raise node.error(f"`{given[0]}` takes two numbers", f"{given[0]}: [0, 10]")
        return Limit(_OPERATORS[given[0]], values[0], values[1], words)
    if not _is_number(node.value):
        raise node.error(f"`{given[0]}` must be a number")
    return Limit(_OPERATORS[given[0]], node.value, None, words)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _forbids_all(limit: Limit) -> bool:
    """Whether no single row may break the rule, so that each row is judged by itself."""
    return (limit.operator in ("=", "<=") and limit.value == 0) or (
        limit.operator == "<" and (limit.value <= 1 if limit.unit == "rows" else False) and limit.value > 0
    )


def _rule(
    entry: Node,
    name: str,
    kind: Kind,
    columns: tuple[str, ...],
    text: str,
    parameters: dict[str, Any],
    limit: Limit | None,
) -> Rule:
    level = entry.text("severity")
    severity: Severity = "warn" if (level or "error").lower() in _WARNINGS else "error"
    if limit is not None:
        text = f"{text} {limit}" if kind == "row_count" else f"rows that break {text}: {limit}"
    given = entry.text("id")
    return Rule(
        identifier(given) if given else name,
        kind,
        columns,
        text,
        severity,
        parameters,
        limit,
        entry.location,
        says_severity=level is not None,
    )
