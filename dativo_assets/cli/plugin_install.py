"""dativo plugin install: a plugin of an index into this environment or project."""

from __future__ import annotations

from dataclasses import asdict

import click

from dativo_assets.index.installed import Plugins

from .context import json_option, project_option
from .index import index_of, index_option, project_folder, target_option
from .output import print_json

EPILOG = """\b
Examples:
  dativo plugin install planets
  dativo plugin install planets==1.2.0 --index ../plugins

A wheel is installed by uv, or by pip; a single file is copied into the project's folder `plugins`. Either has to have the digest
that the index says. Installing runs nothing of the plugin; the first job that names it does."""


@click.command(epilog=EPILOG)
@click.argument("name", metavar="NAME[==VERSION]")
@index_option
@target_option
@json_option
@project_option
def command(name: str, index: str | None, target: str | None, as_json: bool, project: str | None) -> int:
    """Install a plugin of an index, its digest checked."""
    root = project_folder(project)
    name, _, version = name.partition("==")
    found = index_of(root, index)
    plugin = found.find(name)
    done = Plugins(root, target).install(found, plugin, plugin.release(version or None))
    if as_json:
        print_json(asdict(done))
    else:
        click.echo(f"{done.name} {done.version} is installed; a job names it `{done.kind}: {done.reference}`")
    return 0
