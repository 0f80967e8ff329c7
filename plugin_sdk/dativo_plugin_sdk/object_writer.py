"""Parquet tables in object stores, where nothing can be renamed: the put of one object is the commit.

    <path>/00000000000000000007.parquet           commit 7: its last rows, and in its footer the record with the cursor
    <path>/00000000000000000007-<attempt>-0.parquet   more rows of it, where it is too large for one object

The name is the compare-and-swap: an object is put only where there is none. Of a commit that is one object a plain glob
sees all or nothing. Of more, a plain glob may see some before the commit, and those of a dead run until `dativo maintain`;
who reads the records sees it whole. A table that began with an overwrite is one object, replaced in place, version by
version.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from .arrow import parse_type, pyarrow
from .directory_view import totals
from .directory_writer import DirectoryWriter
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
from .parquet_compact import join_files
from .parquet_footer import with_metadata
from .records import conflict, owned, parse_record
from .remote import RemoteFile, RemoteFiles
from .writer import BaseWriter, SplitWriter

KEY = "dativo"
"""The record's key in a footer."""

OBJECT_BYTES = 64 << 20
"""How large an object becomes by itself; it is held in memory while it is put."""

_IN_VIEW = 1000
_RETRIED_COMMITS = 20
_WAY_OUT = "use writer iceberg or delta, which can"


