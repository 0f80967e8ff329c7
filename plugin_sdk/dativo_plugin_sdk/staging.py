"""Where a run keeps what is not committed yet: a folder of this machine that a lock tells from a dead run's."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import threading
from collections.abc import Callable, Collection, Container
from contextlib import suppress
from pathlib import Path

from .checkpoints import FilesOf, drop_notes, group_of, key_of, note, take_over
from .errors import ConfigurationError
from .models import Checkpoint
from .posix import NEW, bury, entries, is_alive, lock_of_dead, naming

_SAFE_RUN = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")


class Staging:
    """The folders of runs under one root. An instance holds the one of its run from `open` to `close`.

    attempt: unique to this instance's `open`, so that a stopped process that wakes up can't touch what the retry of its
    run wrote. folder: where it may write.
    """

    def __init__(
        self, root: Path, forget: Callable[[str], None] = lambda attempt: None, stays: Collection[str] = ()
    ) -> None:
        """forget: called with a dead attempt before its folder is removed or taken over. stays: names of files in a folder
        that are kept when it is taken over.
        """
        self.root = root
        self._stays = stays
        self._forget = forget
        self.attempt = ""
        self._folder: Path | None = None
        self._lock: int | None = None
        self._key: str | None = None
        self._taken_over = False
        self._noting = threading.Lock()

    @property
    def folder(self) -> Path:
        """This run's folder."""
        assert self._folder is not None, "open() comes first"
        return self._folder

    def open(self, run_id: str, key: str | None = None) -> Path:
        """Make this run's folder, or take over that of a dead run with the same key: `finished` tells what is in it then.
        Returns it.

        key: None where nothing can be taken over, and nothing is noted for others.
        """
        self._key, self._taken_over = key, False
        self.attempt = f"{self.checked(run_id)}.{os.urandom(4).hex()}"
        for dead in entries(self.root) if key is not None else ():
            if key_of(dead) == key and self._take_over(dead):
                return self.folder
        new = self.root / f"{NEW}{self.attempt}"
        while True:
            try:
                new.mkdir(parents=True)
                self._folder, self._lock = self.root / self.attempt, self._named(new, self.root / self.attempt)
                return self._folder
            except FileNotFoundError:  # another run took it for a dead one's before its lock was held
                continue
            except OSError:
                shutil.rmtree(new, ignore_errors=True)
                raise

    def _take_over(self, dead: Path) -> bool:
        lock = lock_of_dead(dead)
        if lock is None:
            return False
        self._forget(dead.name)
        try:
            os.rename(dead, self.root / self.attempt)
        except OSError:  # another run removes it
            os.close(lock)
            return False
        self._folder, self._lock, self._taken_over = self.root / self.attempt, lock, True
        return True

    def finished(self, splits: Container[str], files_of: FilesOf) -> tuple[Checkpoint, ...]:
        """What was taken over of these splits; all else is removed."""
        if not self._taken_over:
            return ()
        assert self._key is not None
        return take_over(self.folder, self._key, splits, files_of, self._stays)

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Note what is finished, for a run that may have to follow this one."""
        with self._noting:
            assert self._key is not None, "the run has no key"
            note(self.folder, self._key, checkpoint)

    def keep_to_itself(self) -> None:
        """Let no run follow this one: what is noted is forgotten."""
        drop_notes(self.folder)

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
            with naming(new):
                fcntl.flock(lock, fcntl.LOCK_EX)
                os.write(lock, os.uname().nodename.encode())
                os.rename(new, run)
        except OSError:
            os.close(lock)
            raise
        return lock

    def sweep(self, key: str | None = None) -> set[str]:
        """Remove what dead runs left. Returns the attempts that are alive. key: that of a run that may take something over:
        another plan of it may still.
        """
        live = set()
        for run in entries(self.root):
            if is_alive(run):
                live.add(run.name)
            elif key is None or group_of(key_of(run) or "") != group_of(key):
                self._forget(run.name)
                bury(run)
        return live

    def dead(self) -> list[Path]:
        """Folders of runs that are dead."""
        return [run for run in entries(self.root) if not is_alive(run)]

    def close(self) -> None:
        """Remove this run's folder, whatever its state."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            with suppress(OSError):
                self.root.rmdir()
        self._release()

    def leave(self) -> None:
        """Let this run's folder be one of a dead run, for a later one to judge or its next attempt to take over."""
        self._release()
        self._key = None

    def _release(self) -> None:
        self._folder = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def end(self) -> None:
        """The run is over: what it might have taken over goes with it."""
        self.close()
        if self._key is not None:
            self.sweep()
            with suppress(OSError):
                self.root.rmdir()
            self._key = None
