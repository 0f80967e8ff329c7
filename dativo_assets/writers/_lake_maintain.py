"""What `dativo maintain` does to a lake's table: small files joined, expired versions and files without an owner removed.

Joining is a step of the table and none of a job's sequence: a run that began before it commits after it, on top of it.
Who reads an older version keeps its files for as long as `--keep` says.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
from dativo_plugin_sdk import Commit, ConfigurationError, MaintainReport, MaintainRequest, ValidationError

from ._lake_files import LakeOptions, PartFiles
from ._lake_merge import read_file
from ._lake_run import RunFiles
from ._lake_table import Change, Fit, LakeFile, LakeStore, LakeTable, MovedError

_TRIES = 20


class LakeMaintenance:
    """One call of `maintain` on a table and the table of its rejected rows."""

    def __init__(
        self, stores: Mapping[str, LakeStore], run: RunFiles, options: LakeOptions, request: MaintainRequest
    ) -> None:
        self._stores, self._run, self._options, self._request = stores, run, options, request
        self._size_bytes = request.target_file_bytes or options.target_file_bytes
        self._compacted = self._written = 0
        self._commit: Commit | None = None
        self._notes: list[str] = []

    def report(self) -> MaintainReport:
        """Do it, and tell what was done."""
        main = self._stores["data"]
        table = _loaded(main)
        if table is None:
            return MaintainReport(notes=("nothing is committed yet",))
        orphans, versions, dry_run = self._run.dead(), 0, self._request.dry_run
        if not dry_run:
            self._run.sweep(lambda: _loaded(main))
        for kind, store in self._stores.items():
            if (table := _loaded(store)) is None:
                continue
            self._join(kind, store, table)
            with store.errors():
                expired, note = store.expire(self._request.keep_s, dry_run=dry_run)
                orphans += self._remove_orphans(kind, store)
            versions += expired
            self._notes += [note] if note else []
        return MaintainReport(
            self._compacted, self._written, versions, orphans, self._commit, tuple(dict.fromkeys(self._notes))
        )

    def _remove_orphans(self, kind: str, store: LakeStore) -> int:
        kept = self._run.noted()
        if kind == "quarantine" and (table := _loaded(self._stores["data"])) is not None:
            last = table.last(self._request.job)  # the table beside may not have taken them in yet
            kept |= frozenset(PurePosixPath(path).name for path in (() if last is None else last.quarantine))
        found = [path for path in store.orphans(self._request.keep_s) if PurePosixPath(path).name not in kept]
        for path in () if self._request.dry_run else found:
            store.remove(path)
        return len(found)

    # -- small files -----------------------------------------------------------------------------------------------

    def _join(self, kind: str, store: LakeStore, table: LakeTable) -> None:
        try:
            with store.errors():
                table.check_rewritable()
                groups = self._small(table)
                count = sum(map(len, groups.values()))
                if self._request.dry_run or not groups:
                    self._compacted += count
                    return
                self._run.open(self._request.run_id)
                self._swap(kind, store, table, groups)
        except (ValidationError, ConfigurationError) as error:
            self._notes.append(f"files stay as they are: {error.message}")
        finally:
            self._run.end()

    def _small(self, table: LakeTable) -> dict[tuple[Any, ...], list[LakeFile]]:
        """{partition: files of less than half the size}, where it has more than one."""
        found = defaultdict(list)
        for file in table.files():
            if file.bytes < self._size_bytes // 2:
                found[file.partition].append(file)
        return {partition: files for partition, files in found.items() if len(files) > 1}

    def _swap(
        self, kind: str, store: LakeStore, table: LakeTable, groups: dict[tuple[Any, ...], list[LakeFile]]
    ) -> None:
        fit = Fit("append", {})
        layout = store.layout(table, table.columns, fit)
        options = self._options.model_copy(update={"target_file_bytes": self._size_bytes})
        names = self._run.names(kind, layout.folder, f"joined-{random.randrange(1 << 32):08x}")
        parts = PartFiles(store, layout, names, options, self._request.memory_bytes)
        paths = set()
        try:
            for partition, files in groups.items():
                for file in sorted(files, key=lambda file: file.path):
                    paths.add(file.path)
                    for batch in read_file(store, table, file, layout.schema):
                        parts.write_to(partition, batch)
            added = tuple(parts.finish())
        finally:
            parts.abort()
        record = self._record(table, len(paths), added)
        columns = pa.schema(table.columns)
        for _ in range(_TRIES):
            removed = tuple(file for file in table.files() if file.path in paths)
            if len(removed) < len(paths) or not table.columns.equals(columns):
                break
            layout = store.layout(table, columns, fit)
            self._run.note_swap(table.version)
            try:
                store.swap(table, Change(layout, record, added, removed, joins=True))
            except MovedError:
                self._run.unsure = False
                if (again := _loaded(store)) is None:
                    break
                table = again
                continue
            self._run.landed(record, _loaded(store))
            self._compacted += len(paths)
            self._written += len(added)
            self._commit = record if kind == "data" else self._commit
            return
        self._notes.append(f"files of {store.name} stay as they are: a run replaced some of them meanwhile")

    def _record(self, table: LakeTable, count: int, added: tuple[LakeFile, ...]) -> Commit:
        last = table.last(self._request.job)
        return Commit(
            job=self._request.job,
            seq=0 if last is None else last.seq,
            run_id=self._request.run_id,
            mode="compact",
            cursor=None if last is None else last.cursor,
            bytes_written=sum(file.bytes for file in added),
            files=tuple(PurePosixPath(file.path).name for file in added),
            committed_at=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            details={"compacted": {"files": count, "into": len(added)}},
        )


def _loaded(store: LakeStore) -> LakeTable | None:
    with store.errors():
        return store.load()
