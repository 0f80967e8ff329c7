"""Writers of files into a local directory: delivery is here, a subclass only knows its file format."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Container, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Protocol
from urllib.parse import unquote

from .arrow import pyarrow
from .checkpoints import whole
from .directory import DirectoryTable
from .directory_view import totals
from .errors import CommitConflictError, ConfigurationError, PluginError, ValidationError
from .models import (
    AssetDefinition,
    Checkpoint,
    Commit,
    Committable,
    ConnectionTestResult,
    MaintainReport,
    MaintainRequest,
    Snapshot,
    TargetConfig,
    WriteRequest,
    WriteTask,
)
from .partitions import Partition, parse_partitions, partition_folders
from .posix import fsync, naming
from .records import foreign_file, owned
from .writer import BaseWriter, SplitWriter

_MAX_OPEN_PARTITIONS = 64
_URI = re.compile(r"^[a-z][a-z0-9+.-]*://", re.IGNORECASE)


class FileSink(Protocol):
    """One file being written. `finish` tells at least {"rows": int, "bytes": int}.

    A sink that holds much back may have `bytes_written`, the file's size so far with what is held.
    """

    def write(self, batch: Any) -> None: ...
    def finish(self) -> dict[str, Any]: ...
    def abort(self) -> None: ...


class DirectoryWriter(BaseWriter):
    """Level 3 over a local directory. A subclass gives `extension` and `open_file`."""

    extension: ClassVar[str] = ""
    quarantines: ClassVar[bool] = True
    needs_path: ClassVar[bool] = True
    writes_empty: ClassVar[bool] = True
    resumes: ClassVar[bool] = True

    def __init__(self, asset_definition: AssetDefinition, target_config: TargetConfig, output_base: str = "") -> None:
        super().__init__(asset_definition, target_config, output_base)
        if not target_config.path:
            raise ConfigurationError(f"writer {target_config.writer} needs target.path", hint="add path under target")
        if _URI.match(target_config.path) and not target_config.path.startswith("file://"):
            raise ConfigurationError(
                f"writer {target_config.writer} writes local directories, not {target_config.path.split('://')[0]}://",
                hint="use a local path",
            )
        self.table = DirectoryTable(Path(target_config.root) / target_config.path.removeprefix("file://"))
        self._partitions = parse_partitions(target_config.partition_by)
        self._request: WriteRequest | None = None

    def open_file(self, path: str, schema: Any) -> FileSink:
        """Start one file at `path` for batches of `schema`."""
        raise PluginError(f"writer {type(self).__name__} has no open_file()")

    @property
    def file_memory_bytes(self) -> int:
        """The budget of one open file: a worker has one, but for a partitioned target."""
        assert self._request is not None, "open() comes first"
        return self._request.memory_bytes // max(1, self._request.parallelism)

    def check_connection(self) -> ConnectionTestResult:
        folder = self.table.root
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir():
            return ConnectionTestResult(False, f"{folder} is a file", "CONFIGURATION_ERROR")
        if not os.access(folder, os.W_OK | os.X_OK):
            return ConnectionTestResult(False, f"no permission to write in {folder}", "AUTHENTICATION_ERROR")
        return ConnectionTestResult(True, f"{self.table.root} can be written")

    def last_commit(self) -> Commit | None:
        last, job = self.table.last_commit(), self.target_config.job
        return owned(last, job, lambda: getattr(self.options, "adopt", None), f"target {self.table.root}")

    def history(self) -> Sequence[Commit]:
        return tuple(self.table.history())

    def commit_of(self, run_id: str) -> Commit | None:
        return self.table.commit_of(run_id)

    def commit_of_file(self, path: str) -> Commit | None:
        return self.table.commit_of_file(path)

    def open(self, request: WriteRequest) -> None:
        self._request = request
        self._partitions = parse_partitions(request.partition_by)
        if self._overwrites_partitions and request.mode == "overwrite":
            self._check_partitions(request)
        self.table.open(request.run_id, request.resume_key)

    def finished(self, splits: Container[str]) -> Sequence[Checkpoint]:
        found = self.table.run.finished(splits, lambda item: whole(self._staged(item), item))
        self.table.staging.mkdir(exist_ok=True)
        return found

    def _staged(self, item: Committable) -> Path:
        """Where a committable's file is until the commit."""
        folder = self.table.staging if item.kind == "data" else self.table.quarantine_staging
        return folder / str(item.payload["file"])

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        self.table.run.checkpoint(checkpoint)

    def suspend(self) -> None:
        self.table.run.leave()

    def _check_partitions(self, request: WriteRequest) -> None:
        if not self._partitions:
            raise ConfigurationError("overwrite: partitions needs target.partition_by", hint="name its columns")
        if request.cursor_field is not None:
            raise ConfigurationError(
                "overwrite: partitions replaces whole partitions, and a run that reads past a cursor has a part of them",
                hint="remove incremental.cursor_field, or use target.mode: merge with keys",
            )

    def writer(self, task: WriteTask) -> SplitWriter:
        assert self._request is not None, "open() comes first"
        partition_by = self._partitions if task.kind == "data" else ()
        folder = self.table.staging if task.kind == "data" else self.table.quarantine_staging
        return DirectorySplitWriter(self, folder, task, partition_by)

    def commit(self, committables: Sequence[Committable], commit: Commit) -> Commit:
        files = tuple(str(item.payload["file"]) for item in committables if item.kind == "data")
        if commit.mode == "overwrite" and self._overwrites_partitions:
            return self.in_turn(commit, lambda due: self._overwrite_partitions(files, due))
        return self.table.commit(commit.model_copy(update={"files": files}))

    def in_turn(self, commit: Commit, attempt: Callable[[Commit], Commit]) -> Commit:
        """Commit by `attempt` what looks at the table's files first, again where they were joined meanwhile."""
        while True:
            due, done = self.table.due(commit)
            if done:
                return due
            try:
                return attempt(due)
            except (CommitConflictError, FileNotFoundError):
                if self.table.due(commit)[0].seq == due.seq:
                    raise

    @property
    def _overwrites_partitions(self) -> bool:
        assert self._request is not None, "open() comes first"
        return getattr(self.options, "overwrite", "table") == "partitions" and not self._request.full_refresh

    def _overwrite_partitions(self, files: tuple[str, ...], commit: Commit) -> Commit:
        folder, _, present = self.table.version()
        touched = {str(Path(name).parent) for name in files}
        removed = set()
        for path in present:
            partition = Path(*Path(path).relative_to(folder).parts[1:]).parent
            names = tuple(unquote(part.partition("=")[0]) for part in partition.parts)
            if names != tuple(item.name for item in self._partitions):
                raise ValidationError(
                    f"{path} is not divided by {', '.join(item.name for item in self._partitions)}",
                    details={"file": path},
                    hint="partition_by was changed: load the table anew, dativo run --full-refresh",
                )
            if str(partition) in touched:
                removed.add(path)
        return self.exchange(commit, files, removed)

    def exchange(
        self, commit: Commit, files: Sequence[str], removed: Collection[str], rows: int | None = None
    ) -> Commit:
        """Commit staged files in place of some of the table's. files: names in the staging folder. removed: absolute paths.
        rows: of the table then, where more is known than the commit says.
        """
        folder, commits, present = self.table.version()
        if (commits[-1].seq if commits else 0) != commit.seq - 1:
            raise self.table.conflict(commit)
        before, size = (totals(commits[-1]) or self.table.summed()) if commits else (0, 0)
        try:
            if rows is None and before is not None:
                gone = [self.count_rows(path) for path in removed]
                rows = None if None in gone else before + commit.rows_written - sum(map(int, filter(None, gone)))
            size += commit.bytes_written - sum(os.stat(path).st_size for path in removed)
            kept = self.table.keep(folder, (p for p in present if p not in removed)) if removed else ()
        except FileNotFoundError as error:
            raise self.table.conflict(commit) from error
        record = commit.model_copy(update={"files": (*kept, *files)})
        return self.table.commit(record, replaces=bool(removed), table=(rows, size))

    def count_rows(self, path: str) -> int | None:
        """Rows of a data file, None where the format can't tell without reading it."""
        return None

    def maintain(self, request: MaintainRequest) -> MaintainReport:
        if foreign := self.table.foreign():
            raise foreign_file(foreign, str(self.table.root))
        try:
            found = self.compact(request)
        except CommitConflictError as error:
            found = MaintainReport(
                notes=(f"files stay as they are: {error.details.get('winner')} committed meanwhile",)
            )
        finally:
            self.table.close()
        versions, orphans = self.table.clean(request.keep_s, dry_run=request.dry_run)
        return replace(found, versions=versions, orphans=orphans)

    def compact(self, request: MaintainRequest) -> MaintainReport:
        """Join small files by a commit of its own."""
        return MaintainReport(notes=(f"files stay as they are: {self.extension} files are not joined",))

    def abort(self) -> None:
        self.table.close()

    def close(self) -> None:
        self.table.run.end()

    def snapshot(self) -> Snapshot | None:
        commits, files = self.table.contents()
        if not commits:
            return None
        rows, size = totals(commits[-1]) or self.table.summed()
        return self._snapshot(commits[-1], files, rows, size)

    def summary(self, commit: Commit) -> Snapshot | None:
        known = totals(commit)
        if known is None:
            return super().summary(commit)
        folder = self.table.current()[0] / str(commit.seq)
        return self._snapshot(commit, tuple(str(folder / name) for name in commit.files), *known)

    def files_back_to(self, ends: Callable[[Commit], bool]) -> tuple[str, ...]:
        return self.table.files_back_to(ends)

    def _snapshot(self, commit: Commit, files: tuple[str, ...], rows: int | None, size: int) -> Snapshot:
        return Snapshot(
            seq=commit.seq,
            uri=self.table.root.as_uri(),
            format=self.extension,
            files=files,
            rows=rows,
            bytes=size,
            schema_text=commit.schema_text,
        )


