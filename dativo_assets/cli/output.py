"""What a person or a program sees: JSON alone on standard output, errors on standard error, colour on terminals alone."""

from __future__ import annotations

import datetime
import json
import math
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
_ENDLESS = 1_000_000


def keep_stdout() -> None:
    """Let `print_json` alone reach standard output: whatever a plugin prints goes to standard error."""
    if not _kept:
        sys.stdout.flush()
        _kept.append(os.dup(1))
        os.dup2(2, 1)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    text = json.dumps(_plain(value), indent=2, ensure_ascii=False)
    if _kept:
        sys.stdout.flush()
        os.dup2(_kept.pop(), 1)
    try:
        click.echo(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise DativoError(
            f"standard output can't be written: {error.strerror}",
            "OUTPUT_FAILED",
            hint="free some space, or print elsewhere",
        ) from None


def _plain(value: Any) -> Any:
    """The value as strict JSON has it: NaN and infinities as text, moments in ISO 8601, bytes in hexadecimal digits."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else str(value)


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
        table.add_row(*(Text("" if cell is None else _visible(str(cell))) for cell in row))
    console = Console(highlight=False, soft_wrap=False, width=None if sys.stdout.isatty() else _ENDLESS)
    console.print(table)


def _visible(text: str) -> str:
    """Control characters as escapes: data must not move the cursor of a terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def size(count: float) -> str:
    """Bytes for a person: 1.5 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
