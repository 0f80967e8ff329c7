"""dativo plan: what a run would do, nothing written."""

from __future__ import annotations

import os
from contextlib import closing
from typing import Any

import click
from dativo_plugin_sdk import ReadPlan, Split
from dativo_plugin_sdk.arrow import schema_text

from dativo_assets.pipeline import RunSettings
from dativo_assets.pipeline.one_file import new_files
from dativo_assets.pipeline.preview import plan_read
from dativo_assets.plan import JobPlan

from .context import calling, config_option, json_option, plans_of, project_option, stream_option, whose
from .output import print_json, print_table, size

EPILOG = """\b
Examples:
  dativo plan orders         splits, columns, cursor and target of the next run
  dativo plan orders --json"""


@click.command(epilog=EPILOG)
@click.argument("job", required=False)
@stream_option
@config_option
@json_option
@project_option
def command(job: str | None, streams: tuple[str, ...], config: str | None, as_json: bool, project: str | None) -> int:
    """Show what a run would do; nothing is written."""
    told = [_told(plan) for plan in plans_of(job, project, config, streams)]
    if as_json:
        print_json(told[0] if "stream" not in told[0] else told)
        return 0
    for number, one in enumerate(told):
        if number:
            click.echo()
        _print(one)
    return 0


def _told(plan: JobPlan) -> dict[str, Any]:
    with calling(plan, "plan", plan.writer), closing(plan.open_writer(os.environ)) as writer:
        last = writer.last_commit()
    target = plan.job.target
    incremental = plan.job.incremental is not None
    if plan.job.is_by_file:
        _, files = new_files(plan, os.environ)
        read = ReadPlan(tuple(map(Split, files)), unchanged=not files, notes=("a run and a commit for each file",))
    else:
        read = plan_read(plan, RunSettings(), last.cursor if last and incremental else None)
    columns = {} if read.schema is None else schema_text(read.schema)
    if plan.contract is not None:
        columns = {column.name: column.type for column in plan.contract.columns}
    return {
        **whose(plan),
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


def _print(told: dict[str, Any]) -> None:
    name = ".".join(told[key] for key in ("job", "stream") if key in told)
    click.echo(f"{name}: {told['reader']} -> {told['writer']}, {told['mode']} {told['target']}")
    if told["unchanged"]:
        click.echo(f"nothing is new since commit {told['next_seq'] - 1}; a run would commit nothing")
        return
    splits = told["splits"]
    total = sum(split["bytes"] or 0 for split in splits)
    many = "1 split" if len(splits) == 1 else f"{len(splits)} splits"
    click.echo(f"{many}, {size(total)}; the commit would be number {told['next_seq']}")
    for note in told["notes"]:
        click.echo(note)
    print_table(
        ["split", "rows", "bytes"], [[s["id"], s["rows"], s["bytes"]] for s in splits[:20]], right=["rows", "bytes"]
    )
    if len(splits) > 20:
        click.echo(f"... and {len(splits) - 20} more")
    click.echo()
    print_table(["column", "type"], list(told["schema"].items()))
