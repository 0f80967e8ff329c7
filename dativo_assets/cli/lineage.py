"""dativo lineage: where tables and columns come from, and where they go."""

from __future__ import annotations

import difflib
import os

import click
from dativo_plugin_sdk import ConfigurationError

from dativo_assets.config import find_project, load_project
from dativo_assets.lineage import ColumnRef, Graph, project_graph, render
from dativo_assets.registry import Registry

from .context import project_option
from .output import print_json

EPILOG = """\b
Examples:
  dativo lineage                              the whole project
  dativo lineage orders                       what orders is made from, and what is made from it
  dativo lineage daily_sales.revenue --upstream
  dativo lineage --format mermaid > lineage.mmd

Columns are those of contracts, of a job's last commit where it has none, and of parsed queries."""


@click.command(epilog=EPILOG)
@click.argument("name", required=False, metavar="[JOB | JOB.COLUMN | SOURCE]")
@click.option("--format", "form", type=click.Choice(["text", "json", "mermaid"]), default="text", show_default=True)
@click.option("--upstream", is_flag=True, help="Only what it is made from.")
@click.option("--downstream", is_flag=True, help="Only what is made from it.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@project_option
def command(name: str | None, form: str, upstream: bool, downstream: bool, as_json: bool, project: str | None) -> int:
    """Show where tables and columns come from, and where they go."""
    context = click.get_current_context()
    explicit = project or (context.obj or {}).get("project")
    loaded = load_project(find_project(explicit=explicit))
    graph = project_graph(loaded, Registry(loaded.root), os.environ)
    both = upstream == downstream
    view = render.View(graph, None if name is None else _focus(graph, name), upstream or both, downstream or both)
    if as_json or form == "json":
        print_json(render.as_json(view))
        return 0
    click.echo(render.mermaid(view) if form == "mermaid" else render.text(view))
    for note in (*graph.notes, *(f"{item.name}: {item.error.message}" for item in loaded.broken)):
        click.echo(f"note: {note}", err=True)
    return 0


def _focus(graph: Graph, name: str) -> str | ColumnRef:
    """The node or column of this name.

    Raises: ConfigurationError: with the nearest name, when there is none.
    """
    if name in graph.nodes:
        return name
    known = {*graph.columns, *(ref for origins in graph.columns.values() for ref in origins)}
    for node in graph.nodes.values():
        known.update(ColumnRef(node.name, column) for column in node.columns)
    by_text = {str(ref): ref for ref in known}
    if name in by_text:
        return by_text[name]
    near = difflib.get_close_matches(name, [*graph.nodes, *by_text], n=1)
    raise ConfigurationError(
        f"there is no job, source or column `{name}`",
        hint=f"did you mean `{near[0]}`?" if near else "`dativo lineage` without a name lists them",
    )
