"""dativo plugin build: the wheel or library of a package, by whatever its language needs."""

from __future__ import annotations

from pathlib import Path

import click

from dativo_assets.artefacts import file_sha256
from dativo_assets.scaffold.build import build_of

from .context import json_option
from .output import print_json

EPILOG = """\b
Examples:
  dativo plugin build                       the package in this folder
  dativo plugin build planets --library     of a crate, the shared library in place of the wheel

A package with a pyproject.toml becomes a wheel, by maturin where it is a crate and by uv else; one with a Makefile, a go.mod or a
Cargo.toml alone a shared library. What is missing for that is told before anything is run."""


@click.command(epilog=EPILOG)
@click.argument("folder", default=".")
@click.option("--library", is_flag=True, help="Of a crate, the shared library.")
@json_option
def command(folder: str, library: bool, as_json: bool) -> int:
    """Build a package: a wheel, or a shared library."""
    root = Path(folder)
    made = [
        {"path": str(path), "size_bytes": path.stat().st_size, "sha256": file_sha256(path)}
        for path in build_of(root, library=library).run(root)
    ]
    if as_json:
        print_json(made)
        return 0
    for item in made:
        click.echo(f"{item['path']}: {item['size_bytes']:,} bytes, sha256 {item['sha256']}")
    return 0
