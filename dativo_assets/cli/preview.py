"""dativo preview: first rows, after the contract, nothing written."""

from __future__ import annotations

import sys

import click

from dativo_assets.pipeline.preview import preview

from .context import config_option, json_option, plan_of, project_option, stream_option
from .output import print_json, print_table

EPILOG = """\b
Examples:
  dativo preview orders           the first 10 rows
  dativo preview orders --rows 3  as many as you like
  dativo preview orders --json    with the schema, rejected rows and broken rules"""
_WIDTH = 40


@click.command(epilog=EPILOG)
@click.argument("job", required=False)
@click.option("--rows", type=click.IntRange(1, 100_000), default=10, show_default=True, help="How many rows to read.")
@stream_option
@config_option
@json_option
@project_option
def command(
    job: str | None, rows: int, streams: tuple[str, ...], config: str | None, as_json: bool, project: str | None
) -> int:
    """Show a job's first rows after its contract; nothing is written."""
    found = preview(plan_of(job, project, config, streams), rows)
    if as_json:
        broken = [
            {"rule": rule.rule.name, "description": rule.rule.description, "violations": rule.violations}
            for rule in found.rules
            if rule.violations
        ]
        print_json(
            {
                "schema": found.schema,
                "rows": found.good,
                "rejected": found.rejected,
                "broken_rules": broken,
                "notes": found.notes,
            }
        )
        return 0
    for note in found.notes:
        click.echo(note)
    print_table(
        [f"{name}\n{type_text}" for name, type_text in found.schema.items()],
        [[_cell(row.get(name)) for name in found.schema] for row in found.good],
    )
    if found.rejected:
        click.echo(f"\n{len(found.rejected)} of these rows break the contract:")
        names = list(found.rejected[0])
        print_table(names, [[_cell(row.get(name)) for name in names] for row in found.rejected])
    return 0


def _cell(value: object) -> str:
    text = "null" if value is None else str(value)
    return text if len(text) <= _WIDTH or not sys.stdout.isatty() else text[: _WIDTH - 1] + "…"
