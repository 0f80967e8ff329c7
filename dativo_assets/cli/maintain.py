"""dativo maintain: small files joined, replaced versions and leftovers removed."""

from __future__ import annotations

import os
import uuid
from contextlib import closing
from typing import Any

import click
from dativo_plugin_sdk import DativoError, MaintainReport, MaintainRequest

from dativo_assets.config.types import DURATION_HINT, seconds
from dativo_assets.errors import EXIT_ALL_DONE, EXIT_NONE_RAN, EXIT_SOME_FAILED
from dativo_assets.plan import bind

from .context import Named, Selection, calling, config_option, expect, json_option, project_option, select
from .output import print_error, print_json, print_table

EPILOG = """\b
Examples:
  dativo maintain                    the targets of all jobs
  dativo maintain orders --dry-run   what would be done
  dativo maintain orders --keep 1d   what was replaced within a day stays

Readers and runs may go on meanwhile: joining files is a commit that changes no row, and a run that began before it still
commits. A reader that takes longer than --keep may lose the files of a version that was replaced."""


@click.command(epilog=EPILOG)
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@click.option("--keep", default="1h", metavar="TIME", help="How long replaced versions stay (default 1h).")
@click.option(
    "--file-bytes", type=click.IntRange(min=1), metavar="N", help="How large files become; default: the target's."
)
@click.option("--dry-run", is_flag=True, help="Tell what would be done, and do nothing.")
@config_option
@json_option
@project_option
def command(
    jobs: tuple[str, ...],
    keep: str,
    file_bytes: int | None,
    dry_run: bool,
    config: str | None,
    as_json: bool,
    project: str | None,
) -> int:
    """Join small files of targets, and remove what nobody reads any more. Without JOB: of all."""
    keep_s = seconds(keep)
    if keep_s is None:
        raise click.BadParameter(f"`{keep}` is no duration; {DURATION_HINT}", param_hint="--keep")
    selection = select(jobs, project, config)
    told = []
    for named in selection.jobs:
        name = named.name if named.job is None else named.job.job_name
        request = MaintainRequest(name, uuid.uuid4().hex, keep_s, file_bytes, dry_run)
        told.append(_one(named, selection, request))
    failed = [entry["cause"] for entry in told if "cause" in entry]
    if as_json:
        print_json([{key: value for key, value in entry.items() if key != "cause"} for entry in told])
    else:
        print_table(
            ["job", "files joined", "into", "versions removed", "leftovers removed", ""],
            [
                [e["job"], e["files_compacted"], e["files_written"], e["versions"], e["orphans"], "; ".join(e["notes"])]
                for e in told
                if "cause" not in e
            ],
            right=["files joined", "into", "versions removed", "leftovers removed"],
        )
        for error in failed:
            print_error(error)
    if not failed:
        return EXIT_ALL_DONE
    return EXIT_SOME_FAILED if len(failed) < len(told) else EXIT_NONE_RAN


def _one(named: Named, selection: Selection, request: MaintainRequest) -> dict[str, Any]:
    try:
        if named.job is None:
            assert named.error is not None
            raise named.error
        plan = bind(named.job, selection.project, selection.registry)
        with calling(plan, "maintain", plan.writer), closing(plan.open_writer(os.environ)) as writer:
            report = expect(writer.maintain(request), MaintainReport, "maintain")
    except DativoError as error:
        return {"job": named.name, "error": error.to_dict(), "cause": error}
    return {
        "job": named.name,
        "dry_run": request.dry_run,
        "files_compacted": report.files_compacted,
        "files_written": report.files_written,
        "versions": report.versions,
        "orphans": report.orphans,
        "seq": None if report.commit is None else report.commit.seq,
        "notes": list(report.notes),
    }
