"""dativo plugin remove: undo an installation from an index."""

from __future__ import annotations

import click

from dativo_assets.index.installed import Plugins

from .context import project_option
from .index import project_folder, target_option

EPILOG = """\b
Examples:
  dativo plugin remove planets"""


@click.command(epilog=EPILOG)
@click.argument("name")
@target_option
@project_option
def command(name: str, target: str | None, project: str | None) -> int:
    """Remove a plugin that was installed from an index."""
    gone = Plugins(project_folder(project), target).remove(name)
    click.echo(f"{gone.name} {gone.version} is removed")
    return 0
