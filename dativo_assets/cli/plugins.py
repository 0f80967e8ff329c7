"""dativo plugins: what is installed, and what is wrong with a broken one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import click
from dativo_plugin_sdk import BaseReader, BaseWriter, DativoError
from dativo_plugin_sdk.version import api_text

from dativo_assets.config import find_project
from dativo_assets.index.installed import Plugins
from dativo_assets.registry import Plugin, PluginRef, Registry

from .context import json_option, project_option
from .output import print_json, print_table

EPILOG = """\b
Examples:
  dativo plugins           readers and writers found by entry point, and those installed from an index
  dativo plugins --json    with the JSON Schema of their options

A plugin in a file needs no installation: write `reader: path.py:Class` in a job."""

_COLUMNS = ("kind", "name", "language", "version", "api", "capabilities", "from")
_OF_READERS = {"plan": "splits", "check_connection": "check", "discover": "discover", "probe": "probe"}
_OF_WRITERS = {"quarantines": "quarantine", "writes_empty": "empty tables", "resumes": "resume"}


@click.command(epilog=EPILOG)
@json_option
@project_option
def command(as_json: bool, project: str | None) -> int:
    """List installed readers and writers, what they can, and what is wrong with a broken one."""
    root = find_project(explicit=project)
    registry = Registry(root)
    told = [_about(ref, ref.origin) for ref in registry.installed()]
    told += _of_index(Plugins(root), registry)
    if as_json:
        print_json(told)
        return 0
    rows = [
        [item["error"] if key == "capabilities" and item["error"] else _text(key, item[key]) for key in _COLUMNS]
        for item in told
    ]
    print_table(_COLUMNS, rows)
    return 0


def _text(key: str, value: Any) -> str:
    if key == "api" and value:
        return api_text(value)
    return ", ".join(value) if isinstance(value, list) else str(value)


def _of_index(plugins: Plugins, registry: Registry) -> Iterator[dict[str, Any]]:
    """The single files that came from an index; its wheels are found by their entry points."""
    for item in plugins.all().values():
        if item.is_wheel:
            continue
        where = f"{item.name} {item.version} of {item.index}"
        wrong = plugins.changed(item)
        try:
            if wrong is None:
                yield _about(registry.resolve(item.kind, item.reference), where)  # type: ignore[arg-type]
                continue
            hint = f"dativo plugin install {item.name}"
        except DativoError as error:
            wrong, hint = error.message, error.hint or ""
        yield {**_nothing(item.kind, item.reference, where), "error": wrong, "hint": hint}


def _nothing(kind: str, name: str, where: str) -> dict[str, Any]:
    empty: dict[str, Any] = {"language": "", "version": "", "api": "", "capabilities": [], "options": {}, "error": None}
    return {"kind": kind, "name": name, "from": where, "origin": where, **empty}


def _about(ref: PluginRef, where: str) -> dict[str, Any]:
    base = _nothing(ref.kind, ref.reference, where)
    try:
        plugin = ref.load()
        schema = plugin.options_schema()
    except DativoError as error:
        return {**base, "error": str(error), "hint": error.hint}
    return {
        **base,
        "language": _language(plugin),
        "version": plugin.version,
        "api": plugin.api_version,
        "capabilities": list(_capabilities(plugin.target)),
        "options": schema.get("properties", {}),
    }


def _language(plugin: Plugin) -> str:
    """python, or native for one that is compiled, in whole or where its package has a native part."""
    target = plugin.target
    package = str(getattr(target, "__module__", "")).partition(".")[0]
    compiled = not (isinstance(target, type) and issubclass(target, (BaseReader, BaseWriter)))
    return "native" if compiled or f"{package}._native" in sys.modules else "python"


def _capabilities(target: Any) -> Iterator[str]:
    """What a class does beyond the least that it must."""
    if isinstance(target, type) and issubclass(target, BaseReader):
        yield from (
            word for name, word in _OF_READERS.items() if getattr(target, name) is not getattr(BaseReader, name)
        )
    elif isinstance(target, type) and issubclass(target, BaseWriter):
        yield from sorted(target.modes)
        yield from (word for name, word in _OF_WRITERS.items() if getattr(target, name))
        if target.replaces_partitions:
            yield "partitions"
