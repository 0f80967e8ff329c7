"""A plugin may fork the process and go on in both: the work is that of the first, and the other ends where it comes back."""

from __future__ import annotations

import os


class Original:
    """The process that made it."""

    def __init__(self) -> None:
        self._pid = os.getpid()

    def check(self) -> None:
        """End this process at once, with nothing of its work touched, if it is a fork of the one that made this."""
        if os.getpid() != self._pid:
            os._exit(1)
