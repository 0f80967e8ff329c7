"""dativo discover: what a job's source offers."""

from __future__ import annotations

import os
from contextlib import closing

import click
from dativo_plugin_sdk import DiscoveryResult

from .context import calling, config_option, expect, json_option, plans_of, project_option
from .output import print_json, print_table

EPILOG = """\b
Examples:
  dativo discover orders         files, tables or objects
  dativo discover orders --json"""


@click.command(epilog=EPILOG)
@click.argument("job", required=False)
@config_option
@json_option
@project_option
def command(job: str | None, config: str | None, as_json: bool, project: str | None) -> int:
    """List what a job's source offers."""
    plan = plans_of(job, project, config)[0]
    with calling(plan, "discover", plan.reader), closing(plan.open_reader(os.environ)) as reader:
        found = expect(reader.discover(), DiscoveryResult, "discover")
    if as_json:
        print_json(found.to_dict())
        return 0
    if not found.objects:
        click.echo(f"{plan.reader.reference} offers nothing here, or can't tell")
        return 0
    columns = list(dict.fromkeys(key for item in found.objects for key in item))
    print_table(columns, [[item.get(key) for key in columns] for item in found.objects], right=["bytes", "rows"])
    return 0
