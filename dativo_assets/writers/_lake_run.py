"""The files of a run that no version of its table names yet: noted before they are there, so that none is forgotten."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from dativo_plugin_sdk import Checkpoint, Commit, Committable, DativoError
from dativo_plugin_sdk.checkpoints import group_of, key_of, whole
from dativo_plugin_sdk.posix import bury, entries, lock_of_dead
from dativo_plugin_sdk.staging import Staging

from ._lake_table import LakeStore, LakeTable

_FILES, _SENT = "files.jsonl", "sent"


class RunFiles:
    """What one run has written. unsure: whether a swap may be under way or done, unknown to this process."""

    def __init__(self, root: Path, stores: Mapping[str, LakeStore], job: str) -> None:
        self._staging = Staging(root, stays=(_FILES,))
        self._stores, self._job = stores, job
        self._key: str | None = None
        self._alone = False
        self._made: list[tuple[str, str]] = []
        self._guard = threading.Lock()
        self.unsure = False

    @property
    def folder(self) -> Path:
        """A folder of this machine for what else waits for the commit."""
        return self._staging.folder

    def open(self, run_id: str, key: str | None = None) -> None:
        """Begin a run, or go on with what a dead one with the same key has noted as finished; it has not tried a swap."""
        self._staging.open(run_id, key)
        self._key, self._alone, self._made = key, key is None, _noted(self.folder)

    def finished(self, splits: Container[str]) -> Sequence[Checkpoint]:
        """What was taken over of these splits; other files of the dead run are removed."""
        found = self._staging.finished(splits, self._files_of)
        kept = {path for taken in found for item in taken.committables for path, _ in _told(item)}
        made, self._made = self._made, [(kind, path) for kind, path in self._made if path in kept]
        self._remove(made, frozenset(PurePosixPath(path).name for path in kept))
        return found

    def _files_of(self, item: Committable) -> tuple[Path, ...] | None:
        if "files" not in item.payload:
            return whole(self.folder / str(item.payload["file"]), item)
        store = self._stores[item.kind]
        own = re.compile(rf"part-{re.escape(self._staging.attempt.rpartition('.')[0])}\.[0-9a-f]{{8}}-")
        for path, size in _told(item):
            # A rejected row names the run that commits it.
            foreign = item.kind == "quarantine" and not own.match(PurePosixPath(path).name)
            with store.errors():
                if foreign or store.size(path) != size:
                    return None
        return ()

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Note what is finished, for a run that may have to follow this one, unless none may."""
        if not self._alone:
            self._staging.checkpoint(checkpoint)

    def keep_to_itself(self) -> None:
        """Let no run go on with what this one has written: it may be committed yet, or can't be."""
        self._alone = True
        self._staging.keep_to_itself()

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
        self.keep_to_itself()
        (self.folder / _SENT).write_text(version, encoding="utf-8")
        self.unsure = True

    def sweep(self, load: Callable[[], LakeTable | None], key: str | None = None) -> None:
        """Remove what dead runs left, unless one may still have a swap under way that nothing fences off yet. load: the table
        as it is then. key: that of a run that may take something over: another plan of it may still.
        """
        for run in entries(self._staging.root):
            if key is None or group_of(key_of(run) or "") != group_of(key):
                self._sweep(run, load)

    def _sweep(self, run: Path, load: Callable[[], LakeTable | None]) -> None:
        lock = lock_of_dead(run)  # held, so that no run takes the folder over meanwhile
        if lock is None and (run / "lock").exists():
            return
        try:
            noted, sent = _noted(run), run / _SENT
            table = load() if noted else None  # not before the run is known to be dead: what it committed counts
            if noted and sent.exists() and _text(sent) == ("" if table is None else table.version):
                return
            if noted:
                run_id = run.name.rpartition(".")[0]
                done = None if table is None else table.commit_of(self._job, run_id)
                self._remove(noted, _named(done) | _current(table))
                (run / _FILES).unlink()
            bury(run)
        finally:
            if lock is not None:
                os.close(lock)

    def dead(self) -> int:
        """How many folders of dead runs there are."""
        return len(self._staging.dead())

    def noted(self) -> frozenset[str]:
        """Names of the files of all runs that may still commit."""
        while True:
            runs = entries(self._staging.root)
            found = frozenset(PurePosixPath(path).name for run in runs for _, path in _noted(run))
            if set(entries(self._staging.root)) == set(runs):  # else one took over what another left
                return found

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

    def leave(self) -> None:
        """Leave what is finished to the next attempt, if one may go on with it."""
        if self._alone:
            self.end()
        else:
            self._made, self._key = [], None
            self._staging.leave()

    def close(self) -> None:
        """The run is over: what it might have taken over goes with it."""
        self.end()
        key, self._key = self._key, None
        for run in entries(self._staging.root) if key is not None else ():
            if group_of(key_of(run) or "") == group_of(key or ""):
                self._sweep(run, lambda: None)

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


def _told(item: Committable) -> list[tuple[str, int]]:
    """(path, bytes) of the files of the table's folder that hold what a committable tells of."""
    return [(path, size) for path, _, _, size in item.payload.get("files", ())]


def _noted(run: Path) -> list[tuple[str, str]]:
    """(kind, path) of the files that a run has made, or was about to make."""
    lines = _text(run / _FILES).splitlines(True)
    return [(kind, path) for kind, path in (json.loads(line) for line in lines if line.endswith("\n"))]


def _text(path: Path) -> str:
    with suppress(FileNotFoundError):
        return path.read_text(encoding="utf-8")
    return ""
