"""dativo init: a small project that runs."""

from __future__ import annotations

from pathlib import Path

import click
from dativo_plugin_sdk import ConfigurationError

EPILOG = """\b
Examples:
  dativo init            in this folder
  dativo init shop       in a new one
  cd shop && dativo run"""

FILES = {
    "dativo.yaml": """\
jobs: jobs/**/*.yaml
defaults:
  target: {writer: parquet, path: "warehouse/{name}"}
""",
    "jobs/cities.yaml": """\
description: Cities and how many people live in them
source:
  reader: csv
  files: [data/cities.csv]
schema:
  - {name: city, type: string, primary_key: true}
  - {name: country, type: string, required: true, pattern: "^[A-Z]{2}$"}
  - {name: people, type: int64, required: true, min: 1}
  - {name: counted_on, type: date}
on_violation: quarantine
""",
    "data/cities.csv": """\
city,country,people,counted_on
Lagos,NG,15388000,2022-07-01
Lima,PE,10092000,2022-07-01
Atlantis,XX,,
Oslo,NO,709037,2023-01-01
""",
    ".gitignore": "warehouse/\n.dagster/\n",
}


@click.command(epilog=EPILOG)
@click.argument("folder", default=".")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: {project, files}.")
def command(folder: str, as_json: bool) -> int:
    """Make a small project that runs. No file is ever overwritten."""
    root = Path(folder)
    there = [name for name in FILES if (root / name).exists() and name != ".gitignore"]
    if there:
        raise ConfigurationError(
            f"{root / there[0]} exists already", hint="choose another folder: dativo init NAME; nothing was written"
        )
    written = []
    for name, text in FILES.items():
        path = root / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(name)
    if as_json:
        from .output import print_json

        print_json({"project": str(root.resolve()), "files": written})
        return 0
    for name in written:
        click.echo(f"wrote {root / name}")
    change = "" if folder == "." else f"cd {folder} && "
    click.echo(f"next: {change}dativo run")
    return 0
