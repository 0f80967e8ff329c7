"""dativo state: what a job has committed."""

from __future__ import annotations

import json
import os
from contextlib import closing

import click

from .context import calling, config_option, json_option, plan_of, project_option
from .output import print_json, print_table, size

EPILOG = """\b
Examples:
  dativo state show orders         the cursor, and every commit still visible
  dativo state show orders --json"""


@click.group()
def command() -> None:
    """Show what a job has committed. The target owns this state; nothing is kept elsewhere."""


@command.command(epilog=EPILOG)
@click.argument("job", required=False)
@config_option
@json_option
@project_option
def show(job: str | None, config: str | None, as_json: bool, project: str | None) -> int:
    """Show the last commit, its cursor, and the commits before it."""
    plan = plan_of(job, project, config)
    with calling(plan, "state", plan.writer), closing(plan.open_writer(os.environ)) as writer:
        last, history = writer.last_commit(), writer.history()
    if as_json:
        told = {
            "job": plan.job.name,
            "seq": last.seq if last else 0,
            "cursor": last.cursor if last else None,
            "last_commit": last.model_dump(mode="json") if last else None,
            "history": [commit.model_dump(mode="json") for commit in history],
        }
        print_json(told)
        return 0
    if last is None:
        click.echo(f"{plan.job.name}: nothing is committed yet")
        return 0
    click.echo(f"{plan.job.name}: commit {last.seq} of run {last.run_id}")
    click.echo(f"cursor: {json.dumps(last.cursor)}")
    print_table(
        ["seq", "committed at", "mode", "written", "rejected", "size", "run"],
        [
            [
                c.seq,
                c.committed_at,
                c.mode,
                f"{c.rows_written:,}",
                f"{c.rows_rejected:,}",
                size(c.bytes_written),
                c.run_id,
            ]
            for c in history
        ],
        right=["seq", "written", "rejected", "size"],
    )
    return 0