class ObjectWriter(BaseWriter):
    """Level 3 over a prefix of an object store. local: the class that writes such files to a directory."""

    modes: ClassVar[frozenset[str]] = frozenset({"append", "overwrite"})
    quarantines: ClassVar[bool] = True
    writes_empty: ClassVar[bool] = True
    needs_path: ClassVar[bool] = True

    def __init__(
        self, asset_definition: AssetDefinition, target_config: TargetConfig, local: type[DirectoryWriter]
    ) -> None:
        self.Options = local.Options  # type: ignore[misc]
        super().__init__(asset_definition, target_config)
        self.root = (target_config.path or "").rstrip("/")
        if target_config.partition_by or getattr(self.options, "overwrite", "table") != "table":
            raise ConfigurationError(
                "a table in an object store is not divided into partitions by this writer", hint=_WAY_OUT
            )
        key = hashlib.sha256(self.root.encode()).hexdigest()[:16]
        staging = Path(target_config.root) / ".dativo" / "staging" / f"objects-{key}" / "table"
        self._local = local(asset_definition, target_config.model_copy(update={"path": str(staging)}))
        self._files = RemoteFiles({**target_config.connection, **target_config.credentials})
        self._request: WriteRequest | None = None

    # -- reading ---------------------------------------------------------------------------------------------------

    def _uri(self, seq: int) -> str:
        return f"{self.root}/{seq:020d}.parquet"

    def _record(self, file: RemoteFile) -> Commit:
        import pyarrow.parquet as pq

        pa = pyarrow()
        try:
            with pq.ParquetFile(self._files.open(file)) as found:
                return parse_record((found.metadata.metadata or {})[KEY.encode()], f"commit record in {file.uri}")
        except (KeyError, ValueError, pa.ArrowException) as error:
            raise ValidationError(
                f"{file.uri} holds no commit record that can be read",
                details={"file": file.uri},
                hint="somebody else wrote it: move it away, or choose another target.path",
            ) from error

    def _newest(self) -> tuple[RemoteFile, Commit] | None:
        """The newest commit's object, by as many questions as its sequence has binary digits, twice."""
        first = self._files.exists(self._uri(1))
        if first is None:
            return None
        low, found, step = 1, first, 1
        while (further := self._files.exists(self._uri(low + step))) is not None:
            low, found, step = low + step, further, step * 2
        while step > 1:
            step //= 2
            if (further := self._files.exists(self._uri(low + step))) is not None:
                low, found = low + step, further
        return found, self._record(found)

    def last_commit(self) -> Commit | None:
        newest = self._newest()
        last = None if newest is None else newest[1]
        return owned(last, self.target_config.job, lambda: self.options.adopt, f"target {self.root}")

    def history(self) -> Sequence[Commit]:
        return tuple(reversed(self._back(_IN_VIEW)))

    def _back(self, count: int) -> list[Commit]:
        """As many records, newest first."""
        last = self.last_commit()
        if last is None:
            return []
        found = [last]
        for seq in range(last.seq - 1, max(0, last.seq - count), -1):
            file = self._files.exists(self._uri(seq))
            if file is None:  # a table that is replaced in place
                break
            record = self._record(file)
            if record.seq != seq:
                break
            found.append(record)
        return found

    def commit_of(self, run_id: str) -> Commit | None:
        return next((record for record in self._back(_RETRIED_COMMITS) if record.run_id == run_id), None)

    def check_connection(self) -> ConnectionTestResult:
        try:
            self._files.exists(self._uri(1))
        except DativoError as error:
            return ConnectionTestResult(False, error.message, error.error_code)
        return ConnectionTestResult(True, f"{self.root} answers")

    def snapshot(self) -> Snapshot | None:
        last = self.last_commit()
        if last is None:
            return None
        records = [last] if last.details.get("in_place") else self._back(last.seq)
        names = [name for record in reversed(records) for name in record.files]
        return self._snapshot(last, names)

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
        if newest is not None:
            in_place = bool(newest[1].details.get("in_place"))
            if request.mode == "overwrite" and not in_place:
                raise ConfigurationError(
                    f"{self.root} was made by appending, and its objects can't be replaced in one step",
                    hint=f"{_WAY_OUT}, or choose a new target.path",
                )
            if request.mode == "append" and in_place:
                raise ConfigurationError(
                    f"{self.root} is one object that overwriting replaces, and can't be appended to",
                    hint="choose a new target.path, or target.mode: overwrite",
                )
        self._local.open(request)

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
        replaces = commit.mode == "overwrite"
        parts = self._parts(committables, commit)
        if replaces and len(parts) > 1:
            raise ConfigurationError(
                f"an overwrite of {self.root} is one object, and this one would be {len(parts)}",
                hint=f"raise target.options.target_file_bytes, or {_WAY_OUT}",
            )
        uploaded: list[str] = []
        try:
            quarantine = self._put_quarantine(commit, uploaded)
            names = self._put_parts(parts[:-1], commit, uploaded)
            name = self._uri(1 if replaces else commit.seq).rpartition("/")[2]
            record = self._stored(commit, last, (*names, name), quarantine, parts)
            return self._swap(record, parts[-1].read_bytes(), newest if replaces else None, uploaded)
        except TransientError:
            raise  # it may be committed, and then these are its rows
        except BaseException:
            with suppress(DativoError):
                self._files.delete(uploaded)
            raise

    def _parts(self, committables: Sequence[Committable], commit: Commit) -> list[Path]:
        """This run's rows as files that each become one object."""
        folder = self._local.table.staging
        size = self.options.target_file_bytes or OBJECT_BYTES
        paths = [folder / item.payload["file"] for item in committables if item.kind == "data"]
        small = [str(path) for path in paths if path.stat().st_size < size // 2]
        if len(small) > 1:
            joined = join_files(small, folder / "joined", "", self._local.open_file, size, lambda: None)
            paths = [path for path in paths if str(path) not in small] + [folder / "joined" / name for name in joined]
        if not paths:
            pa = pyarrow()
            columns = [(name, parse_type(text)) for name, text in commit.schema_text.items()]
            if not columns:
                raise ValidationError(
                    "a commit without rows needs columns, and none are known", hint="declare a schema"
                )
            paths = [folder / "part-empty.parquet"]
            self._local.open_file(str(paths[0]), pa.schema(columns)).finish()
        return paths

    def _stored(
        self,
        commit: Commit,
        last: Commit | None,
        files: tuple[str, ...],
        quarantine: tuple[str, ...],
        parts: list[Path],
    ) -> Commit:
        rows, size = commit.rows_written, sum(path.stat().st_size for path in parts)
        replaces = commit.mode == "overwrite"
        before = (0, 0) if last is None or replaces else totals(last) or (None, 0)
        table = {"rows": None if before[0] is None else before[0] + rows, "bytes": before[1] + size}
        details = {**commit.details, "table": table, **({"in_place": True} if replaces else {})}
        more = {"files": files, "quarantine": quarantine, "bytes_written": size, "details": details}
        return commit.model_copy(update=more)

    def _put_parts(self, parts: Sequence[Path], commit: Commit, uploaded: list[str]) -> list[str]:
        names = []
        for number, path in enumerate(parts):
            names.append(f"{commit.seq:020d}-{self._local.table.attempt}-{number:04d}.parquet")
            self._put_own(f"{self.root}/{names[-1]}", path, uploaded)
        return names

    def _put_quarantine(self, commit: Commit, uploaded: list[str]) -> tuple[str, ...]:
        folder = f"{self.root}.quarantine/{commit.seq:020d}-{self._local.table.attempt}"
        out = []
        for path in sorted(self._local.table.quarantine_staging.rglob("*.parquet")):
            out.append(f"{folder}/{quote(path.name)}")
            self._put_own(out[-1], path, uploaded)
        return tuple(out)

    def _put_own(self, uri: str, path: Path, uploaded: list[str]) -> None:
        """Put an object whose name nobody else has; one that is there is ours, of a try whose answer was lost."""
        uploaded.append(uri)
        self._files.put(uri, path.read_bytes())

    def _swap(self, record: Commit, data: bytes, base: tuple[RemoteFile, Commit] | None, uploaded: list[str]) -> Commit:
        uri = f"{self.root}/{record.files[-1]}"
        data = with_metadata(data, KEY, record.model_dump_json())
        try:
            written = self._files.put(uri, data, instead_of=base[0] if base else None)
        except TransientError:
            # The answer is lost, not always the object: what is there tells.
            found = self._files.exists(uri)
            there = None if found is None else self._record(found)
            if there is None or there.seq < record.seq:
                raise
            written = there.run_id == record.run_id
        if not written:
            found = self._files.exists(uri)
            winner = None if found is None else self._record(found)
            if winner is None or winner.run_id != record.run_id:
                raise conflict(record, winner, "the object that has it can't be read")
            if set(winner.files) != set(record.files):  # another attempt of this run: its rows, not these
                self._files.delete([uri for uri in uploaded if uri not in winner.quarantine])
            record = winner
        self._local.abort()
        return record

    def maintain(self, request: MaintainRequest) -> MaintainReport:
        last = self.last_commit()
        if last is None:
            return MaintainReport(notes=("nothing is committed yet",))
        orphans = []
        for file in self._files.find(f"{self.root}/"):
            seq, _, attempt = file.uri.rpartition("/")[2].partition("-")
            if not attempt or not seq.isdigit() or int(seq) > last.seq:
                continue  # a commit's own object, or one of a run that may still commit
            owner = self._files.exists(self._uri(int(seq)))
            if owner is not None and file.uri.rpartition("/")[2] not in self._record(owner).files:
                orphans.append(file.uri)
        if not request.dry_run:
            self._files.delete(orphans)
        return MaintainReport(
            orphans=len(orphans), notes=("files stay as they are: objects can't be joined in one step",)
        )

    def cancel(self) -> None:
        self._local.cancel()

    def abort(self) -> None:
        self._local.abort()

    def close(self) -> None:
        self._local.close()
        with suppress(OSError):
            os.removedirs(self._local.table.root.parent)
