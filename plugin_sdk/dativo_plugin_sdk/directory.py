"""A table as a local directory, committed by one rename.

    <root>/<seq>/            one commit: data files and `_commit.json`; the rename to this name is the compare-and-swap
    .<name>.staging/<attempt>/   what one attempt of a run has written so far; a sibling of the root: same filesystem
    .<name>.versions/<v>/    after an overwrite the root is a symlink to one of these; older ones serve readers in flight
    <name>.quarantine/<seq>-<attempt>/   rejected rows, referenced by the commit

An overwrite at sequence n first moves its data, unpublished, to a version folder; then the swap renames a folder that
holds nothing but `_commit.json` (naming that version) to `<current>/<n>`, the same name an append would take; then the
symlink is pointed at the version. A crash before the last step is rolled forward by whoever looks next.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pydantic

from .errors import CommitConflictError, ConfigurationError, ValidationError
from .models import Commit

RECORD = "_commit.json"
FORMAT_VERSION = 1
_KEPT_VERSIONS = 2
_EXCHANGE = 2
_NEW = ".new-"
_NEW_S = 60.0
_SAFE_RUN = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")


def fsync(path: Path) -> None:
    """Force a file or directory to stable storage."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exchange(left: Path, right: Path) -> None:
    """Swap two names in one step where the kernel can, else in two."""
    libc = ctypes.CDLL(None, use_errno=True)
    rename = getattr(libc, "renameat2", None)
    if rename is not None and rename(-100, os.fsencode(left), -100, os.fsencode(right), _EXCHANGE) == 0:
        return
    aside = left.with_name(left.name + ".swap")
    os.rename(right, aside)
    os.rename(left, right)
    os.rename(aside, left)


