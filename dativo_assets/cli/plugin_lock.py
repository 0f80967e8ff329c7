"""dativo plugin lock: write down the plugins of a project's jobs, so that a run can tell that they are still the same."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

import click
from dativo_plugin_sdk import ConfigurationError, DativoError

from dativo_assets.errors import EXIT_ALL_DONE, EXIT_SOME_FAILED
from dativo_assets.plan import bind
from dativo_assets.trust.lock import LOCK_FILE, Locked, lock_text, locked, read_lock

from .context import Selection, project_option, select
from .output import print_error

EPILOG = """\b
Examples:
  dativo plugin lock            look at every plugin that a job names, and write dativo.lock
  dativo plugin lock --check    only tell what would change; exit code 1 where something would
  dativo run --locked           run nothing but what is locked

dativo.lock belongs into version control. Compiled plugins differ by platform: lock on each where jobs run; what the lock has of
other platforms stays, as long as the plugin is of the same version."""


@click.command(epilog=EPILOG)
@click.option("--check", is_flag=True, help="Write nothing; tell what would change.")
@project_option
def command(check: bool, project: str | None) -> int:
    """Write dativo.lock: name, version, source and digest of each plugin that a job names."""
    selection = select((), project, locked=False)
    plugins, broken = _plugins(selection)
    for error in broken:
        print_error(error)
    if broken:
        return EXIT_SOME_FAILED
    path = selection.project.root / LOCK_FILE
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    plugins = _beside(plugins, selection.project.root)
    after = lock_text(plugins)
    if check:
        for line in difflib.unified_diff(before.splitlines(), after.splitlines(), LOCK_FILE, "now", lineterm=""):
            click.echo(line)
        return EXIT_ALL_DONE if before == after else EXIT_SOME_FAILED
    try:
        path.write_text(after, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path} can't be written: {error.strerror}") from error
    click.echo(f"{LOCK_FILE}: {len(plugins)} plugins" + ("" if before != after else ", as before"))
    return EXIT_ALL_DONE


def _beside(plugins: Iterable[Locked], root: Path) -> list[Locked]:
    """Plugins, with what the lock has of them on other platforms."""
    try:
        before = {(item.kind, item.reference): item for item in read_lock(root).plugins}
    except ConfigurationError:
        return list(plugins)  # it is not there yet, or has to be written anew
    return [item.beside(before.get((item.kind, item.reference), item)) for item in plugins]


def _plugins(selection: Selection) -> tuple[list[Locked], list[DativoError]]:
    """The plugins of all jobs, each once, and why those of some jobs are not known."""
    found: dict[tuple[str, str], Locked] = {}
    broken: list[DativoError] = []
    for named in selection.jobs:
        try:
            if named.job is None:
                assert named.error is not None
                raise named.error
            plan = bind(named.job, selection.project, selection.registry)
            for ref in (plan.reader, plan.writer):
                if (ref.kind, ref.reference) not in found:
                    found[ref.kind, ref.reference] = locked(ref, selection.project.root)
        except DativoError as error:
            broken.append(error)
    return list(found.values()), broken
