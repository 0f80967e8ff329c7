"""A table as a local directory, committed by one rename.

    <root>/<seq>/            one commit: data files and `_commit.json`; the rename to this name is the compare-and-swap
    <root>/_dativo/          records of older commits, 100 a file
    .<name>.staging/<attempt>/   what one attempt of a run has written so far; a sibling of the root: same filesystem
    .<name>.versions/<v>/    after an overwrite the root is a symlink to one of these; older ones serve readers in flight
    <name>.quarantine/<seq>-<attempt>/   rejected rows, referenced by the commit

An overwrite at sequence n first moves its data, unpublished, to a version folder; then the swap renames a folder that
holds nothing but `_commit.json` (naming that version) to `<newest>/<n>`, the same name an append would take; then the
symlink is pointed at the version. A crash before the last step is rolled forward by whoever looks next. A commit that
replaces some files is the same: the others get a second name in the new version.

What makes this hold for a process that was stopped anywhere and wakes up much later:

- The root only ever moves to newer versions: it is moved under a lock, by one process at a time.
- A version is removed under the same lock, and never while the root or a newer claim leads to it. So what was read is
  true if the root is the same before and after, and else is read again.
- A commit is renamed into the folder it looked at, not into whatever has its name by then; and it counts only if its
  version is the newest one afterwards, for in a version being removed every name is free.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from .commit_log import CHUNK, RECORD
from .directory_view import CARRIED, CommittedDirectory, totals
from .errors import CommitConflictError, ConfigurationError
from .models import Commit
from .posix import entries, exchange, fsync, link, naming, settle, take
from .records import conflict, foreign_file
from .staging import Staging
from .versions import alone_in, expired_versions, replaced_versions

_KEPT_VERSIONS = 2


class DirectoryTable(CommittedDirectory):
    """The commit protocol over one root directory. Nothing here knows a file format."""

    def __init__(self, root: str | Path) -> None:
        super().__init__(root)
        parent, name = self.root.parent, self.root.name
        self.quarantine_root = parent / f"{name}.quarantine"
        self.run = Staging(parent / f".{name}.staging", self._forget)

    def last_commit(self) -> Commit | None:
        """The newest commit; who goes on from it may find nothing new and end, so it is published if it is not yet."""
        with suppress(OSError):
            self._roll_forward()
        return super().last_commit()

    def commit_of(self, run_id: str) -> Commit | None:
        """What a run committed, among the newest commits; who asks may tell of it, so it is published if it is not yet."""
        done = super().commit_of(run_id)
        if done is not None:
            with suppress(OSError):
                self._roll_forward()
        return done

    # -- one run ---------------------------------------------------------------------------------------------------

    def open(self, run_id: str, resume_key: str | None = None) -> Path:
        """Make this run's staging folder, or take over a dead run's with this key, and remove what others left. Returns it.

        Raises: ValidationError: where somebody else's file lies among the commits.
        """
        Staging.checked(run_id)
        try:
            self.root.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise ConfigurationError(
                f"target {self.root} can't be made: {error.filename} is a file", hint="set target.path to a directory"
            ) from error
        self._recover(resume_key)
        folder, last = self.current()
        if last is None and folder.exists():
            if not folder.is_dir():
                raise ConfigurationError(f"target {self.root} is a file", hint="set target.path to a directory")
            with os.scandir(folder) as inside:
                foreign = next(inside, None)
            if foreign is not None and self.current()[1] is None:  # else another run has committed since
                raise ConfigurationError(
                    f"target {self.root} holds files that no commit describes (such as {foreign.name!r})",
                    hint="choose an empty or new directory as target.path",
                )
        if last is not None and (strangers := self._log(folder).strangers()):
            raise foreign_file([str(folder / name) for name in strangers], str(self.root))
        run = self.run.open(run_id, resume_key)
        (run / "commit").mkdir(exist_ok=True)
        return run

    @property
    def attempt(self) -> str:
        """This run's attempt: no other has its name."""
        return self.run.attempt

    @property
    def staging(self) -> Path:
        """Where this run's data files go."""
        return self.run.folder / "commit"

    @property
    def incoming(self) -> Path:
        """Where this run's rows wait that are no data files yet."""
        path = self.run.folder / "incoming"
        path.mkdir(exist_ok=True)
        return path

    def keep(self, folder: Path, files: Iterable[str]) -> tuple[str, ...]:
        """Give committed files of a version a second name in this run's staging folder, so that the version it makes has
        them. Returns the names.
        """
        names = []
        for path in map(Path, files):
            seq, *inside = path.relative_to(folder).parts
            name = path.name if CARRIED.match(path.name) else f"{seq}-{path.name}"
            target = self.staging.joinpath(*inside[:-1], name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            link(path, target)
            names.append(str(target.relative_to(self.staging)))
        return tuple(names)

    @property
    def quarantine_staging(self) -> Path:
        """Where this run's rejected rows go."""
        path = self.run.folder / "quarantine"
        path.mkdir(exist_ok=True)
        return path

    def due(self, record: Commit) -> tuple[Commit, bool]:
        """The record with the sequence that is its turn, for compactions since its base change no row; and whether this run
        has committed already, and as what.

        Raises: CommitConflictError: where another run did.
        """
        folder, last = self.current()
        if last is not None and last.run_id == record.run_id:
            return last, True
        newest = 0 if last is None else last.seq
        if newest == record.seq - 1:
            return record, False
        if record.seq <= newest < record.seq + CHUNK:
            since = (self._log(folder).get(seq) for seq in range(record.seq, newest + 1))
            if all(other is not None and other.mode == "compact" for other in since):
                return record.model_copy(update={"seq": newest + 1}), False
        return self._earlier(record), True

    def commit(
        self, record: Commit, *, replaces: bool | None = None, table: tuple[int | None, int] | None = None
    ) -> Commit:
        """Publish the staging folder as `record.seq`, or after compactions that took it.

        replaces: whether it is all of the table from now on; default: where its mode is overwrite. table: rows and bytes of
        the table then, where they aren't this commit's own or added to what was there.

        Raises: CommitConflictError: when that sequence is taken; the target is as the winner left it.
        """
        replaces = record.mode == "overwrite" if replaces is None else replaces
        while True:
            record, done = self.due(record)
            if done:
                return record
            try:
                return self._commit(record, replaces, table)
            except CommitConflictError:
                if not self.staging.exists() or self.due(record)[0].seq == record.seq:
                    raise

    def _commit(self, record: Commit, replaces: bool, table: tuple[int | None, int] | None) -> Commit:
        folder, last = self.current()
        quarantine = self._publish_quarantine(record)
        version = f"{record.seq}-{self.run.attempt}" if replaces else None
        rows, size = table or self._totals(record, None if replaces else last)
        details = {
            **record.details,
            "table": {"rows": rows, "bytes": size},
            **({"version": version} if version else {}),
        }
        record = record.model_copy(update={"quarantine": quarantine, "details": details})
        try:
            home = self._append(folder, record) if version is None else self._replace(folder, record, version)
        except OSError as error:
            done = self.commit_of(record.run_id)
            if done is None or done.quarantine != quarantine:
                self._withdraw_quarantine(record)
            if done is not None:
                return self._followed(folder, done)
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.ELOOP, errno.ENOENT):
                raise self.conflict(record) from error
            raise
        if self.current()[0] != home:
            try:
                return self._earlier(record)
            except CommitConflictError:
                self._withdraw_quarantine(record)
                raise
        return self._followed(folder, record)

    def _followed(self, folder: Path, record: Commit) -> Commit:
        """The record, and what comes after a commit; where that fails, whoever looks next rolls it forward."""
        with suppress(OSError):
            if record.details.get("version") is not None:
                self._publish()
            elif record.seq % CHUNK == 0:
                self._log(folder).write_chunk(record.seq, record.seq)
        self.close()
        return record

    def _totals(self, record: Commit, before: Commit | None) -> tuple[int | None, int]:
        if before is None:
            return record.rows_written, record.bytes_written
        rows, size = totals(before) or self.summed()
        return None if rows is None else rows + record.rows_written, size + record.bytes_written

    def summed(self) -> tuple[int, int]:
        """Rows and bytes of all visible commits, one by one."""
        commits = self.commits()
        return sum(commit.rows_written for commit in commits), sum(commit.bytes_written for commit in commits)

    def _append(self, folder: Path, record: Commit) -> Path:
        """Returns the folder that is the newest version if nobody was faster."""
        self._seal(self.staging, record)
        if record.seq == 1 and not folder.exists():
            first = self.run.folder / "first"
            first.mkdir()
            os.rename(self.staging, first / "1")
            fsync(first)
            os.rename(first, self.root)
            fsync(self.root.parent)
        else:
            settle(take(self.staging, folder, record.seq))
        return folder

    def _replace(self, folder: Path, record: Commit, version: str) -> Path:
        """Returns the folder that is the newest version if nobody was faster."""
        home, claimed = self.versions / version, None
        try:
            home.mkdir(parents=True)
            self._seal(self.staging, record)
            os.rename(self.staging, home / str(record.seq))
            self._log(folder).carry(home)
            for folder_of_name in (home, self.versions, self.versions.parent):  # all before a claim leads there
                fsync(folder_of_name)
            if record.seq == 1:
                with suppress(FileNotFoundError):
                    os.rmdir(self.root)
                os.symlink(os.path.relpath(home, self.root.parent), self.root)
            else:
                claim = self.run.folder / "claim"
                claim.mkdir(exist_ok=True)
                self._seal(claim, record)
                claimed = take(claim, folder, record.seq)
        except OSError:
            with suppress(OSError):
                os.rename(home / str(record.seq), self.staging)
            shutil.rmtree(home, ignore_errors=True)
            raise
        if claimed is not None:
            settle(claimed)
        fsync(self.root.parent)
        return home.resolve()

    def _publish(self) -> None:
        """Point the root at the newest version and remove old ones.

        Left to whoever comes next where another process does it and doesn't end: it may be stopped.
        """
        with alone_in(self.versions) as alone:
            if not alone:
                return
            link = self.versions / ".link"
            if link.is_symlink():
                link.unlink()
            shutil.rmtree(link, ignore_errors=True)  # the first version, where a crash left it
            while (folder := self.current()[0]) != Path(os.path.realpath(self.root)):
                os.symlink(os.path.relpath(folder, self.root.parent), link)
                if self.root.is_symlink():
                    os.replace(link, self.root)
                else:
                    exchange(link, self.root)
                    os.rename(link, self.versions / f"0-{os.urandom(4).hex()}")
                fsync(self.root.parent)
            for version in replaced_versions(self.versions, folder)[:-_KEPT_VERSIONS]:
                shutil.rmtree(version, ignore_errors=True)

    def _seal(self, folder: Path, record: Commit) -> None:
        path = folder / RECORD
        with naming(path):
            path.write_text(record.model_dump_json(indent=1), encoding="utf-8")
        fsync(path)
        for parent, _, _ in os.walk(folder, topdown=False):
            fsync(Path(parent))

    def _publish_quarantine(self, record: Commit) -> tuple[str, ...]:
        staged = self.run.folder / "quarantine"
        if not staged.exists() or not any(staged.iterdir()):
            return ()
        target = self.quarantine_root / f"{record.seq}-{self.run.attempt}"
        self.quarantine_root.mkdir(exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        for parent, _, _ in os.walk(staged, topdown=False):
            fsync(Path(parent))
        os.rename(staged, target)
        try:
            fsync(self.quarantine_root)
            fsync(self.quarantine_root.parent)
        except OSError:
            self._withdraw_quarantine(record)
            raise
        return tuple(str(path) for path in sorted(target.iterdir()))

    def _withdraw_quarantine(self, record: Commit) -> None:
        with suppress(OSError):
            os.rename(self.quarantine_root / f"{record.seq}-{self.run.attempt}", self.run.folder / "quarantine")

    def _earlier(self, record: Commit) -> Commit:
        """What another attempt of this run committed. Raises: CommitConflictError: where none did."""
        done = self.commit_of(record.run_id)
        if done is None:
            raise self.conflict(record)
        return done

    def conflict(self, record: Commit) -> CommitConflictError:
        """The error of a run whose sequence another one has."""
        return conflict(record, self.current()[1], "the table is gone")

    def close(self) -> None:
        """Remove this run's staging, whatever its state."""
        self.run.close()

    # -- what dead runs left ---------------------------------------------------------------------------------------

    def _recover(self, resume_key: str | None) -> None:
        self.run.sweep(resume_key)
        self._roll_forward()

    def _roll_forward(self) -> None:
        folder, last = self.current()
        unpublished = last is not None and Path(os.path.realpath(self.root)) != folder
        if unpublished or os.path.lexists(self.versions / ".link"):
            self._publish()

    def _forget(self, attempt: str) -> None:
        """Remove what a dead attempt moved out of its staging folder and did not commit."""
        for entry in (entry for folder in (self.quarantine_root, self.versions) for entry in entries(folder)):
            seq, _, owner = entry.name.partition("-")
            if owner == attempt and seq.isdigit() and not self._referred(int(seq), entry.name):
                shutil.rmtree(entry, ignore_errors=True)

    def _referred(self, seq: int, name: str) -> bool:
        """Whether the commit of that sequence names a version or a quarantine folder; yes where it is not known."""
        folder, last = self.current()
        if last is None or seq > last.seq:
            return False
        record = self._log(folder).get(seq)
        return record is None or name in {
            record.details.get("version"),
            *(Path(q).parent.name for q in record.quarantine),
        }

    def clean(self, keep_s: float, *, dry_run: bool) -> tuple[int, int]:
        """Remove versions that were replaced more than `keep_s` ago, and what dead runs left.

        Returns: how many versions and leftovers there were.
        """
        dead = self.run.dead()
        orphans = [entry for entry in entries(self.quarantine_root) if self._is_orphan(entry)]
        if not dry_run:
            self._recover(None)
            for entry in orphans:
                shutil.rmtree(entry, ignore_errors=True)
        versions: list[Path] = []
        if self.versions.is_dir():
            with alone_in(self.versions) as alone:
                if alone:
                    folder, _ = self.current()
                    versions = expired_versions(self.versions, folder, keep_s)
                for version in () if dry_run else versions:
                    shutil.rmtree(version, ignore_errors=True)
        return len(versions), len(orphans) + len(dead)

    def _is_orphan(self, entry: Path) -> bool:
        """Whether rejected rows belong to no commit, and to no run that is alive."""
        seq, _, attempt = entry.name.partition("-")
        if not seq.isdigit() or (self.run.root / attempt).exists():
            return False
        return not self._referred(int(seq), entry.name)
