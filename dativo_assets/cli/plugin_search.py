"""dativo plugin search: what an index has."""

from __future__ import annotations

from dataclasses import asdict

import click

from dativo_assets.index.catalog import Listed

from .context import json_option, project_option
from .index import index_of, index_option, project_folder
from .output import print_json, print_table

EPILOG = """\b
Examples:
  dativo plugin search                         all of the index that dativo.yaml names
  dativo plugin search stripe --kind reader
  dativo plugin search --index https://plugins.example.com/"""


@click.command(epilog=EPILOG)
@click.argument("words", nargs=-1, metavar="[WORD]...")
@click.option("--kind", type=click.Choice(["reader", "writer"]), help="These alone.")
@index_option
@json_option
@project_option
def command(words: tuple[str, ...], kind: str | None, index: str | None, as_json: bool, project: str | None) -> int:
    """List the plugins of an index whose name, summary or capabilities hold every word."""
    found = [item for item in index_of(project_folder(project), index).listed() if _matches(item, words, kind)]
    if as_json:
        print_json([asdict(item) for item in found])
        return 0
    rows = [[item.name, item.kind, item.language, item.releases[-1].version, item.summary] for item in found]
    print_table(["name", "kind", "language", "version", "summary"], rows)
    return 0


def _matches(plugin: Listed, words: tuple[str, ...], kind: str | None) -> bool:
    text = " ".join((plugin.name, plugin.summary, *plugin.capabilities)).lower()
    return all(word.lower() in text for word in words) and kind in (None, plugin.kind)
