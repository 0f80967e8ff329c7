"""Writers of Parquet files: what needs rows to be read again is here, a subclass only writes a file."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from .directory_view import totals
from .directory_writer import DirectorySplitWriter, DirectoryWriter
from .errors import CancelledError, ConfigurationError
from .models import (
    AssetDefinition,
    Commit,
    Committable,
    MaintainReport,
    MaintainRequest,
    TargetConfig,
    WriteRequest,
    WriteTask,
)
from .partition_rows import PartitionSelection
from .posix import fsync
from .remote import is_remote
from .writer import BaseWriter, SplitWriter

if TYPE_CHECKING:
    from .parquet_merge import Merged

COMPACTED_FILE_BYTES = 128 << 20
"""How large files become that are joined."""

MERGED_FILE_BYTES = 32 << 20
"""Where a merge may rewrite any file, files end at this size by themselves."""


class ParquetDirectoryWriter(DirectoryWriter):
    """Level 3 over a local directory of Parquet files. A subclass gives `open_file`, and options that are MergeOptions."""

    extension: ClassVar[str] = "parquet"
    modes: ClassVar[frozenset[str]] = frozenset({"append", "overwrite", "merge"})
    rereads: ClassVar[bool] = True
    replaces_partitions: ClassVar[frozenset[str]] = frozenset({"append", "overwrite"})

    def __init__(self, asset_definition: AssetDefinition, target_config: TargetConfig, output_base: str = "") -> None:
        super().__init__(asset_definition, target_config, output_base)
        self._merges = target_config.mode == "merge"
        self._stop = threading.Event()
        if self._merges and not target_config.keys:
            raise ConfigurationError("mode merge needs target.keys", hint="name the columns that tell rows apart")

    @classmethod
    def at(cls, asset_definition: AssetDefinition, target_config: TargetConfig) -> BaseWriter:
        if target_config.path and is_remote(target_config.path):
            from .object_writer import ObjectWriter  # what few need

            return ObjectWriter(asset_definition, target_config, cls)
        return cls(asset_definition, target_config)

    def writer(self, task: WriteTask) -> SplitWriter:
        if self._merges and task.kind == "data":
            from .staged_rows import StagedRows  # of no use to a run that only adds rows

            return StagedRows(self.table.incoming, task, compression=None)
        return super().writer(task)

    def _staged(self, item: Committable) -> Path:
        if self._merges and item.kind == "data":
            return self.table.incoming / str(item.payload["file"])
        return super()._staged(item)

    def reread(self, item: Committable, columns: Sequence[str]) -> Iterator[Any]:
        if self._merges:
            from .staged_rows import reread

            yield from reread(self._staged(item), columns)
            return
        import pyarrow.parquet as pq

        with pq.ParquetFile(self._staged(item)) as file:
            yield from file.iter_batches(columns=list(columns), use_threads=False)

    def commit(self, committables: Sequence[Committable], commit: Commit) -> Commit:
        replaces = None if self._request is None else self._request.replaces
        if replaces is not None:
            files = tuple(str(item.payload["file"]) for item in committables if item.kind == "data")
            return self.in_turn(commit, lambda due: self._replace(replaces, files, due))
        if not self._merges:
            return super().commit(committables, commit)
        return self.in_turn(commit, lambda due: self._merge(committables, due))

    def _merge(self, committables: Sequence[Committable], commit: Commit) -> Commit:
        _, commits, present = self.table.version()
        replaces = commit.mode == "overwrite"
        merged, commit = self.merge_into(() if replaces else present, committables, commit)
        names = [os.path.relpath(path, self.table.staging) for path in sorted(merged.new)]
        if replaces:
            record = commit.model_copy(update={"files": tuple(names)})
            return self.table.commit(record, table=(merged.rows_added - merged.rows_removed, commit.bytes_written))
        before = (totals(commits[-1]) or self.table.summed())[0] if commits else 0
        rows = None if before is None else before + merged.rows_added - merged.rows_removed
        return self.exchange(commit, names, merged.removed, rows)

    def merge_into(
        self, present: Sequence[str], committables: Sequence[Committable], commit: Commit
    ) -> tuple[Merged, Commit]:
        """Merge this run's rows into a table's files. Returns: what became of it, new files in the staging folder, and the
        record with what it says of that.
        """
        from .parquet_merge import MergeRule, ParquetMerge, merged_schema, slices

        staged = [self._staged(item) for item in committables if item.kind == "data"]
        request = self._request
        assert request is not None, "open() comes first"
        folder = self.table.staging
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        keys = self.target_config.keys
        rule = MergeRule(
            keys,
            cursor=request.cursor_field,
            deletes=self.options.delete_column,
            unique=self.options.duplicate_keys == "error",
            in_place=not self._partitions,
        )
        counter = iter(range(1 << 30))

        def insert(rows: Any) -> list[str]:
            task = WriteTask(next(counter), schema=rows.schema)
            split = DirectorySplitWriter(self, folder, task, self._partitions, MERGED_FILE_BYTES)
            try:
                for batch in rows.to_batches():
                    split.write(batch)
                return [str(folder / item.payload["file"]) for item in split.finish()]
            except BaseException:
                split.abort()
                raise

        merge = ParquetMerge(
            rule,
            present,
            folder,
            self.open_file,
            insert,
            threads=request.parallelism,
            check=self.check_cancelled,
        )
        for rows in slices(staged, keys, request.memory_bytes):
            merge.add(rows)
        merged = merge.merged
        if not merged.files and staged:
            path = str(folder / f"part-0000-0000.{self.extension}")
            self.open_file(path, merged_schema(staged[0], self.options.delete_column)).finish()
            merged.new.add(path)
        details = {"superseded": merged.superseded}
        if rule.deletes is not None:
            details["deleted"] = merged.deleted
        return merged, commit.model_copy(
            update={
                "bytes_written": sum(os.stat(path).st_size for path in merged.new),
                "details": {**commit.details, "merge": details},
            }
        )

    def _replace(self, replaces: PartitionSelection, files: tuple[str, ...], commit: Commit) -> Commit:
        """Commit files in place of the rows of some partitions."""
        from .parquet_replace import without

        kept = self.table.staging / "kept"
        shutil.rmtree(kept, ignore_errors=True)
        folder, commits, present = self.table.version()
        removed, new = set[str](), list[str]()
        gone = 0
        for path in present:
            self.check_cancelled()
            inside = Path(*Path(path).relative_to(folder).parts[1:])
            target = kept / f"{len(removed)}" / inside.name
            found = without(path, replaces, target, self.open_file)
            if found is None:
                continue
            removed.add(path)
            gone += found
            if target.exists():
                # Beside the run's own files of the same partition of the directory.
                name = inside.parent / f"part-kept-{len(removed):04d}.{self.extension}"
                (self.table.staging / inside.parent).mkdir(parents=True, exist_ok=True)
                os.replace(target, self.table.staging / name)
                fsync(self.table.staging / name)
                new.append(str(name))
        shutil.rmtree(kept, ignore_errors=True)
        size = sum(os.stat(self.table.staging / name).st_size for name in (*files, *new))
        before = (totals(commits[-1]) or self.table.summed())[0] if commits else 0
        rows = None if before is None else before - gone + commit.rows_written
        record = commit.model_copy(update={"bytes_written": size})
        return self.exchange(record, (*files, *new), removed, rows)

    def compact(self, request: MaintainRequest) -> MaintainReport:
        from .parquet_compact import join_files, small_files

        last = self.last_commit()
        if last is None:
            return MaintainReport(notes=("nothing is committed yet",))
        size = request.target_file_bytes or self.options.target_file_bytes or COMPACTED_FILE_BYTES
        folder, _, files = self.table.version()
        groups = small_files(folder, files, size)
        count = sum(map(len, groups.values()))
        if request.dry_run or not groups:
            return MaintainReport(files_compacted=count)
        self.open(WriteRequest(request.job, request.run_id, last.seq, memory_bytes=request.memory_bytes))
        names: list[str] = []
        for partition, paths in groups.items():
            names += join_files(paths, self.table.staging, partition, self.open_file, size, self.check_cancelled)
        record = last.model_copy(
            update={
                "seq": last.seq + 1,
                "run_id": request.run_id,
                "mode": "compact",
                "rows_read": 0,
                "rows_written": 0,
                "rows_rejected": 0,
                "bytes_written": sum(os.stat(self.table.staging / name).st_size for name in names),
                "quarantine": (),
                "committed_at": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
                "details": {"compacted": {"files": count, "into": len(names)}},
            }
        )
        removed = {path for paths in groups.values() for path in paths}
        commit = self.exchange(record, names, removed, (totals(last) or self.table.summed())[0])
        return MaintainReport(count, len(names), commit=commit)

    def count_rows(self, path: str) -> int | None:
        import pyarrow.parquet as pq

        return int(pq.read_metadata(path).num_rows)

    def cancel(self) -> None:
        super().cancel()
        self._stop.set()

    def abort(self) -> None:
        super().abort()
        self._stop.clear()  # a read that starts over stops what writes, and goes on with this writer

    def check_cancelled(self) -> None:
        """Raises: CancelledError: once `cancel` was called."""
        if self._stop.is_set():
            raise CancelledError("the merge was cancelled")
