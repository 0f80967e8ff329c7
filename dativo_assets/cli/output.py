"""What a person or a program sees: JSON alone on standard output, errors on standard error, colour on terminals alone."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import click
from dativo_plugin_sdk import DativoError

from dativo_assets.errors import render


def coloured(stream: Any) -> bool:
    """Whether a stream is a terminal that wants colour."""
    return bool(stream.isatty()) and not os.environ.get("NO_COLOR")


_kept: list[int] = []


def keep_stdout() -> None:
    """Let `print_json` alone reach standard output: whatever a plugin prints goes to standard error."""
    if not _kept:
        sys.stdout.flush()
        _kept.append(os.dup(1))
        os.dup2(2, 1)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    text = json.dumps(value, indent=2, default=str, ensure_ascii=False)
    if _kept:
        sys.stdout.flush()
        os.dup2(_kept.pop(), 1)
    click.echo(text)


def print_error(error: DativoError) -> None:
    """An error as the compiler of YAML would say it."""
    text = render(error)
    if coloured(sys.stderr):
        head, _, rest = text.partition("\n")
        mark, _, message = head.partition(": ")
        text = (
            click.style(mark, fg="red", bold=True)
            + ": "
            + click.style(message, bold=True)
            + ("\n" + rest if rest else "")
        )
    click.echo(text, err=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[str] = ()) -> None:
    """A table on standard output; as wide as its content where that is no terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    console = Console(highlight=False, soft_wrap=False, width=None if sys.stdout.isatty() else 200)
    console.print(table)


def size(count: float) -> str:
    """Bytes for a person: 1.5 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
