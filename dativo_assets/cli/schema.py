"""dativo schema: the JSON Schema that lets an editor complete and check job files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from dativo_plugin_sdk import DativoError

from dativo_assets.config import find_project
from dativo_assets.config.schema import json_schema
from dativo_assets.registry import Registry

from .context import project_option
from .output import print_json

EPILOG = """\b
Examples:
  dativo schema                     print it
  dativo schema --write             write job.schema.json into the project
  dativo schema --of project        the schema of dativo.yaml

The first line of a job then is:
  # yaml-language-server: $schema=../job.schema.json"""


@click.command(epilog=EPILOG)
@click.option("--of", "of", type=click.Choice(["job", "project"]), default="job", help="Which file.")
@click.option("--write", is_flag=True, help="Write it into the project's folder.")
@click.option("--json", "as_json", is_flag=True, help="The output is JSON anyway.")
@project_option
def command(of: str, write: bool, as_json: bool, project: str | None) -> int:
    """Print the JSON Schema of job files, with every installed plugin's options."""
    root = find_project(explicit=project)
    options: dict[str, dict[str, Any]] = {"reader": {}, "writer": {}}
    for ref in Registry(root).installed():
        try:
            options[ref.kind][ref.reference] = ref.load().options_schema()
        except DativoError:
            continue  # `dativo plugins` says what is wrong with it
    schema = json_schema(options, of=of)  # type: ignore[arg-type]
    if not write:
        print_json(schema)
        return 0
    path = Path(root, f"{of}.schema.json")
    path.write_text(json.dumps(schema, indent=2) + "\n", encoding="utf-8")
    click.echo(f"wrote {path}")
    return 0
