"""dativo plugin test: the conformance suite on a plugin, whatever it is written in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from dativo_plugin_sdk import ConfigurationError

from dativo_assets.config import find_project
from dativo_assets.errors import EXIT_ALL_DONE, EXIT_SOME_FAILED
from dativo_assets.registry import Kind, Plugin, Registry

from .context import json_option, project_option
from .output import print_json

if TYPE_CHECKING:
    from dativo_plugin_sdk.testing import Conformance

EPILOG = """\b
Examples:
  dativo plugin test planets.py:Planets
  dativo plugin test csv --with '{files: [data/*.csv], options: {delimiter: ";"}}'
  dativo plugin test lines.py:Lines --kind writer --report CONFORMANCE.md

--with says what a job says under `source` or `target`. A reader's source should be small: it is read many times. A writer
gets a target of its own in a temporary folder, unless --with leads elsewhere. Exit code 1: a check failed."""


@click.command(epilog=EPILOG)
@click.argument("reference", metavar="REF")
@click.option("--kind", type=click.Choice(["reader", "writer"]), help="Default: what the reference names.")
@click.option("--with", "section", metavar="YAML", help="The job's `source` or `target`.")
@click.option("--report", metavar="FILE", help="Write the report there too, as Markdown.")
@json_option
@project_option
def command(
    reference: str, kind: Kind | None, section: str | None, report: str | None, as_json: bool, project: str | None
) -> int:
    """Run the conformance suite on a plugin."""
    from dativo_plugin_sdk.testing import run_suite

    root = find_project(explicit=project)
    plugin = _load(Registry(root), reference, kind)
    found = run_suite(_suite(plugin, root, _parsed(section)), reference)
    text = found.to_markdown()
    if report is not None:
        try:
            Path(report).write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"{report} can't be written: {error.strerror}", hint="see --report") from error
    if as_json:
        print_json(found.to_dict())
    else:
        click.echo(text, nl=False)
    return EXIT_ALL_DONE if found.passed else EXIT_SOME_FAILED


def _load(registry: Registry, reference: str, kind: Kind | None) -> Plugin:
    """The plugin, as the kind that it is where none is given. Raises: DativoError: of the reader where it is neither."""
    from dativo_plugin_sdk import DativoError

    if kind is not None:
        return registry.resolve(kind, reference).load()
    try:
        return registry.resolve("reader", reference).load()
    except DativoError:
        try:
            return registry.resolve("writer", reference).load()
        except DativoError:
            pass
        raise


def _parsed(section: str | None) -> Mapping[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(section) if section else {}
    except yaml.YAMLError as error:
        raise ConfigurationError(f"--with is no YAML: {error}", hint="--with '{files: [data.csv]}'") from error
    if not isinstance(found, dict):
        raise ConfigurationError(
            f"--with is a {type(found).__name__}, not a mapping", hint="--with '{files: [data.csv]}'"
        )
    return found


def _suite(plugin: Plugin, root: Path, section: Mapping[str, Any]) -> type[Conformance]:
    from dativo_plugin_sdk.testing import ReaderConformance, WriterConformance

    given = {key: tuple(value) if isinstance(value, list) else value for key, value in section.items()}
    body: dict[str, Any] = {
        plugin.ref.kind: plugin.target,
        "options": given.pop("options", {}),
        "factory": classmethod(lambda cls: plugin.factory),
    }
    if plugin.ref.kind == "reader":
        return type("Suite", (ReaderConformance,), {**body, "source": given, "root": str(root)})
    return type("Suite", (WriterConformance,), {**body, "target": {"path": "out", **given}})
