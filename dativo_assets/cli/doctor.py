"""dativo doctor: is all there that runs need? Every finding that is not well says what to do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import click
from dativo_plugin_sdk import DativoError

from dativo_assets.errors import EXIT_ALL_DONE, EXIT_SOME_FAILED, to_dativo_error

from .context import Selection, json_option, project_option, select
from .findings import Finding, worst
from .output import print_json, print_table

EPILOG = """\b
Examples:
  dativo doctor            versions, plugins, connections, Dagster's instance and daemon, disk, clock
  dativo doctor --json     {status, findings} for a monitor

Exit codes: 0 nothing worse than a warning, 1 an error was found, 2 the project can't be read."""
_LIMIT_S = 45.0

Area = Callable[[Selection], "list[Finding]"]


@click.command(epilog=EPILOG)
@click.option("--all", "everything", is_flag=True, help="What is well, too.")
@json_option
@project_option
def command(everything: bool, as_json: bool, project: str | None) -> int:
    """Find what keeps jobs from running well, and what to do about it."""
    selection = _selection(project)
    findings = _examined(selection)
    status = worst(findings)
    if as_json:
        print_json({"status": status, "findings": [finding.to_dict() for finding in findings]})
    else:
        _print(findings, everything)
    return EXIT_SOME_FAILED if status == "error" else EXIT_ALL_DONE


def _selection(project: str | None) -> Selection:
    try:
        return select((), project)
    except DativoError as error:
        # A project without jobs still has an installation, an instance and a disk to look at.
        from dativo_assets.config import find_project, load_project
        from dativo_assets.registry import Registry

        context = click.get_current_context()
        loaded = load_project(find_project(explicit=project or (context.obj or {}).get("project")))
        if loaded.jobs or loaded.broken:
            raise error
        return Selection(loaded, Registry(loaded.root), ())


def _areas() -> dict[str, Area]:
    from . import doctor_dagster, doctor_isolation, doctor_project

    return {
        "versions": doctor_project.versions,
        "plugins": doctor_project.plugins,
        "jobs": doctor_project.jobs,
        "connections": doctor_project.connections,
        "isolation": doctor_isolation.isolation,
        "disk": doctor_project.disk,
        "clock": doctor_dagster.clock,
        "instance": doctor_dagster.instance,
    }


def _examined(selection: Selection) -> list[Finding]:
    """Every area at the same time; one that does not answer is a finding itself."""
    areas = _areas()
    told: dict[str, list[Finding]] = {}

    def look(name: str) -> None:
        try:
            told[name] = areas[name](selection)
        except (Exception, SystemExit) as error:
            found = to_dativo_error(error)
            told[name] = [Finding(name, name, "error", f"it can't be looked at: {found.message}", found.hint)]

    threads = [threading.Thread(target=look, args=(name,), name=f"dativo-doctor-{name}", daemon=True) for name in areas]
    for thread in threads:
        thread.start()
    end = time.monotonic() + _LIMIT_S
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    silent = f"no answer within {_LIMIT_S:g} s"
    hint = "something that it reaches over the network, or a disk, does not answer: look there"
    return [found for name in areas for found in told.get(name, [Finding(name, name, "error", silent, hint)])]


def _print(findings: list[Finding], everything: bool) -> None:
    bad = [finding for finding in findings if finding.status != "ok"]
    shown = findings if everything else bad
    if shown:
        print_table(
            ["area", "what", "", "finding"], [[item.area, item.subject, item.mark, item.message] for item in shown]
        )
    for finding in bad:
        if finding.hint:
            click.echo(f"\n{finding.subject}: {finding.message}\n  hint: {finding.hint}")
    well = len(findings) - len(bad)
    errors = sum(finding.status == "error" for finding in bad)
    click.echo(f"{chr(10) if shown else ''}{well} well, {len(bad) - errors} warnings, {errors} errors")
