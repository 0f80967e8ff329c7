"""What a writer plugin subclasses.

Level 1: write `write_batch` (rows in, files out under `output_base`) and, if needed, `commit_files`.
Level 2: write `write(batch)` over Arrow. Level 3: override `open`, `writer`, `commit`, `abort`, `last_commit`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from .deferred import deferred, options_of
from .errors import PluginError
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
from .version import API_VERSION, ApiVersions

if TYPE_CHECKING:
    from .options import Options


class SplitWriter(ABC):
    """One worker's writer: used by one thread, for as many splits as that worker gets."""

    @abstractmethod
    def write(self, batch: Any) -> None:
        """Take one record batch (`__arrow_c_array__`), in the schema of the WriteTask."""

    @abstractmethod
    def finish(self) -> Sequence[Committable]:
        """Make what was written durable and describe it. Nothing is visible until the commit."""

    def abort(self) -> None:
        """Drop what was written. Must not raise for what is already gone."""

    def cancel(self) -> None:
        """Called from another thread when the run stops: a `write` under way should end soon."""


class BaseWriter:
    """A target. One instance serves one run.

    asset_definition: name and columns of what is written. target_config: what the job says, connections resolved.
    output_base: where a level-1 writer leaves its files (this run's staging folder); empty for other levels.
    """

    __version__: ClassVar[str] = "1.0.0"
    api_version: ClassVar[ApiVersions] = API_VERSION
    """The version of the plugin API that it was made for, or (oldest, newest) that it works with."""
    Options: ClassVar[type[Options]] = deferred("dativo_plugin_sdk.options:Options")
    modes: ClassVar[frozenset[str]] = frozenset({"append", "overwrite"})
    """The modes this writer can do; a job that asks for another is refused when it is bound."""
    quarantines: ClassVar[bool] = False
    """Whether it takes WriteTask(kind="quarantine")."""
    writes_empty: ClassVar[bool] = False
    """Whether an empty batch leaves an empty file, so that a table without rows has its columns."""
    resumes: ClassVar[bool] = False
    """Whether it keeps what `checkpoint` notes for the run that follows a crash, and gives a new SplitWriter after each."""
    rereads: ClassVar[bool] = False
    """Whether `reread` gives rows that wait for the commit."""
    replaces_partitions: ClassVar[frozenset[str]] = frozenset()
    """The modes of a target whose commit can replace the rows of some partitions, as `WriteRequest.replaces` says."""
    needs_path: ClassVar[bool] = False
    """Whether `target.path` is required."""
    notes: Sequence[str] = ()
    """What a person should know of the commit, for the run's result."""

    def __init__(self, asset_definition: AssetDefinition, target_config: TargetConfig, output_base: str = "") -> None:
        self.asset_definition = asset_definition
        self.target_config = target_config
        self.output_base = output_base
        self.options: Any = options_of(self, target_config)

    @classmethod
    def at(cls, asset_definition: AssetDefinition, target_config: TargetConfig) -> BaseWriter:
        """The writer of a target, where one class does not do for all of them."""
        return cls(asset_definition, target_config)

    @classmethod
    def staged(cls, asset_definition: AssetDefinition, target_config: TargetConfig, output_base: str) -> BaseWriter:
        """A writer of level 1 or 2 over a staging folder, for classes that are constructed with something else."""
        return cls(asset_definition, target_config, output_base)

    def check_connection(self) -> ConnectionTestResult:
        """Whether the target answers and can be written."""
        return ConnectionTestResult(True, f"{type(self).__name__} has no connection test")

    def write_batch(self, records: list[dict[str, Any]], file_counter: int) -> list[dict[str, Any]]:
        """Level 1: write rows to files under `output_base`; tell `[{path, size_bytes, record_count}]`."""
        raise PluginError(
            f"writer {type(self).__name__} has no write_batch(), write() or open()",
            hint="write write_batch(records, file_counter) and return a list of {path, size_bytes, record_count}",
        )

    def commit_files(self, file_metadata: list[dict[str, Any]]) -> dict[str, Any]:
        """Level 1: called once after the last batch, before the files become visible."""
        return {"status": "success", "files_added": len(file_metadata)}

    def write(self, batch: Any) -> list[dict[str, Any]] | None:
        """Level 2: take one record batch; optionally tell files like `write_batch`."""
        raise PluginError(f"writer {type(self).__name__} has no write()")

    def last_commit(self) -> Commit | None:
        """Level 3: the newest commit of the target, None where there is none.

        Raises: ValidationError: when the record is there and can't be understood.
        """
        raise PluginError(f"writer {type(self).__name__} keeps no commits")

    def history(self) -> Sequence[Commit]:
        """The commits that can still be seen, oldest first."""
        last = self.last_commit()
        return () if last is None else (last,)

    def commit_of(self, run_id: str) -> Commit | None:
        """Level 3: what a run committed, be it before others did, so that a retry of it doesn't commit again."""
        return next((commit for commit in reversed(self.history()) if commit.run_id == run_id), None)

    def commit_of_file(self, path: str) -> Commit | None:
        """What wrote a file of the table, by its path or URI; None where no commit in sight did."""
        found = [c for c in self.history() if any(_ends(path, name) for name in (*c.files, *c.quarantine))]
        return found[0] if len(found) == 1 else None

    def open(self, request: WriteRequest) -> None:
        """Level 3: prepare staging for one run; remove what dead runs left.

        Where a commit is a request to a server, a dead run's may still arrive: what it refers to is left alone until the
        target has a commit newer than the one that run began with.
        """
        raise PluginError(f"writer {type(self).__name__} has no open()")

    def writer(self, task: WriteTask) -> SplitWriter:
        """Level 3: a SplitWriter for one worker."""
        raise PluginError(f"writer {type(self).__name__} has no writer()")

    def finished(self, splits: Collection[str]) -> Sequence[Checkpoint]:
        """Level 3, where it resumes: what `open` took over from a dead run with the same `resume_key`, of these splits alone;
        the rest is removed. Called once, before `writer`.
        """
        return ()

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Level 3, where it resumes: note what SplitWriters have finished, until this run commits, aborts or dies."""

    def reread(self, item: Committable, columns: Sequence[str]) -> Iterator[Any]:
        """Level 3, where it `rereads`: these columns of the rows that a committable of a checkpoint tells of, as record
        batches, of the types that they are stored as.
        """
        raise PluginError(f"writer {type(self).__name__} has no reread()")

    def suspend(self) -> None:
        """Level 3, where it resumes: in place of `abort`, leave this run's checkpoints to its next attempt."""
        self.abort()

    def commit(self, committables: Sequence[Committable], commit: Commit) -> Commit:
        """Level 3: one compare-and-swap from `commit.seq - 1` to `commit.seq`: data and record together. Without committables
        the record alone: it sets the cursor and leaves the table as it is.

        Returns: the record as stored. Raises: CommitConflictError: when another run has that sequence. A retryable
        error: when it may or may not have happened, or may happen yet; the caller looks, and calls again.
        """
        raise PluginError(f"writer {type(self).__name__} has no commit()")

    def abort(self) -> None:
        """Level 3: remove this run's staging. Called after any failure but a commit's whose outcome isn't known; must not
        raise for what is already gone."""

    def snapshot(self) -> Snapshot | None:
        """The table as committed, for readers of derived jobs and for metadata; None when it can't tell."""
        return None

    def store_connection(self) -> dict[str, Any]:
        """How a snapshot's files are reached that are URIs: keys of the store's client as object_store names them."""
        return {**self.target_config.connection, **self.target_config.credentials}

    def summary(self, commit: Commit) -> Snapshot | None:
        """The table as of its newest commit, without looking at all of it where that can be had: of the files those alone
        that the commit wrote.
        """
        table = self.snapshot()
        return table and replace(table, files=tuple(name for name in table.files if name.endswith(commit.files)))

    def files_back_to(self, ends: Callable[[Commit], bool]) -> tuple[str, ...]:
        """The data files of the newest commits, back to the first that `ends` says yes to; or all there are."""
        table = self.snapshot()
        return () if table is None else table.files

    def maintain(self, request: MaintainRequest) -> MaintainReport:
        """Level 3: join small files, and remove what nobody reads any more. It must harm no reader and no run: what changes
        the table is a record of mode "compact" with the cursor before it, in the job's sequence or beside it, and a run that
        began before it still commits.
        """
        return MaintainReport(notes=("nothing to do: this target keeps itself",))

    def cancel(self) -> None:
        """Called from another thread when the run stops."""

    def close(self) -> None:
        """Called once at the end of the run, whatever its outcome."""


def _ends(path: str, name: str) -> bool:
    return path == name or path.endswith(f"/{name}")
