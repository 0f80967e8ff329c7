"""Where a run keeps what is not committed yet: a folder of this machine that a lock tells from a dead run's."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from .errors import ConfigurationError
from .posix import NEW, bury, entries, is_alive

_SAFE_RUN = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")


class Staging:
    """The folders of runs under one root. An instance holds the one of its run from `open` to `close`.

    attempt: unique to this instance's `open`, so that a stopped process that wakes up can't touch what the retry of its
    run wrote. folder: where it may write.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.attempt = ""
        self._folder: Path | None = None
        self._lock: int | None = None

    @property
    def folder(self) -> Path:
        """This run's folder."""
        assert self._folder is not None, "open() comes first"
        return self._folder

    def open(self, run_id: str) -> Path:
        """Make this run's folder. Returns it."""
        self.attempt = f"{self.checked(run_id)}.{os.urandom(4).hex()}"
        new = self.root / f"{NEW}{self.attempt}"
        while True:
            try:
                new.mkdir(parents=True)
                self._folder, self._lock = self.root / self.attempt, self._named(new, self.root / self.attempt)
                return self._folder
            except FileNotFoundError:  # another run took it for a dead one's before its lock was held
                continue

    @staticmethod
    def checked(run_id: str) -> str:
        """The run id. Raises: ConfigurationError: where it can't be part of a path."""
        if not _SAFE_RUN.fullmatch(run_id):
            raise ConfigurationError(f"run id {run_id!r} can't be part of a path", hint="use letters, digits, - and _")
        return run_id

    def _named(self, new: Path, run: Path) -> int:
        """Give a folder its name once its lock is held. Returns the lock."""
        lock = os.open(new / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.write(lock, os.uname().nodename.encode())
            os.rename(new, run)
        except OSError:
            os.close(lock)
            raise
        return lock

    def sweep(self, forget: Callable[[str], None] | None = None) -> set[str]:
        """Remove what dead runs left. forget: called with each dead attempt while its folder is still there. Returns the
        attempts that are alive.
        """
        live = set()
        for run in entries(self.root):
            if is_alive(run):
                live.add(run.name)
            else:
                if forget is not None:
                    forget(run.name)
                bury(run)
        return live

    def close(self) -> None:
        """Remove this run's folder, whatever its state."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            with suppress(OSError):
                self.root.rmdir()
        self.leave()

    def leave(self) -> None:
        """Let this run's folder be one of a dead run, for a later one to judge."""
        self._folder = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
