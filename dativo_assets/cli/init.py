"""dativo init: a small project that runs."""

from __future__ import annotations

from pathlib import Path

import click
from dativo_plugin_sdk import ConfigurationError

from dativo_assets.config.starter import STARTER, write_starter

EPILOG = """\b
Examples:
  dativo init            in this folder
  dativo init shop       in a new one
  cd shop && dativo run"""


@click.command(epilog=EPILOG)
@click.argument("folder", default=".")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: {project, files}.")
def command(folder: str, as_json: bool) -> int:
    """Make a small project that runs. No file is ever overwritten."""
    root = Path(folder)
    there = [name for name in STARTER if (root / name).exists() and name != ".gitignore"]
    if there:
        raise ConfigurationError(
            f"{root / there[0]} exists already", hint="choose another folder: dativo init NAME; nothing was written"
        )
    written = write_starter(root)
    if as_json:
        from .output import print_json

        print_json({"project": str(root.resolve()), "files": written})
        return 0
    for name in written:
        click.echo(f"wrote {root / name}")
    change = "" if folder == "." else f"cd {folder} && "
    click.echo(f"next: {change}dativo run")
    return 0
