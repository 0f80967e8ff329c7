"""A directory table as it is committed: what readers and runs look at. How commits are made is in directory.py."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from .commit_log import LOG, RECORD, CommitLog
from .errors import ConfigurationError, ValidationError
from .models import Commit

CARRIED = re.compile(r"\d+-")
"""A file that was given a second name: it begins with the commit that wrote it."""

_T = TypeVar("_T")


class CommittedDirectory:
    """The commits and files of the table at one root directory."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(os.path.abspath(root))
        if not self.root.name:
            raise ConfigurationError(f"target path {str(root)!r} names no directory", hint="set target.path")
        self.versions = self.root.parent / f".{self.root.name}.versions"
        self._last_log: CommitLog | None = None

    def _log(self, folder: Path) -> CommitLog:
        """The log of a version, the same one as long as it is asked for no other."""
        if self._last_log is None or self._last_log.folder != folder:
            self._last_log = CommitLog(folder)
        return self._last_log

    def _steady(self, read: Callable[[Path], _T]) -> _T:
        """What `read` makes of the root's folder, read again when the root moved meanwhile."""
        while True:
            root = os.path.realpath(self.root)
            try:
                found = read(Path(root))
            except ValidationError:
                if os.path.realpath(self.root) == root:
                    raise
                continue
            if os.path.realpath(self.root) == root:
                return found

    def _newest(self, folder: Path) -> tuple[Path, Commit | None]:
        log = self._log(folder)
        newest = log.newest()
        if not newest:
            if self.root.is_symlink():
                raise self._lost(folder)
            return folder, None
        while True:
            record = log.record(newest)
            version = record.details.get("version")
            successor = folder if version is None else (self.versions / str(version)).resolve()
            if successor == folder:
                return folder, record
            folder = successor
            log = self._log(folder)
            newest = log.newest()
            if not newest:
                raise self._lost(folder)

    def _lost(self, folder: Path) -> ValidationError:
        return ValidationError(
            f"the newest version of {self.root} is missing: there is no commit in {folder}",
            details={"file": str(folder)},
            hint=f"restore {folder}, or remove {self.root} to begin anew",
        )

    def _visible(self, root: Path) -> tuple[Path, list[Commit]]:
        folder, _ = self._newest(root)
        return folder, self._log(folder).visible()

    def current(self) -> tuple[Path, Commit | None]:
        """The folder that holds the newest version, and its newest commit; follows overwrites not yet published."""
        return self._steady(self._newest)

    def last_commit(self) -> Commit | None:
        """The newest commit, None before the first."""
        return self.current()[1]

    def contents(self) -> tuple[list[Commit], tuple[str, ...]]:
        """Every commit whose data is visible, oldest first, and the absolute paths of their data files."""
        return self.version()[1:]

    def version(self) -> tuple[Path, list[Commit], tuple[str, ...]]:
        """As `contents`, and before it the folder that all of it is in."""
        folder, commits = self._steady(self._visible)
        files = tuple(str(folder / str(record.seq) / name) for record in commits for name in record.files)
        return folder, commits, files

    def foreign(self) -> list[str]:
        """Absolute paths of files among the table's that no commit describes, though readers of the folder see them. What begins
        with `_` or `.` is none of them.
        """
        listed = self.current()[0]
        there = [path for path in listed.rglob("*") if path.is_file() and path.name[0] not in "._"]
        folder, _, files = self.version()  # only then: what was committed meanwhile is known
        logs = folder / LOG
        known = {*map(Path, files)}
        return sorted(str(p) for p in there if p not in known and logs not in p.parents) if folder == listed else []

    def commits(self) -> list[Commit]:
        """Every commit whose data is visible, oldest first."""
        return self.contents()[0]

    def files(self) -> tuple[str, ...]:
        """Absolute paths of all committed data files."""
        return self.contents()[1]

    def history(self) -> list[Commit]:
        """Every commit that is known, also of data that was replaced, oldest first."""
        return self._steady(lambda root: self._log(self._newest(root)[0]).history())

    def commit_of(self, run_id: str) -> Commit | None:
        """What a run committed, among the newest commits."""
        return self._steady(lambda root: self._log(self._newest(root)[0]).find(run_id))

    def files_back_to(self, ends: Callable[[Commit], bool]) -> tuple[str, ...]:
        """Absolute paths of the data files of the newest commits, back to the first one that `ends` says yes to; its files
        are not among them.
        """

        def read(root: Path) -> tuple[str, ...]:
            folder, _ = self._newest(root)
            found: list[str] = []
            for record in self._log(folder).newest_first():
                if ends(record):
                    break
                found += (str(folder / str(record.seq) / name) for name in record.files)
            return tuple(found)

        return self._steady(read)

    def commit_of_file(self, path: str) -> Commit | None:
        """What wrote a file of the table, be it of a version that is replaced, or of its rejected rows."""
        file = Path(os.path.realpath(path))
        for folder in file.parents:
            if folder.name.isdigit() and (folder / RECORD).is_file():
                log = self._log(folder.parent)
                record = log.record(int(folder.name))
                carried = CARRIED.match(file.name)
                if str(file.relative_to(folder)) not in record.files:
                    return None
                return record if carried is None else log.get(int(carried[0][:-1]))
        return next(
            (record for record in self.history() if str(file) in map(os.path.realpath, record.quarantine)), None
        )


def totals(commit: Commit) -> tuple[int | None, int] | None:
    """Rows and bytes of the table as of a commit, rows None where its format can't tell; None where a version made it that
    did not note them.
    """
    noted = commit.details.get("table")
    return (noted["rows"], int(noted["bytes"])) if isinstance(noted, dict) else None