class DirectorySplitWriter(SplitWriter):
    """Files `part-<worker>-<n>.<extension>`, one a partition value where the target is partitioned."""

    def __init__(
        self,
        owner: DirectoryWriter,
        folder: Path,
        task: WriteTask,
        partition_by: tuple[Partition, ...],
        file_bytes: int | None = None,
    ) -> None:
        self._owner = owner
        self._folder = folder
        self._task = task
        self._partition_by = partition_by
        self._file_bytes: int | None = getattr(owner.options, "target_file_bytes", None) or file_bytes
        self._open: dict[str, tuple[Path, FileSink]] = {}
        self._done: list[Committable] = []
        self._count = 0

    def write(self, batch: Any) -> None:
        parts = [("", batch)]
        if self._partition_by:
            parts = partition_folders(self._partition_by, pyarrow().record_batch(batch))
        for folder, part in parts:
            path, sink = self._sink(folder)
            with naming(path):
                sink.write(part)
            if self._file_bytes is not None and self._written(folder) >= self._file_bytes:
                self._close(folder)

    def _written(self, folder: str) -> int:
        """Bytes of an open file: as its sink says, else as many as are in it."""
        path, sink = self._open[folder]
        said = getattr(sink, "bytes_written", None)
        return path.stat().st_size if said is None else int(said)

    def _sink(self, folder: str) -> tuple[Path, FileSink]:
        found = self._open.get(folder)
        if found is None:
            if len(self._open) >= _MAX_OPEN_PARTITIONS:
                self._close(next(iter(self._open)))
            name = f"part-{self._task.index:04d}-{self._count:04d}.{self._owner.extension}"
            self._count += 1
            path = self._folder / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with naming(path):
                found = self._open[folder] = (path, self._owner.open_file(str(path), self._task.schema))
        return found

    def _close(self, folder: str) -> None:
        path, sink = self._open.pop(folder)
        with naming(path):
            info = sink.finish()
        fsync(path)
        self._done.append(
            Committable(
                kind=self._task.kind,
                rows=int(info["rows"]),
                bytes=path.stat().st_size,
                payload={"file": str(path.relative_to(self._folder)), **info},
            )
        )

    def finish(self) -> Sequence[Committable]:
        for folder in list(self._open):
            self._close(folder)
        return self._done

    def abort(self) -> None:
        while self._open:
            _, (_, sink) = self._open.popitem()
            sink.abort()

    def cancel(self) -> None:
        for _, sink in list(self._open.values()):
            cancel = getattr(sink, "cancel", None)
            if cancel is not None:
                cancel()
