"""dativo check: do source and target answer?"""

from __future__ import annotations

import os
from typing import Any

import click
from dativo_plugin_sdk import ConnectionTestResult, DativoError

from dativo_assets.errors import EXIT_ALL_DONE, EXIT_NONE_RAN, EXIT_SOME_FAILED, to_dativo_error
from dativo_assets.plan import JobPlan, bind

from .context import Named, Selection, config_option, expect, json_option, project_option, select
from .output import print_error, print_json, print_table

EPILOG = """\b
Examples:
  dativo check             source and target of every job
  dativo check orders
  dativo check orders --json"""


@click.command(epilog=EPILOG)
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@click.option("--verbose", is_flag=True, hidden=True)
@config_option
@json_option
@project_option
def command(jobs: tuple[str, ...], verbose: bool, config: str | None, as_json: bool, project: str | None) -> int:
    """Test the connections of jobs. Without JOB: of all."""
    selection = select(jobs, project, config)
    told = [entry for named in selection.jobs for entry in _both(named, selection)]
    failed = [entry for entry in told if not entry["success"]]
    if as_json:
        print_json([{key: value for key, value in entry.items() if key != "cause"} for entry in told])
    else:
        columns = ["job", "side", "plugin", "ok", "message"]
        mark = {True: "yes", False: "NO"}
        print_table(columns, [[e["job"], e["side"], e["plugin"], mark[e["success"]], e["message"]] for e in told])
        for entry in failed:
            if isinstance(entry.get("cause"), DativoError):
                print_error(entry["cause"])
    if not failed:
        return EXIT_ALL_DONE
    return EXIT_SOME_FAILED if len(failed) < len(told) else EXIT_NONE_RAN


def _both(named: Named, selection: Selection) -> list[dict[str, Any]]:
    try:
        if named.job is None:
            assert named.error is not None
            raise named.error
        plan = bind(named.job, selection.project, selection.registry)
    except DativoError as error:
        return [_failed(named.name, "job", "", error)]
    return [check_side(plan, "source"), check_side(plan, "target")]


def check_side(plan: JobPlan, side: str) -> dict[str, Any]:
    ref = plan.reader if side == "source" else plan.writer
    """Whether a plan's source or target answers: job, side, plugin, success, message, and the cause of a failure."""
    try:
        plugin = plan.open_reader(os.environ) if side == "source" else plan.open_writer(os.environ)
        try:
            result = expect(plugin.check_connection(), ConnectionTestResult, "check_connection")
        finally:
            plugin.close()
        told = {"job": plan.job.name, "side": side, "plugin": ref.reference, **result.to_dict()}
        return {**told, "message": plan.redactor.redact(result.message)}
    except (Exception, SystemExit) as error:
        found = plan.redacted(to_dativo_error(error, job=plan.job.name, stage="check", plugin=ref.reference))
        return _failed(plan.job.name, side, ref.reference, found)


def _failed(job: str, side: str, plugin: str, error: DativoError) -> dict[str, Any]:
    return {
        "job": job,
        "side": side,
        "plugin": plugin,
        "success": False,
        "message": error.message,
        "error_code": error.error_code,
        "cause": error,
    }
