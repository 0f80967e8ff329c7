"""What became of the rows, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

COLUMNS = ("target", "fault", "trials", "lost", "doubled", "phantom", "partial", "unclean")


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Trials as Markdown, a fault a line. rows: dicts of COLUMNS."""
    lines: list[Sequence[object]] = [COLUMNS, ["---"] * len(COLUMNS)]
    lines += [[len(row[c]) if c == "unclean" else row[c] for c in COLUMNS] for row in rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def good(row: dict[str, Any]) -> bool:
    """Whether nothing went wrong."""
    return not any(row[name] for name in COLUMNS[3:])
