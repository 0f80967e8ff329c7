"""The asset files of the earlier package as contracts: flat keys, or the same under `asset:`."""

from __future__ import annotations

from dativo_assets.config.types import TYPES_HINT, is_type

from .model import Column, Contract
from .node import Node
from .rules import compile_rules

_KEYS = ("name", "type", "required", "classification", "description")


def is_asset_file(node: Node) -> bool:
    """Whether a mapping is an asset file: it has a `schema` of columns, at the top or under `asset`."""
    inner = node.get("asset") or node
    return isinstance(inner.value, dict) and isinstance(inner.value.get("schema"), list)


def read_asset_file(node: Node) -> Contract:
    """Raises: ConfigurationError: at the line of what is wrong."""
    asset = node.get("asset") or node
    columns: list[Column] = []
    notes: list[str] = []
    for item in asset.listed("schema"):
        name = item.text("name")
        if name is None:
            raise item.error("a column needs a `name`")
        if any(column.name == name for column in columns):
            raise item.error(f"the column `{name}` is declared twice", "keep one of the two")
        type_name = item.text("type") or "string"
        if not is_type(type_name):
            raise (item.get("type") or item).error(f"unknown type `{type_name}`", TYPES_HINT)
        ignored = [key for key in item.mapping() if key not in _KEYS]
        if ignored:
            notes.append(f"{item.location}: column {name}: not checked: {', '.join(ignored)}")
        columns.append(
            Column(
                name=name,
                type=type_name,
                required=item.flag("required"),
                description=item.text("description"),
                classification=item.text("classification"),
                location=item.location,
            )
        )
    declared = tuple(columns)
    return Contract(
        name=asset.text("name") or "asset",
        version=asset.text("version") or "1.0",
        description=asset.text("description"),
        columns=declared,
        rules=compile_rules(declared, ()),
        notes=tuple(notes),
        format="asset",
        file=node.document.file,
    )
