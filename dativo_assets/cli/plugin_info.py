"""dativo plugin info: all that an index says of one plugin."""

from __future__ import annotations

from dataclasses import asdict

import click
from dativo_plugin_sdk.version import api_text

from dativo_assets.index.installed import Plugins

from .context import json_option, project_option
from .index import index_of, index_option, project_folder
from .output import print_json

EPILOG = """\b
Examples:
  dativo plugin info planets
  dativo plugin info planets --json"""


@click.command(epilog=EPILOG)
@click.argument("name")
@index_option
@json_option
@project_option
def command(name: str, index: str | None, as_json: bool, project: str | None) -> int:
    """Show what an index says of a plugin, and whether it is installed."""
    root = project_folder(project)
    plugin = index_of(root, index).find(name)
    here = Plugins(root).all().get(name)
    if as_json:
        print_json({**asdict(plugin), "installed": here and asdict(here)})
        return 0
    click.echo(f"{plugin.name}: {plugin.summary}")
    told = {
        "kind": plugin.kind,
        "language": plugin.language,
        "capabilities": ", ".join(plugin.capabilities),
        "homepage": plugin.homepage,
        "installed": f"{here.version} as {here.reference}" if here else "no",
    }
    for key, value in told.items():
        if value:
            click.echo(f"  {key}: {value}")
    for release in reversed(plugin.releases):
        fits = "" if release.fits else f", needs plugin API {api_text(release.api_version)}"
        click.echo(f"  version {release.version}{fits}: {release.file}, sha256 {release.sha256}")
    return 0
