"""dativo plugin: make, test, install and lock plugins."""

from __future__ import annotations

from importlib import import_module

import click

VERBS = {
    "new": "Make a package: plugin, tests, CI, docs, an example job.",
    "test": "Run the conformance suite on a plugin.",
    "build": "Build a package: a wheel, or a shared library.",
    "search": "List the plugins of an index.",
    "info": "Show what an index says of a plugin.",
    "install": "Install a plugin of an index, its digest checked.",
    "upgrade": "Install the newest version of an installed plugin.",
    "remove": "Remove an installed plugin.",
    "lock": "Write dativo.lock: what the plugins of the jobs are now.",
}
EPILOG = """\b
Examples:
  dativo plugin new planets --kind reader     a package whose tests pass at once
  dativo plugin test planets.py:Planets       its conformance, as a table
  dativo plugin build                         its wheel or library
  dativo plugin install planets               from the index that dativo.yaml names
  dativo plugin lock                          what `dativo run --locked` holds it to"""


class PluginVerbs(click.Group):
    """Lists verbs without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        command: click.Command = import_module(f"dativo_assets.cli.plugin_{name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=PluginVerbs, epilog=EPILOG)
def command() -> None:
    """Make plugins, test, install and lock them."""
