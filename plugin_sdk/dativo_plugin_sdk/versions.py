"""Versions of a directory table that were replaced, and are kept for readers in flight."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .commit_log import RECORD, CommitLog
from .posix import entries, locked


@contextmanager
def alone_in(versions: Path) -> Iterator[bool]:
    """Whether this process is the one that may move the root and remove versions."""
    handle = os.open(versions, os.O_RDONLY)
    try:
        yield locked(handle)
    finally:
        os.close(handle)


def replaced_versions(versions: Path, published: Path) -> list[Path]:
    """Those older than the published one, oldest first."""
    number = {entry: int(seq) for entry in entries(versions) if (seq := entry.name.partition("-")[0]).isdigit()}
    newest = number.get(versions / published.name, 0)
    return sorted((entry for entry in number if number[entry] < newest), key=lambda entry: number[entry])


def expired_versions(versions: Path, published: Path, keep_s: float) -> list[Path]:
    """Those that were replaced more than `keep_s` seconds ago."""
    replaced = replaced_versions(versions, published)
    until = time.time() - keep_s
    followed = zip(replaced, [*replaced[1:], published], strict=False)
    return [version for version, next_one in followed if _made_at(next_one) <= until]


def _made_at(version: Path) -> float:
    """When a version was made, in seconds of the system's clock; now where it can't be told."""
    first = min(CommitLog(version).sequences(), default=0)
    try:
        return os.stat(version / str(first) / RECORD).st_mtime
    except OSError:
        return time.time()
