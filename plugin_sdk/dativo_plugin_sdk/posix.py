"""What the commit protocol of a directory asks of the operating system."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NEW = ".new-"
"""How the staging folder of a run is named until its lock is held."""

_DEAD = ".dead-"
_EXCHANGE = 2
_LOCK_S = 10.0
_RETRY_S = 0.002


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Has an error of the operating system say which file it is about: one that a read, write or sync raises does not."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def fsync(path: Path) -> None:
    """Force a file or directory to stable storage."""
    with naming(path):
        settle(os.open(path, os.O_RDONLY))


def exchange(left: Path, right: Path) -> None:
    """Swap two names in one step where the kernel can, else in two."""
    import ctypes  # a first overwrite needs it, and most runs are none

    libc = ctypes.CDLL(None, use_errno=True)
    rename = getattr(libc, "renameat2", None)
    if rename is not None and rename(-100, os.fsencode(left), -100, os.fsencode(right), _EXCHANGE) == 0:
        return
    aside = left.with_name(left.name + ".swap")
    os.rename(right, aside)
    os.rename(left, right)
    os.rename(aside, left)


def link(source: Path, target: Path) -> None:
    """Give a file a second name, or a copy where the filesystem has no such thing."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS):
            raise
        shutil.copy2(source, target)
        fsync(target)


def entries(folder: Path) -> list[Path]:
    """What is in a folder; nothing where there is none."""
    with suppress(FileNotFoundError):
        return list(folder.iterdir())
    return []


def take(source: Path, folder: Path, seq: int) -> int:
    """Rename `source` to the commit `seq` in this very folder, whatever has its name by now. Returns the open folder."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.rename(source, str(seq), dst_dir_fd=handle)
    except OSError:
        os.close(handle)
        raise
    return handle


def settle(handle: int) -> None:
    """Force an open file or directory to stable storage and close it."""
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def locked(handle: int) -> bool:
    """Whether a lock of the open directory could be had in time; it ends when the handle is closed."""
    until = time.monotonic() + _LOCK_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(_RETRY_S)


def is_alive(run: Path) -> bool:
    """Whether the process that owns a staging folder still runs; one of another host is taken to be alive."""
    if not (run / "lock").exists():
        return False
    lock = lock_of_dead(run)
    if lock is not None:
        os.close(lock)
    return lock is None


def lock_of_dead(run: Path) -> int | None:
    """The lock of a staging folder whose process is dead, now held by this one; None where it may be alive, or is gone."""
    try:
        descriptor = os.open(run / "lock", os.O_RDWR)
    except OSError:
        return None
    try:
        host = os.read(descriptor, 256).decode(errors="replace")
        if not host or host == os.uname().nodename:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def bury(run: Path) -> None:
    """Remove the staging folder of a dead run.

    It loses its name first, in one step: a run that was only about to take its lock then sees that it has no folder.
    """
    dead = run
    if not run.name.startswith(_DEAD):
        dead = run.with_name(f"{_DEAD}{os.urandom(8).hex()}")
        try:
            os.rename(run, dead)
        except OSError:
            return
    shutil.rmtree(dead, ignore_errors=True)
