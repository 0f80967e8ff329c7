"""dativo plugins: what is installed, and what is wrong with a broken one."""

from __future__ import annotations

from typing import Any

import click
from dativo_plugin_sdk import DativoError

from dativo_assets.config import find_project
from dativo_assets.registry import PluginRef, Registry

from .context import json_option, project_option
from .output import print_json, print_table

EPILOG = """\b
Examples:
  dativo plugins           readers and writers found by entry point
  dativo plugins --json    with the JSON Schema of their options

A plugin in a file needs no installation: write `reader: path.py:Class` in a job."""


@click.command(epilog=EPILOG)
@json_option
@project_option
def command(as_json: bool, project: str | None) -> int:
    """List installed readers and writers."""
    told = [_about(ref) for ref in Registry(find_project(explicit=project)).installed()]
    if as_json:
        print_json(told)
        return 0
    rows = [
        [item["kind"], item["name"], item["version"], item["origin"], item["error"] or ", ".join(item["options"])]
        for item in told
    ]
    print_table(["kind", "name", "version", "from", "options"], rows)
    return 0


def _about(ref: PluginRef) -> dict[str, Any]:
    base = {"kind": ref.kind, "name": ref.reference, "origin": ref.origin}
    try:
        plugin = ref.load()
        schema = plugin.options_schema()
    except DativoError as error:
        return {**base, "version": "", "options": {}, "error": str(error), "hint": error.hint}
    return {**base, "version": plugin.version, "options": schema.get("properties", {}), "error": None}
