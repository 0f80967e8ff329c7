"""The `dativo` command, one file a verb. A verb's module, and what it needs, is imported when it is called."""

from __future__ import annotations

import gc


def main() -> None:
    """The console script."""
    gc.disable()  # imports make many thousands of objects and no garbage; the verb turns it on again
    from .app import entry

    entry()