class DirectoryTable:
    """The commit protocol over one root directory. Nothing here knows a file format."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(os.path.abspath(root))
        if not self.root.name:
            raise ConfigurationError(f"target path {str(root)!r} names no directory", hint="set target.path")
        parent, name = self.root.parent, self.root.name
        self.staging_root = parent / f".{name}.staging"
        self.versions = parent / f".{name}.versions"
        self.quarantine_root = parent / f"{name}.quarantine"
        self._lock: int | None = None
        self._run: Path | None = None
        self._attempt = ""
        self._current: Path | None = None

    # -- reading ---------------------------------------------------------------------------------------------------

    def _sequences(self, folder: Path) -> list[int]:
        try:
            return sorted(int(entry.name) for entry in os.scandir(folder) if entry.name.isdigit())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _record(self, folder: Path) -> Commit:
        path = folder / RECORD
        try:
            value = json.loads(path.read_bytes())
            if not isinstance(value, dict):
                raise ValueError("not an object")
            version = value.get("format_version")
            if isinstance(version, int) and version > FORMAT_VERSION:
                raise ValidationError(
                    f"commit record {path} was written by a newer version (format {version})",
                    details={"file": str(path)},
                    hint="upgrade dativo-assets",
                )
            return Commit.model_validate(value)
        except (OSError, ValueError, pydantic.ValidationError) as error:
            raise ValidationError(
                f"commit record {path} is missing or can't be read: {error}",
                details={"file": str(path)},
                hint=f"restore {path}, or move {folder} away to continue from the commit before it",
            ) from error

    def current(self) -> tuple[Path, Commit | None]:
        """The folder that holds the newest version, and its newest commit; follows overwrites not yet published."""
        folder = Path(os.path.realpath(self.root))
        while True:
            sequences = self._sequences(folder)
            if not sequences:
                return folder, None
            record = self._record(folder / str(sequences[-1]))
            version = record.details.get("version")
            if version is None or (self.versions / str(version)).resolve() == folder:
                return folder, record
            folder = (self.versions / str(version)).resolve()

    def last_commit(self) -> Commit | None:
        """The newest commit, None before the first."""
        return self.current()[1]

    def commits(self) -> Iterator[Commit]:
        """Every commit whose data is visible, oldest first."""
        folder, _ = self.current()
        for seq in self._sequences(folder):
            yield self._record(folder / str(seq))

    def files(self) -> tuple[str, ...]:
        """Absolute paths of all committed data files."""
        folder, _ = self.current()
        return tuple(str(folder / str(record.seq) / name) for record in self.commits() for name in record.files)

    # -- one run ---------------------------------------------------------------------------------------------------

    def open(self, run_id: str) -> Path:
        """Make this run's staging folder and remove what dead runs left. Returns it."""
        if not _SAFE_RUN.fullmatch(run_id):
            raise ConfigurationError(f"run id {run_id!r} can't be part of a path", hint="use letters, digits, - and _")
        try:
            self.root.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise ConfigurationError(
                f"target {self.root} can't be made: {error.filename} is a file", hint="set target.path to a directory"
            ) from error
        self._recover()
        folder, last = self.current()
        if last is None and folder.exists():
            if not folder.is_dir():
                raise ConfigurationError(f"target {self.root} is a file", hint="set target.path to a directory")
            with os.scandir(folder) as entries:
                foreign = next(entries, None)
            if foreign is not None:
                raise ConfigurationError(
                    f"target {self.root} holds files that no commit describes (such as {foreign.name!r})",
                    hint="choose an empty or new directory as target.path",
                )
        self._current = folder
        # An attempt has names of its own: a stopped process that wakes up can't touch what the retry of its run wrote.
        self._attempt = f"{run_id}.{os.urandom(4).hex()}"
        self._run = self.staging_root / self._attempt
        new = self.staging_root / f"{_NEW}{self._attempt}"
        (new / "commit").mkdir(parents=True)
        self._lock = os.open(new / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(self._lock, socket.gethostname().encode())
        os.rename(new, self._run)  # it gets its name once the lock is held, so nobody takes it for a dead run's
        return self._run

    @property
    def staging(self) -> Path:
        """Where this run's data files go."""
        assert self._run is not None, "open() comes first"
        return self._run / "commit"

    @property
    def quarantine_staging(self) -> Path:
        """Where this run's rejected rows go."""
        assert self._run is not None, "open() comes first"
        path = self._run / "quarantine"
        path.mkdir(exist_ok=True)
        return path

    def commit(self, record: Commit) -> Commit:
        """Publish the staging folder as `record.seq`.

        Raises: CommitConflictError: when that sequence is taken; the target is as the winner left it.
        """
        assert self._run is not None and self._current is not None, "open() comes first"
        _, last = self.current()
        if last is not None and last.run_id == record.run_id:
            return last
        if (0 if last is None else last.seq) != record.seq - 1:
            raise self._conflict(record)
        quarantine = self._publish_quarantine(record)
        overwrite = record.mode == "overwrite"
        version = f"{record.seq}-{self._attempt}" if overwrite else None
        details = {**record.details, **({"version": version} if version else {})}
        record = record.model_copy(update={"quarantine": quarantine, "details": details})
        try:
            if version is None:
                self._seal(self.staging, record)
                self._append(record)
            else:
                self._overwrite(record, version)
        except OSError as error:
            self._drop_quarantine(quarantine)
            _, winner = self.current()
            if winner is not None and winner.run_id == record.run_id:
                return winner
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.ENOENT):
                raise self._conflict(record) from error
            raise
        self.close()
        return record

    def _append(self, record: Commit) -> None:
        assert self._run is not None and self._current is not None
        if record.seq == 1 and not self._current.exists():
            first = self._run / "first"
            first.mkdir()
            os.rename(self.staging, first / "1")
            fsync(first)
            os.rename(first, self.root)
            fsync(self.root.parent)
            return
        os.rename(self.staging, self._current / str(record.seq))
        fsync(self._current)

    def _overwrite(self, record: Commit, version: str) -> None:
        assert self._run is not None and self._current is not None
        folder = self.versions / version
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            self._seal(self.staging, record)
            os.rename(self.staging, folder / str(record.seq))
            fsync(folder)
            fsync(self.versions)
            link = self._run / "link"
            os.symlink(os.path.relpath(folder, self.root.parent), link)
            if record.seq == 1:
                with suppress(FileNotFoundError):
                    os.rmdir(self.root)
                os.symlink(os.readlink(link), self.root)
                fsync(self.root.parent)
                return
            claim = self._run / "claim"
            claim.mkdir()
            self._seal(claim, record)
            os.rename(claim, self._current / str(record.seq))
            fsync(self._current)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._publish()
        self._prune()

    def _publish(self) -> None:
        """Point the root at the newest version; again if a newer one came meanwhile."""
        while True:
            folder, _ = self.current()
            if Path(os.path.realpath(self.root)) == folder:
                return
            link = self.staging_root / f"link-{os.getpid()}"
            link.parent.mkdir(exist_ok=True)
            link.unlink(missing_ok=True)
            os.symlink(os.path.relpath(folder, self.root.parent), link)
            if self.root.is_symlink():
                os.replace(link, self.root)
            else:
                _exchange(link, self.root)
                os.rename(link, self.versions / f"0-{os.urandom(4).hex()}")
            fsync(self.root.parent)

    def _seal(self, folder: Path, record: Commit) -> None:
        path = folder / RECORD
        path.write_text(record.model_dump_json(indent=1), encoding="utf-8")
        fsync(path)
        for parent, _, _ in os.walk(folder, topdown=False):
            fsync(Path(parent))

    def _publish_quarantine(self, record: Commit) -> tuple[str, ...]:
        assert self._run is not None
        staged = self._run / "quarantine"
        if not staged.exists() or not any(staged.iterdir()):
            return ()
        target = self.quarantine_root / f"{record.seq}-{self._attempt}"
        self.quarantine_root.mkdir(exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        os.rename(staged, target)
        fsync(self.quarantine_root)
        return tuple(str(path) for path in sorted(target.iterdir()))

    def _drop_quarantine(self, files: tuple[str, ...]) -> None:
        for folder in {Path(name).parent for name in files}:
            shutil.rmtree(folder, ignore_errors=True)

    def _conflict(self, record: Commit) -> CommitConflictError:
        _, winner = self.current()
        who = f"run {winner.run_id} committed sequence {winner.seq}" if winner else "the table is gone"
        return CommitConflictError(
            f"sequence {record.seq} of {record.job} was not committed: {who}",
            details={"winner": winner.run_id if winner else None, "seq": winner.seq if winner else None},
            hint="nothing of this run is visible; run the job again to continue from the newer commit",
        )

    def close(self) -> None:
        """Remove this run's staging, whatever its state."""
        if self._run is not None:
            shutil.rmtree(self._run, ignore_errors=True)
            with suppress(OSError):
                self.staging_root.rmdir()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # -- what dead runs left ---------------------------------------------------------------------------------------

    def _recover(self) -> None:
        folder, last = self.current()
        if last is not None and Path(os.path.realpath(self.root)) != folder:
            self._publish()
        live = set()
        for run in self.staging_root.iterdir() if self.staging_root.exists() else ():
            if _alive(run):
                live.add(run.name)
            elif run.is_symlink():
                run.unlink(missing_ok=True)
            else:
                shutil.rmtree(run, ignore_errors=True)
        self._sweep(self.quarantine_root, last, live)
        self._sweep(self.versions, last, live)

    def _sweep(self, folder: Path, last: Commit | None, live: set[str]) -> None:
        """Remove `<seq>-<attempt>` entries that no commit refers to and no live attempt owns."""
        newest = 0 if last is None else last.seq
        referred = (
            set() if last is None else {last.details.get("version"), *(Path(q).parent.name for q in last.quarantine)}
        )
        for entry in folder.iterdir() if folder.exists() else ():
            seq, _, attempt = entry.name.partition("-")
            if attempt in live or entry.name in referred or not seq.isdigit() or int(seq) < newest:
                continue
            shutil.rmtree(entry, ignore_errors=True)

    def _prune(self) -> None:
        folder = Path(os.path.realpath(self.root))
        old = [entry for entry in self.versions.iterdir() if entry.name.partition("-")[0].isdigit()]
        old.sort(key=lambda entry: int(entry.name.partition("-")[0]))
        for entry in old[: -_KEPT_VERSIONS - 1]:
            if entry.resolve() != folder:
                shutil.rmtree(entry, ignore_errors=True)


def _alive(run: Path) -> bool:
    """Whether the process that owns a staging folder still runs; one of another host is taken to be alive."""
    with suppress(OSError):
        if run.name.startswith(_NEW) and time.time() - run.lstat().st_mtime < _NEW_S:
            return True
    try:
        descriptor = os.open(run / "lock", os.O_RDWR)
    except OSError:
        return False
    try:
        host = os.read(descriptor, 256).decode(errors="replace")
        if host and host != socket.gethostname():
            return True
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
