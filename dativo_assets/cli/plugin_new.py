"""dativo plugin new: a package whose tests pass at once."""

from __future__ import annotations

from pathlib import Path

import click

from dativo_assets.scaffold import LANGUAGES, Kind, write_package

EPILOG = """\b
Examples:
  dativo plugin new planets                     a reader in Python
  dativo plugin new json-lines --kind writer    a writer
  dativo plugin new planets --lang c            in C, as a shared library; also go and rust
  dativo plugin new planets --with-project      and a Dagster project that uses it
  cd planets && pytest                          its tests pass at once"""


@click.command(epilog=EPILOG)
@click.argument("name")
@click.option(
    "--kind", type=click.Choice(["reader", "writer"]), default="reader", show_default=True, help="What it is."
)
@click.option(
    "--lang", "language", type=click.Choice(LANGUAGES), default="python", show_default=True, help="Its language."
)
@click.option("--with-project", is_flag=True, help="And a Dagster project that uses it, in its folder `project`.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: {package, files}.")
def command(name: str, kind: Kind, language: str, with_project: bool, as_json: bool) -> int:
    """Make a package: plugin, tests, CI, docs, an example job."""
    folder = Path(name)
    written = write_package(folder, name, kind, language, with_project=with_project)
    if as_json:
        from .output import print_json

        print_json({"package": str(folder.resolve()), "files": written})
        return 0
    for path in written:
        click.echo(f"wrote {folder / path}")
    test = {"python": "pytest", "rust": "cargo test"}.get(language, "make test")
    click.echo(f"next: cd {name} && {test}")
    if with_project:
        click.echo("then: pytest project, or dagster dev -f project/definitions.py")
    return 0
