"""dativo plan: what a run would do, nothing written."""

from __future__ import annotations

import os
from contextlib import closing

import click
from dativo_plugin_sdk.arrow import schema_text

from dativo_assets.pipeline import RunSettings
from dativo_assets.pipeline.preview import plan_read

from .context import calling, config_option, json_option, plan_of, project_option
from .output import print_json, print_table, size

EPILOG = """\b
Examples:
  dativo plan orders         splits, columns, cursor and target of the next run
  dativo plan orders --json"""


@click.command(epilog=EPILOG)
@click.argument("job", required=False)
@config_option
@json_option
@project_option
def command(job: str | None, config: str | None, as_json: bool, project: str | None) -> int:
    """Show what a run would do; nothing is written."""
    plan = plan_of(job, project, config)
    with calling(plan, "plan", plan.writer), closing(plan.open_writer(os.environ)) as writer:
        last = writer.last_commit()
    target = plan.job.target
    incremental = plan.job.incremental is not None
    read = plan_read(plan, RunSettings(), last.cursor if last and incremental else None)
    columns = {} if read.schema is None else schema_text(read.schema)
    if plan.contract is not None:
        columns = {column.name: column.type for column in plan.contract.columns}
    told = {
        "job": plan.job.name,
        "reader": plan.reader.load().name,
        "writer": plan.writer.load().name,
        "mode": target.mode,
        "target": plan.target_config(os.environ).path or target.table,
        "next_seq": 1 if last is None else last.seq + 1,
        "cursor": last.cursor if last else None,
        "unchanged": read.unchanged,
        "schema": columns,
        "splits": [split.to_dict() for split in read.splits],
        "upstream": [item.name for item in plan.upstream],
        "notes": list(read.notes),
    }
    if as_json:
        print_json(told)
        return 0
    click.echo(f"{told['job']}: {told['reader']} -> {told['writer']}, {told['mode']} {told['target']}")
    if read.unchanged:
        click.echo(f"nothing is new since commit {last.seq if last else 0}; a run would commit nothing")
        return 0
    total = sum(split.bytes or 0 for split in read.splits)
    splits = "1 split" if len(read.splits) == 1 else f"{len(read.splits)} splits"
    click.echo(f"{splits}, {size(total)}; the commit would be number {told['next_seq']}")
    for note in read.notes:
        click.echo(note)
    print_table(
        ["split", "rows", "bytes"], [[s.id, s.rows, s.bytes] for s in read.splits[:20]], right=["rows", "bytes"]
    )
    if len(read.splits) > 20:
        click.echo(f"... and {len(read.splits) - 20} more")
    click.echo()
    print_table(["column", "type"], list(columns.items()))
    return 0
