"""dativo discover: what a job's source offers."""

from __future__ import annotations

import os
from contextlib import closing

import click
from dativo_plugin_sdk import DiscoveryResult

from dativo_assets.plan import JobPlan, bind

from .context import calling, config_option, expect, json_option, plans_of, project_option, project_root
from .output import print_json, print_table

EPILOG = """\b
Examples:
  dativo discover orders         files, tables or objects
  dativo discover orders --json"""


@click.command(epilog=EPILOG)
@click.argument("job", required=False)
@click.option("--connector", metavar="NAME", hidden=True, help="A connector file, its name, or a reader.")
@config_option
@json_option
@project_option
def command(job: str | None, connector: str | None, config: str | None, as_json: bool, project: str | None) -> int:
    """List what a job's source offers."""
    plan = plans_of(job, project, config)[0] if connector is None else _of_connector(connector, project)
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


def _of_connector(name: str, project: str | None) -> JobPlan:
    """The plan of a job that reads from a connector and is never run."""
    from pydantic import ValidationError

    from dativo_assets.config import JobConfig, Origin, invalid, load_config
    from dativo_assets.config.compat import translated
    from dativo_assets.config.project import Project
    from dativo_assets.config.yaml import Document

    root = project_root((), project)
    file = next((path for path in (name, f"connectors/{name}.yaml") if (root / path).is_file()), None)
    source = {"source": {"type": name}} if file is None else {"source_connector_path": file}
    value = {"name": "discover", **source, "target": {"type": "parquet"}}
    found = translated(Document("--connector", "", value), root)
    origin = Origin(None, root, "--connector", found.layers)
    try:
        job = JobConfig.model_validate(found.value)
    except ValidationError as error:
        raise invalid(error, JobConfig, origin) from None
    job.with_origin(origin)
    return bind(job, Project(root, load_config(root)))
