"""dativo migrate: jobs of the earlier package in the keys of today."""

from __future__ import annotations

import difflib
import os
import sys
from pathlib import Path

import click
from dativo_plugin_sdk import DativoError

from dativo_assets.config.load import load_config
from dativo_assets.config.migrate import Migrated, migrated
from dativo_assets.config.project import job_files
from dativo_assets.errors import EXIT_ALL_DONE, EXIT_NONE_RAN, EXIT_SOME_FAILED

from .context import project_option, project_root
from .output import print_error

EPILOG = """\b
Examples:
  dativo migrate jobs/orders.yaml           the difference; nothing is written
  dativo migrate jobs/orders.yaml --write   the file itself
  dativo migrate --write                    all jobs of the project

The job stays the same: its asset, its table, where its next run goes on. What connector files say is written out."""


@click.command(epilog=EPILOG)
@click.argument("jobs", nargs=-1, metavar="[FILE]...")
@click.option("--write", is_flag=True, help="Replace the files.")
@project_option
def command(jobs: tuple[str, ...], write: bool, project: str | None) -> int:
    """Rewrite jobs of the earlier package in the keys of today. Without FILE: all of the project."""
    root = project_root(jobs, project)
    config = load_config(root)
    paths = [_existing(name, root) for name in jobs] or job_files(root, config.jobs)
    failed = 0
    for path in paths:
        try:
            found = migrated(path, root, config)
        except DativoError as error:
            print_error(error)
            failed += 1
            continue
        _tell(os.path.relpath(path), found, write)
        if write and found.after != found.before:
            staged = path.with_name(f".{path.name}.migrated")
            staged.write_text(found.after, encoding="utf-8")
            staged.replace(path)
    if not failed:
        return EXIT_ALL_DONE
    return EXIT_SOME_FAILED if failed < len(paths) else EXIT_NONE_RAN


def _existing(name: str, root: Path) -> Path:
    path = Path(name).resolve()
    return path if path.exists() else (root / name).resolve()


def _tell(name: str, found: Migrated, write: bool) -> None:
    if found.after == found.before:
        click.echo(f"{name}: has the keys of today")
        return
    before, after = found.before.splitlines(keepends=True), found.after.splitlines(keepends=True)
    sys.stdout.writelines(difflib.unified_diff(before, after, name, name))
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(f"{name}: {'rewritten' if write else 'not written; --write does'}", err=True)
