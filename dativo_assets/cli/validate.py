"""dativo validate: every mistake in the project's files, at once."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click
from dativo_plugin_sdk import DativoError

from dativo_assets.config import references
from dativo_assets.config.runner import load_runner
from dativo_assets.contract import verify
from dativo_assets.errors import EXIT_ALL_DONE, EXIT_NONE_RAN, EXIT_SOME_FAILED
from dativo_assets.plan import JobPlan, bind

from .context import Named, Selection, json_option, project_option, select
from .output import print_error, print_json

EPILOG = """\b
Examples:
  dativo validate              the whole project
  dativo validate orders       one job
  dativo validate --json       for an editor or a hook

Plugins are loaded and their options checked. Nothing is connected to, read or written."""


@click.command(epilog=EPILOG)
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@json_option
@project_option
def command(jobs: tuple[str, ...], as_json: bool, project: str | None) -> int:
    """Find every mistake in the project's files."""
    selection = select(jobs, project)
    errors: dict[str, list[DativoError]] = {named.name: _mistakes(named, selection) for named in selection.jobs}
    runner = None if jobs else load_runner(selection.project)
    schedules = [] if runner is None or runner.error is None else [runner.error]
    broken = [name for name, found in errors.items() if found]
    if as_json:
        told: list[tuple[str | None, Sequence[DativoError]]] = [*errors.items()]
        told += [(None, schedules)] if schedules else []
        print_json(
            [{"job": name, "valid": not found, "errors": [error.to_dict() for error in found]} for name, found in told]
        )
    else:
        # Streams of a job share most of its lines.
        mistakes = [*(error for found in errors.values() for error in found), *schedules]
        for error in {str(error.to_dict()): error for error in mistakes}.values():
            print_error(error)
            click.echo(err=True)
        notes = (f"{named.name}: {note}" for named in selection.jobs if named.job for note in named.job.notes)
        for note in dict.fromkeys(notes):
            click.echo(f"note: {note}", err=True)
        fine = len(errors) - len(broken)
        click.echo(f"{fine} of {len(errors)} jobs valid" if mistakes else f"{fine} valid, no mistake found")
    if not broken:
        return EXIT_SOME_FAILED if schedules else EXIT_ALL_DONE
    return EXIT_SOME_FAILED if len(broken) < len(errors) else EXIT_NONE_RAN


def _mistakes(named: Named, selection: Selection) -> list[DativoError]:
    if named.job is None:
        assert named.error is not None
        return [named.error]
    try:
        plan = bind(named.job, selection.project, selection.registry)
        plan.reader.load()
        plan.writer.load()
        if plan.contract is not None:
            verify(plan.contract, plan.root)
    except DativoError as error:
        return [error]
    return [error for error in (_opened(plan, "source"), _opened(plan, "target")) if error is not None]


def _opened(plan: JobPlan, side: str) -> DativoError | None:
    """What the plugin says of its options; variables that are not set here stand for themselves."""
    section = getattr(plan.job, side)
    names: list[str] = list(references(section.model_dump()))
    connection = section.connection
    if isinstance(connection, str):
        names += references(plan.connections.get(connection, {}))
    environment = {**{name: f"<{name}>" for name in names}, **os.environ}
    try:
        if side == "source":
            plan_without_upstream(plan).open_reader(environment).close()
        else:
            plan.open_writer(environment).close()
    except DativoError as error:
        return plan.redacted(error)
    return None


def plan_without_upstream(plan: JobPlan) -> JobPlan:
    """The plan with upstream tables left out: they need not be there yet."""
    from dataclasses import replace

    return replace(plan, upstream=())
