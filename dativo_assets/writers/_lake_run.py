"""The files of a run that no version of its table names yet: noted before they are there, so that none is forgotten."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from dativo_plugin_sdk import Commit, DativoError
from dativo_plugin_sdk.posix import bury, entries, is_alive
from dativo_plugin_sdk.staging import Staging

from ._lake_table import LakeStore, LakeTable

_FILES, _SENT = "files.jsonl", "sent"


class RunFiles:
    """What one run has written. unsure: whether a swap may be under way or done, unknown to this process."""

    def __init__(self, root: Path, stores: Mapping[str, LakeStore], job: str) -> None:
        self._staging = Staging(root)
        self._stores, self._job = stores, job
        self._made: list[tuple[str, str]] = []
        self._guard = threading.Lock()
        self.unsure = False

    @property
    def folder(self) -> Path:
        """A folder of this machine for what else waits for the commit."""
        return self._staging.folder

    def open(self, run_id: str) -> None:
        """Begin a run."""
        self._staging.open(run_id)

    def names(self, kind: str, folder: str, label: str) -> Callable[[], str]:
        """Makes names of files in a folder of the table."""
        count = iter(range(1 << 40))

        def name() -> str:
            path = f"{folder}/part-{self._staging.attempt}-{label}-{next(count):04d}.parquet"
            with self._guard:
                self._made.append((kind, path))
                with (self.folder / _FILES).open("a", encoding="utf-8") as notes:
                    notes.write(json.dumps([kind, path]) + "\n")
            return path

        return name

    def note_swap(self, version: str) -> None:
        """Say that a swap from a version is tried now."""
        (self.folder / _SENT).write_text(version, encoding="utf-8")
        self.unsure = True

    def sweep(self, table: LakeTable | None) -> None:
        """Remove what dead runs left, unless one may still have a swap under way that nothing fences off yet."""
        version = "" if table is None else table.version
        for run in entries(self._staging.root):
            if is_alive(run):
                continue
            noted = [json.loads(line) for line in _text(run / _FILES).splitlines(True) if line.endswith("\n")]
            if noted and (run / _SENT).exists() and _text(run / _SENT) == version:
                continue
            if noted:
                run_id = run.name.rpartition(".")[0]
                done = None if table is None else table.commit_of(self._job, run_id)
                self._remove(noted, _named(done) | _current(table))
            bury(run)

    def dead(self) -> int:
        """How many folders of dead runs there are."""
        return len(self._staging.dead())

    def noted(self) -> frozenset[str]:
        """Names of the files of all runs that may still commit."""
        lines = (line for run in entries(self._staging.root) for line in _text(run / _FILES).splitlines(True))
        return frozenset(PurePosixPath(json.loads(line)[1]).name for line in lines if line.endswith("\n"))

    def landed(self, commit: Commit, table: LakeTable | None) -> None:
        """End the run whose commit is in: what neither it nor the table names goes."""
        self.unsure = False
        self.end(_named(commit) | _current(table))

    def end(self, kept: frozenset[str] = frozenset()) -> None:
        """Remove what is not committed; where that isn't known, leave it to a later run."""
        made, self._made = self._made, []
        if self.unsure:
            self.unsure = False
            self._staging.leave()
            return
        self._remove(made, kept)
        self._staging.close()

    def _remove(self, made: Sequence[tuple[str, str]], kept: frozenset[str]) -> None:
        for kind, path in made:
            if PurePosixPath(path).name not in kept:
                with suppress(DativoError), self._stores[kind].errors():
                    self._stores[kind].remove(path)


def _named(commit: Commit | None) -> frozenset[str]:
    """The names of the files that a commit tells of."""
    if commit is None:
        return frozenset()
    return frozenset((*commit.files, *(PurePosixPath(path).name for path in commit.quarantine)))


def _current(table: LakeTable | None) -> frozenset[str]:
    """The names of the files that a table has now."""
    return frozenset() if table is None else frozenset(PurePosixPath(file.path).name for file in table.files())


def _text(path: Path) -> str:
    with suppress(FileNotFoundError):
        return path.read_text(encoding="utf-8")
    return ""
