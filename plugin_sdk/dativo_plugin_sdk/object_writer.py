"""Parquet tables in object stores, where nothing can be renamed: the put of one object is the commit.

Rows added:
    <path>/00000000000000000007.parquet           commit 7: its last rows, and in its footer the record with the cursor
    <path>/00000000000000000007-<attempt>-0000.parquet   more rows of it, where it is too large for one object
Rows added to partitions:
    <path>/day=2025-01-01/00000000000000000007-<attempt>-0000.parquet   rows of it
    <path>.commits/00000000000000000007.json      the record of commit 7, which names them
Rows replaced, all of them or by key:
    <path>/00000000000000000001.parquet           the table as of its newest commit, replaced by the next one

The name is the compare-and-swap: an object is put only where there is none, or in place of the version that was read. Of a
commit that is one object a plain glob sees all or nothing. Of more, a plain glob may see some before the commit, and those
of a dead run until `dativo maintain`; who reads the records sees it whole. What would need two objects to change at once
(partitions that are replaced, a large table that is merged into, files that are joined) is refused.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import ClassVar

from .arrow import parse_type, pyarrow
from .directory_view import totals
from .errors import ConfigurationError, DativoError, TransientError, ValidationError
from .models import (
    AssetDefinition,
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
from .object_table import BEFORE, KEY, WAY_OUT, ObjectTable, commit_in_name
from .parquet_compact import join_files
from .parquet_footer import with_metadata
from .parquet_writer import ParquetDirectoryWriter
from .records import conflict, owned
from .remote import RemoteFile, RemoteFiles, quoted
from .writer import BaseWriter, SplitWriter

OBJECT_BYTES = 64 << 20
"""How large an object becomes by itself; it is held in memory while it is put."""

MAX_OBJECTS = 10_000
"""Of one commit: its record names each."""

_IN_VIEW = 1000
_RETRIED_COMMITS = 20
_RETRIED_OPENS = 20


class ObjectWriter(BaseWriter):
    """Level 3 over a prefix of an object store. local: the class that writes such files to a directory."""

    modes: ClassVar[frozenset[str]] = frozenset({"append", "overwrite", "merge"})
    quarantines: ClassVar[bool] = True
    writes_empty: ClassVar[bool] = True
    needs_path: ClassVar[bool] = True

    def __init__(
        self, asset_definition: AssetDefinition, target_config: TargetConfig, local: type[ParquetDirectoryWriter]
    ) -> None:
        self.Options = local.Options  # type: ignore[misc]
        super().__init__(asset_definition, target_config)
        self.root = (target_config.path or "").rstrip("/")
        self._divided = bool(target_config.partition_by)
        self._in_place = target_config.mode != "append"
        if self._in_place and (self._divided or self.options.overwrite == "partitions"):
            raise ConfigurationError(
                f"mode {target_config.mode} can't change the partitions of a table in an object store in one step",
                hint=f"{WAY_OUT}; this writer adds rows to partitions (mode: append)",
            )
        key = hashlib.sha256(self.root.encode()).hexdigest()[:16]
        staging = Path(target_config.root) / ".dativo" / "staging" / f"objects-{key}" / "table"
        self._local = local(asset_definition, target_config.model_copy(update={"path": str(staging)}))
        self._files = RemoteFiles({**target_config.connection, **target_config.credentials})
        self._table = ObjectTable(self.root, self._files)
        self._request: WriteRequest | None = None

    # -- reading ---------------------------------------------------------------------------------------------------

    def _newest(self) -> tuple[RemoteFile, Commit] | None:
        newest = self._table.newest()
        if newest is not None:
            owned(newest[1], self.target_config.job, lambda: self.options.adopt, f"target {self.root}")
        return newest

    def last_commit(self) -> Commit | None:
        newest = self._newest()
        return None if newest is None else newest[1]

    def history(self) -> Sequence[Commit]:
        return tuple(reversed(self._back(_IN_VIEW)))

    def _back(self, count: int | None) -> list[Commit]:
        """As many records, newest first; None: all."""
        newest = self._newest()
        return [] if newest is None else list(islice(self._table.newest_first(newest), count))

    def commit_of(self, run_id: str) -> Commit | None:
        return next((record for record in self._back(_RETRIED_COMMITS) if record.run_id == run_id), None)

    def commit_of_file(self, path: str) -> Commit | None:
        newest, seq = self._newest(), commit_in_name(path)
        if newest is None:
            return None
        if newest[1].details.get("in_place"):
            if newest[0].uri.endswith(path):  # what only sets the cursor wrote no row of it
                return next((item for item in self._table.newest_first(newest) if "state" not in item.details), None)
            return super().commit_of_file(path)
        record = None if seq is None else self._table.get(seq, divided=newest[0].uri.endswith(".json"))
        names = () if record is None else (*(f"{self.root}/{name}" for name in record.files), *record.quarantine)
        return record if any(name.endswith(path) for name in names) else None

    def check_connection(self) -> ConnectionTestResult:
        try:
            self._files.exists(self._table.uri(1, divided=self._divided))
        except DativoError as error:
            return ConnectionTestResult(False, error.message, error.error_code)
        return ConnectionTestResult(True, f"{self.root} answers")

    def snapshot(self) -> Snapshot | None:
        last = self.last_commit()
        if last is None:
            return None
        records = [last] if last.details.get("in_place") else self._back(None)
        return self._snapshot(last, [name for record in reversed(records) for name in record.files])

    def summary(self, commit: Commit) -> Snapshot | None:
        return self._snapshot(commit, commit.files)

    def _snapshot(self, commit: Commit, names: Sequence[str]) -> Snapshot:
        rows, size = totals(commit) or (None, None)
        files = tuple(f"{self.root}/{name}" for name in names)
        return Snapshot(commit.seq, self.root, "parquet", files, rows, size, commit.schema_text)

    # -- one run ---------------------------------------------------------------------------------------------------

    def open(self, request: WriteRequest) -> None:
        self._request = request
        newest = self._newest()
        if newest is None:
            self._table.begin(in_place=self._in_place)
        else:
            self._check_layout(newest, request)
        for left in reversed(range(_RETRIED_OPENS)):
            try:
                self._local.open(request)
                return
            except FileNotFoundError:  # another run ended between two steps, and the folder of all runs with it
                if not left:
                    raise

    def _check_layout(self, newest: tuple[RemoteFile, Commit], request: WriteRequest) -> None:
        in_place, divided = bool(newest[1].details.get("in_place")), newest[0].uri.endswith(".json")
        if not in_place and (self._in_place or request.mode == "overwrite"):
            raise ConfigurationError(
                f"{self.root} was made by appending, and its objects can't be replaced in one step",
                hint=f"{WAY_OUT}, or choose a new target.path",
            )
        if in_place and not self._in_place:
            raise ConfigurationError(
                f"{self.root} is one object that each commit replaces, and can't be appended to",
                hint="choose a new target.path, or target.mode: overwrite or merge",
            )
        if divided != self._divided:
            raise ConfigurationError(
                f"{self.root} is {'' if divided else 'not '}divided into partitions, and partition_by was changed",
                hint="choose a new target.path",
            )

    def writer(self, task: WriteTask) -> SplitWriter:
        return self._local.writer(task)

    def commit(self, committables: Sequence[Committable], commit: Commit) -> Commit:
        newest = self._newest()
        last = None if newest is None else newest[1]
        if last is not None and last.run_id == commit.run_id:
            return last
        if (0 if last is None else last.seq) != commit.seq - 1:
            done = self.commit_of(commit.run_id)
            if done is None:
                raise conflict(commit, last, "its commits are gone")
            return done
        uploaded: list[str] = []
        try:
            if self._in_place:
                return self._replace(committables, commit, newest, uploaded)
            return self._append(committables, commit, last, uploaded)
        except TransientError:
            raise  # it may be committed, and then these are its rows
        except BaseException:
            with suppress(DativoError):
                self._files.delete(uploaded)
            raise

    def _append(
        self, committables: Sequence[Committable], commit: Commit, last: Commit | None, uploaded: list[str]
    ) -> Commit:
        parts = self._parts(committables)
        if not parts and not self._divided:
            parts = [("", self._empty(commit))]
        if len(parts) > MAX_OBJECTS:
            raise ConfigurationError(
                f"commit {commit.seq} of {self.root} would be {len(parts)} objects, and more than {MAX_OBJECTS} is too much",
                hint=f"load less at once, divide into fewer partitions, raise target.options.target_file_bytes, or {WAY_OUT}",
            )
        own = parts if self._divided else parts[:-1]
        attempt = quoted(self._local.table.attempt)
        names = [
            "/".join(filter(None, (quoted(folder), f"{commit.seq:020d}-{attempt}-{number:04d}.parquet")))
            for number, (folder, _) in enumerate(own)
        ]
        quarantine = self._put_quarantine(commit, uploaded)
        self._put_own({f"{self.root}/{name}": path for name, (_, path) in zip(names, own, strict=True)}, uploaded)
        uri = self._table.uri(commit.seq, divided=self._divided)
        size = sum(path.stat().st_size for _, path in parts)
        before = (0, 0) if last is None else totals(last) or (None, 0)
        rows = None if before[0] is None else before[0] + commit.rows_written
        record = self._noted(commit, quarantine, size, {"table": {"rows": rows, "bytes": before[1] + size}})
        if self._divided:
            record = record.model_copy(update={"files": tuple(names)})
            return self._swap(uri, record, record.model_dump_json().encode(), None, uploaded)
        record = record.model_copy(update={"files": (*names, uri.rpartition("/")[2])})
        data = with_metadata(parts[-1][1].read_bytes(), KEY, record.model_dump_json())
        return self._swap(uri, record, data, None, uploaded)

    def _replace(
        self,
        committables: Sequence[Committable],
        commit: Commit,
        newest: tuple[RemoteFile, Commit] | None,
        uploaded: list[str],
    ) -> Commit:
        """Commit by one object in place of the one that is there."""
        before = None if newest is None else self._table.carried(newest)
        path, rows, commit = self._whole(committables, commit, newest)
        uri = self._table.uri(1, divided=False)
        size = path.stat().st_size
        quarantine = self._put_quarantine(commit, uploaded)
        record = self._noted(commit, quarantine, size, {"table": {"rows": rows, "bytes": size}, "in_place": True})
        record = record.model_copy(update={"files": (uri.rpartition("/")[2],)})
        data = with_metadata(path.read_bytes(), KEY, record.model_dump_json())
        if before is not None:
            data = with_metadata(data, BEFORE, before)
        return self._swap(uri, record, data, newest, uploaded)

    def _whole(
        self, committables: Sequence[Committable], commit: Commit, newest: tuple[RemoteFile, Commit] | None
    ) -> tuple[Path, int | None, Commit]:
        """The table after this run as one file, its rows, and the record with what it says of them."""
        local = self._local
        base: list[str] = []
        rows: int | None = 0
        if commit.mode != "overwrite" and newest is not None:
            rows = (totals(newest[1]) or (None,))[0]
            copy = self._table.fetch(newest[0], local.table.run.folder / "base.parquet")
            if not any(item.kind == "data" for item in committables):
                return copy, rows, commit
            base = [str(copy)]
        if self.target_config.mode == "merge":
            merged, commit = local.merge_into(base, committables, commit)
            paths = [Path(path) for path in merged.files or sorted(merged.new)]
            rows = None if rows is None else rows + merged.rows_added - merged.rows_removed
        else:
            paths, rows = [path for _, path in self._parts(committables)], commit.rows_written
        folder = local.table.staging
        if len(paths) > 1:
            names = [str(path) for path in paths]
            (joined,) = join_files(names, folder / "whole", "", local.open_file, 1 << 62, local.check_cancelled)
            paths = [folder / "whole" / joined]
        path = paths[0] if paths else self._empty(commit)
        limit = self.options.target_file_bytes or OBJECT_BYTES
        if path.stat().st_size > limit:
            raise ConfigurationError(
                f"{commit.mode} makes {self.root} one object, and this one would be of {path.stat().st_size:,} bytes, more "
                f"than {limit:,}",
                hint=f"raise target.options.target_file_bytes, or {WAY_OUT}",
            )
        return path, rows, commit

    def _parts(self, committables: Sequence[Committable]) -> list[tuple[str, Path]]:
        """This run's rows as files that each become one object, with the partitions that they are in."""
        folder = self._local.table.staging
        size = self.options.target_file_bytes or OBJECT_BYTES
        partitions: dict[str, list[Path]] = {}
        for item in committables:
            if item.kind == "data":
                partition, _, _ = str(item.payload["file"]).rpartition("/")
                partitions.setdefault(partition, []).append(folder / item.payload["file"])
        parts = []
        for partition, paths in sorted(partitions.items()):
            small = [str(path) for path in paths if path.stat().st_size < size // 2]
            if len(small) > 1:
                joined = join_files(
                    small, folder / "joined", partition, self._local.open_file, size, self._local.check_cancelled
                )
                paths = [p for p in paths if str(p) not in small] + [folder / "joined" / name for name in joined]
            parts += [(partition, path) for path in paths]
        return parts

    def _empty(self, commit: Commit) -> Path:
        """A file without rows."""
        pa = pyarrow()
        columns = [(name, parse_type(text)) for name, text in commit.schema_text.items()]
        if not columns:
            raise ValidationError("a commit without rows needs columns, and none are known", hint="declare a schema")
        path = self._local.table.staging / "part-empty.parquet"
        self._local.open_file(str(path), pa.schema(columns)).finish()
        return path

    def _noted(self, commit: Commit, quarantine: tuple[str, ...], size: int, more: dict[str, object]) -> Commit:
        details = {**commit.details, **more}
        return commit.model_copy(update={"quarantine": quarantine, "bytes_written": size, "details": details})

    def _put_quarantine(self, commit: Commit, uploaded: list[str]) -> tuple[str, ...]:
        folder = f"{self.root}.quarantine/{commit.seq:020d}-{quoted(self._local.table.attempt)}"
        paths = sorted(self._local.table.quarantine_staging.rglob("*.parquet"))
        return self._put_own({f"{folder}/{quoted(path.name)}": path for path in paths}, uploaded)

    def _put_own(self, paths: dict[str, Path], uploaded: list[str]) -> tuple[str, ...]:
        """Put objects whose names nobody else has; one that is there is ours, of a try whose answer was lost."""
        assert self._request is not None, "open() comes first"
        uploaded += paths
        with ThreadPoolExecutor(max(1, self._request.parallelism), "put") as pool:
            puts = [pool.submit(self._put_file, uri, path) for uri, path in paths.items()]
            try:
                for put in puts:
                    put.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return tuple(paths)

    def _put_file(self, uri: str, path: Path) -> None:
        self._files.put(uri, path.read_bytes())

    def _swap(
        self,
        uri: str,
        record: Commit,
        data: bytes,
        base: tuple[RemoteFile, Commit] | None,
        uploaded: list[str],
    ) -> Commit:
        try:
            written = self._files.put(uri, data, instead_of=base[0] if base else None)
        except TransientError:
            # The answer is lost, not always the object: what is there tells.
            found = self._files.exists(uri)
            there = None if found is None else self._table.record(found)
            if there is None or there.seq < record.seq:
                raise
            written = there.run_id == record.run_id
        if not written:
            found = self._files.exists(uri)
            winner = None if found is None else self._table.record(found)
            if winner is None or winner.run_id != record.run_id:
                raise conflict(record, winner, "the object that has it can't be read")
            # Where it is another attempt of this run, its rows count, not these.
            named = {*winner.quarantine, *(f"{self.root}/{name}" for name in winner.files)}
            self._files.delete([put for put in uploaded if put not in named])
            record = winner
        self._local.abort()
        if len(record.files) > 1:
            note = f"commit {record.seq} is {len(record.files)} objects: who lists {self.root} may have seen some before others"
            self.notes = (f"{note}; writers iceberg and delta show all at once",)
        return record

    def maintain(self, request: MaintainRequest) -> MaintainReport:
        newest = self._newest()
        if newest is None:
            return MaintainReport(notes=("nothing is committed yet",))
        left = self._table.leftovers(newest)
        if not request.dry_run:
            self._files.delete(left)
        note = "objects can't be joined in one step"
        if newest[1].details.get("in_place"):
            note = "the table is one object"
        return MaintainReport(orphans=len(left), notes=(f"files stay as they are: {note}",))

    def cancel(self) -> None:
        self._local.cancel()

    def abort(self) -> None:
        self._local.abort()

    def close(self) -> None:
        self._local.close()
        with suppress(OSError):
            os.removedirs(self._local.table.root.parent)
