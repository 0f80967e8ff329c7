"""The `dativo` command, one file a verb. A verb's module, and what it needs, is imported when it is called."""

from __future__ import annotations


def main() -> None:
    """The console script."""
    from .app import entry

    entry()
