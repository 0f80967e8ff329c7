"""An Open Data Contract Standard file (versions 3.x) as a contract. https://bitol-io.github.io/open-data-contract-standard"""

from __future__ import annotations

import re
from typing import Any

from dativo_assets.errors import ConfigurationError

from .model import Column, Constraints, Contract, Rule
from .node import Node
from .odcs_quality import quality_rules
from .odcs_types import type_of
from .rules import compile_rules, identifier

_NEWEST = (3, 2)
_SHARED = "id description tags customProperties authoritativeDefinitions"
_CONTRACT_KEYS = frozenset(
    f"{_SHARED} version kind apiVersion name tenant status servers dataProduct domain schema support price team roles "
    "slaDefaultElement slaProperties context contractCreatedTs".split()
)
_OBJECT_KEYS = frozenset(
    f"{_SHARED} name physicalType businessName deprecated synonyms logicalType physicalName dataGranularityDescription "
    "properties relationships quality context".split()
)
_PROPERTY_KEYS = frozenset(
    f"{_SHARED} name physicalType physicalName businessName deprecated synonyms primaryKey primaryKeyPosition logicalType "
    "logicalTypeOptions semanticType required unique partitioned partitionKeyPosition classification encryptedName "
    "transformSourceObjects transformLogic transformDescription examples enum criticalDataElement relationships quality "
    "properties items map".split()
)
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_LENGTHS = ("minLength", "maxLength", "minItems", "maxItems")
_CHECKED_OPTIONS = frozenset({*_BOUNDS, *_LENGTHS, "pattern", "format", "timezone", "defaultTimezone"})
_FORMATS = {
    "uuid": "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$",
    "email": r"^[^@\s]+@[^@\s.]+(\.[^@\s.]+)+$",
    "ipv4": r"^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(\.|$)){4}$",
}
_PLAIN_FORMATS = frozenset(
    {"password", "byte", "binary", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f32", "f64"}
)


def is_odcs(node: Node) -> bool:
    """Whether a mapping is meant as a file of the standard."""
    return "apiVersion" in node.mapping() or node.mapping().get("kind") == "DataContract"


def read_odcs(node: Node, table: str | None, job: str) -> Contract:
    """The contract of one table of the file. table: its name; None takes the only one, or the one named like the job.

    Raises: ConfigurationError: at the line of what can't be understood.
    """
    notes: list[str] = []
    newer = _check_version(node)
    if newer:
        notes.append(f"{node.document.file}: apiVersion {newer} is newer than {_NEWEST[0]}.{_NEWEST[1]}")
    else:
        node.only(_CONTRACT_KEYS)
    if node.get("slaProperties") is not None:
        notes.append(f"{node.document.file}: slaProperties are not checked; see `freshness` in the job")
    chosen = _table(node, table, job)
    if not newer:
        chosen.only(_OBJECT_KEYS)
    columns: list[Column] = []
    positions: list[tuple[float, str]] = []
    extra: list[Rule] = []
    for item in chosen.listed("properties"):
        if not newer:
            item.only(_PROPERTY_KEYS)
        column = _column(item, notes, extra)
        if any(other.name == column.name for other in columns):
            raise item.error(f"the column `{column.name}` is declared twice", "keep one of the two")
        columns.append(column)
        if column.primary_key:
            position = item.number("primaryKeyPosition")
            positions.append((float("inf") if position is None or position < 0 else position, column.name))
        for entry in item.listed("quality"):
            extra.extend(quality_rules(entry, column.name, notes))
    for entry in chosen.listed("quality"):
        extra.extend(quality_rules(entry, None, notes))
    declared = tuple(columns)
    _check_columns(extra, declared)
    key = tuple(name for _, name in sorted(positions, key=lambda item: item[0]))
    return Contract(
        name=node.text("name") or node.text("id") or chosen.text("name") or job,
        version=node.text("version") or "1.0",
        description=chosen.text("description") or _purpose(node),
        columns=declared,
        rules=compile_rules(declared, key, extra),
        notes=tuple(notes),
        format="odcs",
        file=node.document.file,
    )


def _check_version(node: Node) -> str | None:
    """The version when it is newer than what is known here."""
    text = node.text("apiVersion") or ""
    match = re.fullmatch(r"v?(\d+)\.(\d+)(\..*)?", text)
    where = node.get("apiVersion") or node
    if match is None:
        raise where.error("the contract needs an `apiVersion`", "apiVersion: v3.1.0")
    found = (int(match[1]), int(match[2]))
    if found[0] < 3:
        raise where.error(
            f"version {text} of the standard is not read", "write the contract in version 3: apiVersion: v3.1.0"
        )
    return text if found > _NEWEST else None


def _table(node: Node, table: str | None, job: str) -> Node:
    tables = list(node.listed("schema"))
    if not tables:
        raise node.error("the contract has no `schema`", "schema: [{name: ..., properties: [...]}]")
    names = [item.text("name") for item in tables]
    wanted = table or job
    for item in tables:
        if wanted in (item.text("name"), item.text("physicalName")):
            return item
    if table is None and len(tables) == 1:
        return tables[0]
    shown = ", ".join(str(name) for name in names)
    raise (node.get("schema") or node).error(
        f"the contract has no table named `{wanted}`; it has {shown}",
        f"name one of them in the job: contract: {node.document.file}#{names[0]}",
    )


def _column(item: Node, notes: list[str], extra: list[Rule]) -> Column:
    name = item.text("physicalName") or item.text("name")
    if name is None:
        raise item.error("a property needs a `name`")
    options = item.get("logicalTypeOptions")
    place = item.location
    if options is not None:
        left = [key for key in options.mapping() if key not in _CHECKED_OPTIONS]
        if left:
            notes.append(f"{options.location}: column {name}: not checked: {', '.join(left)}")
        if item.text("logicalType") == "string" and (form := options.text("format")) is not None:
            if form in _FORMATS:
                parameters = {"pattern": _FORMATS[form]}
                rule = f"{identifier(name)}_{identifier(form)}"
                extra.append(Rule(rule, "pattern", (name,), f"{name} IS {form}", parameters=parameters, location=place))
            elif form not in _PLAIN_FORMATS:
                notes.append(f"{options.location}: column {name}: format {form} is not checked")
    return Column(
        name=name,
        type=type_of(item, notes),
        required=item.flag("required"),
        unique=item.flag("unique"),
        primary_key=item.flag("primaryKey"),
        constraints=_constraints(options, item),
        description=item.text("description"),
        classification=item.text("classification"),
        tags=tuple(str(tag.value) for tag in item.listed("tags")),
        location=place,
    )


def _constraints(options: Node | None, item: Node) -> Constraints:
    accepted: tuple[Any, ...] | None = None
    if item.get("enum") is not None:
        accepted = tuple(
            entry.value.get("value") if isinstance(entry.value, dict) else entry.value for entry in item.listed("enum")
        )
    if options is None:
        return Constraints(accepted_values=accepted)
    low, high = options.get("exclusiveMinimum"), options.get("exclusiveMaximum")
    for node in (low, high):
        if node is not None and isinstance(node.value, bool):
            raise node.error("an exclusive bound is a value, not true or false", "exclusiveMinimum: 0")
    least, most = options.whole("minLength"), options.whole("maxLength")
    return Constraints(
        min=options.scalar("minimum"),
        max=options.scalar("maximum"),
        exclusive_min=options.scalar("exclusiveMinimum"),
        exclusive_max=options.scalar("exclusiveMaximum"),
        pattern=options.text("pattern"),
        accepted_values=accepted,
        min_length=options.whole("minItems") if least is None else least,
        max_length=options.whole("maxItems") if most is None else most,
    )


def _check_columns(rules: list[Rule], columns: tuple[Column, ...]) -> None:
    names = {column.name for column in columns}
    for rule in rules:
        for name in rule.columns:
            if name not in names:
                assert rule.location is not None
                raise ConfigurationError(
                    f"the rule names `{name}`, which is no property of the table",
                    details=rule.location.details(),
                    hint=f"properties are: {', '.join(column.name for column in columns)}",
                )


def _purpose(node: Node) -> str | None:
    found = node.get("description")
    if found is None:
        return None
    return found.value if isinstance(found.value, str) else found.text("purpose")
