"""Writers of a lake's tables: delivery is here, a subclass only knows its table format.

A run's rows go into Parquet files of the table's own folder that nothing names yet. Its commit is one swap of the table's
version, by the format's own means: the files and the record get in together, or neither does.

1. load the table, and see that the job's newest record is the one that the run began with;
2. swap to the next version, which only succeeds from the version just loaded: whoever is late has lost;
3. lost to another job's commit: back to 1. Lost the answer: the record tells, as it does in 1.

Rejected rows are files as well: the record names them, so they count with it. Only then the table `<table>_quarantine`
takes them in, by the same kind of swap; where a run dies before it, the next one does it.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import threading
import time
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from dativo_plugin_sdk import (
    AssetDefinition,
    BaseWriter,
    Checkpoint,
    Commit,
    Committable,
    ConfigurationError,
    ConnectionTestResult,
    DativoError,
    MaintainReport,
    MaintainRequest,
    Options,
    PluginError,
    Snapshot,
    SplitWriter,
    TargetConfig,
    TransientError,
    ValidationError,
    WriteRequest,
    WriteTask,
)
from dativo_plugin_sdk.arrow import as_schema, parse_type, schema_text
from dativo_plugin_sdk.partition_rows import PartitionSelection
from dativo_plugin_sdk.records import conflict
from dativo_plugin_sdk.staged_rows import StagedRows, reread, staged_batches, staged_schema

from ._lake_files import LakeOptions, PartFiles, StagedFiles, reread_files, staged_columns, staged_files
from ._lake_maintain import LakeMaintenance
from ._lake_merge import ORDER, NewRows, merge, read_file
from ._lake_partitions import take_out
from ._lake_run import RunFiles
from ._lake_table import KEPT_IN_VIEW, Change, Fit, LakeFile, LakeStore, LakeTable, Layout, MovedError

_TRIES = 50
_PAUSE_S = 0.05
Kind = Literal["data", "quarantine"]


class LakeWriter(BaseWriter):
    """Level 3 over one table of a lake. A subclass gives `store`."""

    Options: ClassVar[type[Options]] = LakeOptions
    modes: ClassVar[frozenset[str]] = frozenset({"append", "overwrite", "merge"})
    quarantines: ClassVar[bool] = True
    replaces_partitions: ClassVar[frozenset[str]] = frozenset({"append", "overwrite"})
    writes_empty: ClassVar[bool] = True
    resumes: ClassVar[bool] = True
    rereads: ClassVar[bool] = True

    def __init__(self, asset_definition: AssetDefinition, target_config: TargetConfig, output_base: str = "") -> None:
        super().__init__(asset_definition, target_config, output_base)
        if target_config.mode == "merge" and not target_config.keys:
            raise ConfigurationError("mode merge needs target.keys", hint="name the columns that tell rows apart")
        self._stores: dict[str, LakeStore] = {"data": self.store(""), "quarantine": self.store("_quarantine")}
        key = hashlib.sha256(self._main.name.encode()).hexdigest()[:16]
        folder = Path(target_config.root) / ".dativo" / "staging" / f"{self._main.format}-{key}"
        self._run = RunFiles(folder, self._stores, self._job)
        self._request: WriteRequest | None = None
        self._seen: LakeTable | None = None
        self._layouts: dict[str, Layout] = {}
        self._guard = threading.Lock()

    def store(self, suffix: str) -> LakeStore:
        """The table of the target, or the one beside it whose name has a suffix."""
        raise PluginError(f"writer {type(self).__name__} has no store()")

    @property
    def _main(self) -> LakeStore:
        return self._stores["data"]

    @property
    def _job(self) -> str:
        return self.target_config.job or self.asset_definition.name

    def _load(self) -> LakeTable | None:
        with self._main.errors():
            return self._main.load()

    def _look(self) -> LakeTable | None:
        """The table as it is now, for who reads its records and lets a commit load it anew."""
        with self._main.errors():
            self._seen = self._main.load() if self._seen is None else self._main.again(self._seen)
        return self._seen

    # -- records ---------------------------------------------------------------------------------------------------

    def last_commit(self) -> Commit | None:
        table = self._look()
        return None if table is None else table.last(self._job)

    def history(self) -> Sequence[Commit]:
        table = self._load()
        return () if table is None else tuple(reversed(list(itertools.islice(table.history(self._job), KEPT_IN_VIEW))))

    def commit_of(self, run_id: str) -> Commit | None:
        table = self._look()
        return None if table is None else table.commit_of(self._job, run_id)

    def commit_of_file(self, path: str) -> Commit | None:
        found = super().commit_of_file(path)
        table = self._load() if found is None else None
        joined = () if table is None else table.joined()
        return found or next((commit for commit in joined if PurePosixPath(path).name in commit.files), None)

    def snapshot(self) -> Snapshot | None:
        table = self._load()
        last = None if table is None else table.last(self._job)
        if table is None or last is None:
            return None
        with self._main.errors():
            files = table.files()
        return Snapshot(
            seq=last.seq,
            uri=self._main.name,
            format="parquet",
            files=tuple(file.path.removeprefix("file://") for file in files),
            rows=sum(file.rows for file in files),
            bytes=sum(file.bytes for file in files),
            schema_text=schema_text(table.columns),
        )

    def check_connection(self) -> ConnectionTestResult:
        table = self._load()
        there = "is not made yet" if table is None else f"is at version {table.version}"
        return ConnectionTestResult(True, f"{self._main.name} {there}")

    # -- one run ---------------------------------------------------------------------------------------------------

    def open(self, request: WriteRequest) -> None:
        self._request = request
        self._layouts.clear()
        self._run.end()
        table = self._seen or self._load()  # what happened since, the commit will meet
        self._seen = table
        key = None
        if request.resume_key is not None:  # how files have to look is the version's
            key = f"{request.resume_key} {'' if table is None else table.version}"
        self._run.sweep(self._load, key)
        self._settle_rejects(None if table is None else table.last(self._job))
        self._run.open(request.run_id, key)

    def finished(self, splits: Container[str]) -> Sequence[Checkpoint]:
        return self._run.finished(splits)

    def reread(self, item: Committable, columns: Sequence[str]) -> Iterator[Any]:
        if self._merges:
            return reread(self._run.folder / str(item.payload["file"]), columns)
        return reread_files(self._main, item, columns)

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        self._run.checkpoint(checkpoint)

    def suspend(self) -> None:
        self._run.leave()

    def writer(self, task: WriteTask) -> SplitWriter:
        assert self._request is not None, "open() comes first"
        if task.kind == "data" and self._merges:
            return StagedRows(self._run.folder, task)
        schema, constants = as_schema(task.schema), {}
        if task.kind == "quarantine":
            constants = {"_dativo_seq": self._request.base_seq + 1, "_dativo_run_id": self._request.run_id}
            schema = pa.schema([*schema, ("_dativo_seq", pa.int64()), ("_dativo_run_id", pa.string())])
        with self._guard:
            layout = self._layouts.get(task.kind)
            if layout is None:
                layout = self._layouts[task.kind] = self._layout(task.kind, schema)
        return StagedFiles(self._parts(task.kind, layout, f"{task.index:04d}"), task.kind, layout, constants)

    def _layout(self, kind: Kind, schema: pa.Schema) -> Layout:
        assert self._request is not None
        store = self._stores[kind]
        seen = self._seen if kind == "data" else None
        for _ in range(_TRIES):
            with suppress(MovedError), store.errors():  # somebody else makes the table just now
                table, seen = seen or store.load(), None
                last = None if table is None or kind == "quarantine" else table.last(self._job)
                mode = self._mode(self._request.mode) if kind == "data" else "append"
                return store.layout(table, schema, Fit(mode, schema_text(schema), last))
        raise _overtaken(store)

    def _mode(self, mode: str) -> str:
        """How rows meet the table's: a merge that is loaded anew merges with nothing."""
        anew = self._request is not None and self._request.full_refresh
        if mode == "overwrite" and self.options.overwrite == "partitions" and not self._merges and not anew:
            return "partitions"
        return "merge" if mode != "overwrite" and self._merges else mode

    @property
    def _replaces(self) -> PartitionSelection | None:
        return None if self._request is None else self._request.replaces

    @property
    def _merges(self) -> bool:
        return self.target_config.mode == "merge"

    def _parts(self, kind: Kind, layout: Layout, label: str) -> PartFiles:
        budget = self._request.memory_bytes // max(1, self._request.parallelism) if self._request else 64 << 20
        names = self._run.names(kind, layout.folder, label)
        return PartFiles(self._stores[kind], layout, names, self.options, budget)

    # -- the commit ------------------------------------------------------------------------------------------------

    def commit(self, committables: Sequence[Committable], commit: Commit) -> Commit:
        sent = self._seen = None
        above = self._request.base_seq if self._request is not None else 0
        for _ in range(_TRIES):
            table = self._load()
            version = "" if table is None else table.version
            if version != sent:
                self._run.unsure = False  # what was sent before is in, or fenced off
            done = None if table is None else table.commit_of(self._job, commit.run_id, above)
            if done is not None:
                return self._landed(done, table)
            last = None if table is None else table.last(self._job)
            if (0 if last is None else last.seq) != commit.seq - 1:
                raise conflict(commit, last, "its commits are gone")
            try:
                change = self._change(table, last, committables, commit)
                sent = version
                self._run.note_swap(version)
                with self._main.errors():
                    self._main.swap(table, change)
            except MovedError:
                time.sleep(random.uniform(0, _PAUSE_S))
                continue
            return self._landed(change.commit)
        raise _overtaken(self._main)

    def _landed(self, commit: Commit, table: LakeTable | None = None) -> Commit:
        """Let go of a run whose commit is in; `table` shows it, where an earlier try of it was the one."""
        self._run.landed(commit, table)
        with suppress(DativoError, MovedError):  # the next run's open() does it
            self._settle_rejects(commit)
        return commit

    def _change(
        self, table: LakeTable | None, last: Commit | None, committables: Sequence[Committable], commit: Commit
    ) -> Change:
        staged = {kind: [c for c in committables if c.kind == kind] for kind in ("data", "quarantine")}
        mode = self._mode(commit.mode)
        if not committables and self._replaces is None:
            change = self._unchanged(table, commit)
        elif staged["data"] and self._merges:
            change = self._merge(table, last, staged["data"], commit)
        else:
            schema = staged_columns(staged["data"]) if staged["data"] else _columns_of(commit)
            fit = Fit(mode, commit.schema_text or schema_text(schema), last)
            with self._main.errors():
                layout = self._main.layout(table, schema.remove_metadata(), fit)
                self._check_planned(layout, staged["data"])
                change = self._replace(table, fit, layout, staged_files(staged["data"]), commit)
        rejected = tuple(file.path.removeprefix("file://") for file in staged_files(staged["quarantine"]))
        names = tuple(PurePosixPath(file.path).name for file in change.added)
        record = change.commit.model_copy(update={"files": names, "quarantine": rejected})
        return Change(change.layout, record, change.added, change.removed, change.replaces)

    def _unchanged(self, table: LakeTable | None, commit: Commit) -> Change:
        """The record alone."""
        schema = _columns_of(commit) if table is None else table.columns
        if not schema.names:
            raise ConfigurationError(
                f"{self._main.name} is not made yet, so nothing can hold a cursor", hint="run the job first"
            )
        with self._main.errors():
            return Change(self._main.layout(table, schema, Fit("append", schema_text(schema))), commit)

    def _check_planned(self, layout: Layout, staged: list[Committable]) -> None:
        for item in staged:
            if item.payload["files"] and not staged_columns([item]).equals(layout.schema, check_metadata=True):
                self._run.keep_to_itself()
                raise TransientError(
                    f"the columns of {self._main.name} were changed while the run wrote", hint="run the job again"
                )

    def _replace(
        self, table: LakeTable | None, fit: Fit, layout: Layout, added: list[LakeFile], commit: Commit
    ) -> Change:
        """The change of an append or an overwrite."""
        removed: list[LakeFile] = []
        if table is not None and fit.mode == "overwrite":
            removed = table.files()
        elif fit.mode == "partitions":
            if not layout.parts:
                raise ConfigurationError("options.overwrite: partitions needs target.partition_by")
            touched = {file.partition for file in added}
            if table is not None and touched:
                table.check_rewritable()
                removed = [file for file in table.files() if file.partition in touched]
        elif table is not None and self._replaces is not None:
            table.check_rewritable()
            whole = self._whole(table, layout, fit)
            parts = self._parts("data", whole, f"kept-{random.randrange(1 << 32):08x}")
            removed = take_out(
                self._main, table, self._replaces, whole.schema.remove_metadata(), parts, all_of=layout.rewrites
            )
            added = [*added, *parts.finish()]
        elif table is not None and layout.rewrites:
            table.check_rewritable()
            removed = table.files()
            whole = self._whole(table, layout, fit)
            parts = self._parts("data", whole, f"kept-{random.randrange(1 << 32):08x}")
            for file in removed:
                for batch in read_file(self._main, table, file, whole.schema):
                    parts.write(batch)
            added = [*added, *parts.finish()]
        return Change(layout, commit, tuple(added), tuple(removed), fit.replaces)

    def _whole(self, table: LakeTable, layout: Layout, fit: Fit) -> Layout:
        """How rows look that are copied from the table: all of its columns, in the types that they have now."""
        new = {field.name: field for field in layout.schema.remove_metadata()}
        fields = [new.pop(field.name, field) for field in table.columns]
        return self._main.layout(table, pa.schema([*fields, *new.values()]), fit)

    def _merge(self, table: LakeTable | None, last: Commit | None, staged: list[Committable], commit: Commit) -> Change:
        raw = staged_schema(self._run.folder, staged)
        deletes = self.options.delete_column
        for where, names in {"target.keys": self.target_config.keys, "options.delete_column": (deletes,)}.items():
            for name in names:
                if name is not None and name not in raw.names:
                    raise ValidationError(
                        f"{where} names {name!r}, which is not a column of the data",
                        hint=f"columns are: {', '.join(raw.names)}",
                    )
        landing = raw.remove(raw.get_field_index(deletes)) if deletes else raw
        fit = Fit(self._mode(commit.mode), commit.schema_text or schema_text(raw), last, deletes)
        with self._main.errors():
            layout = self._main.layout(table, landing, fit)
            there = None if fit.replaces else table
            whole = layout if there is None else self._whole(there, layout, fit)
        if there is not None:
            there.check_rewritable()
        cursor = self._request.cursor_field if self._request is not None else None
        new = NewRows(
            lambda: _read(self._run.folder, staged, raw),
            self.target_config.keys,
            cursor if cursor in landing.names else None,
            deletes,
            unique=self.options.duplicate_keys == "error",
        )
        label = f"{random.randrange(1 << 32):08x}"
        numbers = itertools.count()
        done = merge(
            self._main,
            there,
            new,
            kept=lambda: self._parts("data", whole, f"kept-{label}-{next(numbers)}"),
            landing=self._parts("data", layout, f"new-{label}"),
            columns=whole.schema,
            everything=layout.rewrites,
            threads=max(1, self._request.parallelism if self._request else 1),
        )
        details = {**commit.details, "merge": {"superseded": done.superseded, "deleted": done.deleted}}
        removed = table.files() if table is not None and fit.replaces else done.removed
        record = commit.model_copy(update={"details": details})
        return Change(layout, record, done.added, tuple(removed), fit.replaces)

    # -- rejected rows ---------------------------------------------------------------------------------------------

    def _settle_rejects(self, commit: Commit | None) -> None:
        """Let the table of rejected rows have what a commit names, if it has not."""
        store = self._stores["quarantine"]
        while commit is not None and commit.quarantine:
            with store.errors():
                table = store.load()
                last = None if table is None else table.last(self._job)
                if last is not None and last.seq >= commit.seq:
                    return
                footers = [_footer(store, path) for path in commit.quarantine]
                schema = footers[0].schema.to_arrow_schema().remove_metadata()
                schema = pa.schema([field.remove_metadata() for field in schema])
                named = zip(commit.quarantine, footers, strict=True)
                files = tuple(LakeFile(path, (), footer.num_rows) for path, footer in named)
                with suppress(MovedError):
                    layout = store.layout(table, schema, Fit("append", schema_text(schema)))
                    store.swap(table, Change(layout, commit, files))
                    return
            time.sleep(random.uniform(0, _PAUSE_S))

    def maintain(self, request: MaintainRequest) -> MaintainReport:
        table = self._load()
        if not request.dry_run:
            self._settle_rejects(None if table is None else table.last(self._job))
        return LakeMaintenance(self._stores, self._run, self.options, request).report()

    def abort(self) -> None:
        self._run.end()

    def close(self) -> None:
        self._run.close()


def _read(folder: Path, staged: list[Committable], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    yield from staged_batches(folder, staged, schema, number=ORDER)


def _columns_of(commit: Commit) -> pa.Schema:
    return pa.schema([(name, parse_type(text)) for name, text in commit.schema_text.items()])


def _overtaken(store: LakeStore) -> TransientError:
    return TransientError(f"{store.name} changes all the time: {_TRIES} tries of one step were overtaken")


def _footer(store: LakeStore, path: str) -> pq.FileMetaData:
    with store.input(path) as stream:
        return pq.read_metadata(stream)
