"""dativo plugin upgrade: the newest version of what was installed from an index."""

from __future__ import annotations

import click

from dativo_assets.index.installed import Plugins

from .context import project_option
from .index import index_of, index_option, project_folder, target_option

EPILOG = """\b
Examples:
  dativo plugin upgrade planets
  dativo plugin upgrade            all that was installed from an index"""


@click.command(epilog=EPILOG)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@index_option
@target_option
@project_option
def command(names: tuple[str, ...], index: str | None, target: str | None, project: str | None) -> int:
    """Install the newest version of plugins that fits this installation; a lock is then written anew by `plugin lock`."""
    root = project_folder(project)
    plugins = Plugins(root, target)
    known = [plugins.get(name) for name in names] if names else list(plugins.all().values())
    found = index_of(root, index) if known else None
    for here in known:
        assert found is not None
        plugin = found.find(here.name)
        release = plugin.release()
        if (release.version, release.sha256) == (here.version, here.sha256):
            click.echo(f"{here.name} {here.version} is the newest")
            continue
        done = plugins.install(found, plugin, release)
        click.echo(f"{done.name} {here.version} -> {done.version}")
    return 0
