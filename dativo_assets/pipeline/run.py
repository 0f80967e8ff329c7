"""run(plan) -> RunResult: plan the read, move the splits, commit, report."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dativo_plugin_sdk import (
    BaseReader,
    BaseWriter,
    CancelledError,
    Commit,
    CommitConflictError,
    DativoError,
    ReadPlan,
    ReadRequest,
    SchemaMismatchError,
    ValidationError,
    WriteRequest,
    is_retryable_error,
)
from dativo_plugin_sdk.arrow import schema_text
from dativo_plugin_sdk.rows import Rows

from dativo_assets import contract as contracts
from dativo_assets.errors import to_dativo_error
from dativo_assets.plan import JobPlan
from dativo_assets.state import commit_once, look, new_record, schema_hash

from .attend import Attendant, column_tags, read_plan
from .evolve import schema_changes, schema_of
from .executor import ThreadExecutor
from .incremental import CursorFilter, cursor_column, is_incremental, leaves_cursor
from .logs import logger
from .metrics import peak_rss_bytes, timed
from .move import Settled, Shared, Worker
from .one_file import OneFile
from .partition import PartitionRows, change_of, check_partitions, check_whole
from .profile import profiler
from .report import counts_of, details_of, summary, tell_commit, tell_counts, tell_stages, tell_table
from .result import CheckOutcome, FailedAttempt, RunResult, StageMetrics
from .resume import Resume, can_resume, resume_key
from .retry import delay_s
from .settings import Progress, RunSettings

if TYPE_CHECKING:
    from dativo_plugin_sdk.partition_rows import PartitionSelection

    from dativo_assets.contract import Checker
    from dativo_assets.registry import PluginRef

_MAX_RESTARTS = 200
_MAX_CONFLICTS = 100


def run(plan: JobPlan, settings: RunSettings | None = None, run_id: str | None = None) -> RunResult:
    """Run one job once. Errors of the job are in the result; only an interrupt of the caller's thread is raised.

    run_id: give the same one again to retry a run whose outcome is unknown; it never commits twice.
    """
    settings = settings or RunSettings()
    result = RunResult(job=plan.job.job_name, run_id=run_id or os.urandom(16).hex(), stream=plan.job.stream)
    if settings.partition is not None:
        result.partitions = settings.partition.keys
    start = time.perf_counter()
    retry = plan.job.retry
    attempts, conflicts = max(1, retry.max_attempts) if settings.retries else 1, 0
    for attempt in itertools.count(1):
        result.attempts = attempt
        try:
            one = _Run(plan, settings, result)
            one.attendant.run(one.execute)
            result.error = None
            break
        except (Exception, SystemExit) as error:
            found = plan.redacted(to_dativo_error(error, job=plan.job.name))
            result.error = found
            result.status = "cancelled" if isinstance(found, CancelledError) else "failed"
            # Partitions don't meet: what another run has committed meanwhile is none of this one's, and no failed attempt.
            conflict = settings.partition is not None and isinstance(found, CommitConflictError)
            conflicts += conflict and settings.retries and conflicts < _MAX_CONFLICTS
            if not (found.retryable or conflict) or attempt >= attempts + conflicts or settings.cancel.cancelled:
                break
            delay = delay_s(retry, 1 if conflict else attempt, found)
            result.failed_attempts.append(FailedAttempt(attempt, found.error_code, str(found), round(delay, 3)))
            logger.warning("attempt failed", job=plan.job.name, attempt=attempt, retry_in_s=delay, error=str(found))
            settings.cancel.wait(delay)
    result.notes = (*map(str, result.failed_attempts), *result.notes)
    result.seconds = time.perf_counter() - start
    result.peak_rss_bytes = peak_rss_bytes()
    logger.info("run ended", **summary(result))
    return result


@dataclass
class _Run:
    """One attempt."""

    plan: JobPlan
    settings: RunSettings
    result: RunResult
    reader: BaseReader = field(init=False)
    writer: BaseWriter = field(init=False)
    base: Commit | None = None
    mode: str = "append"
    notes: list[str] = field(default_factory=list)
    released: set[str] = field(default_factory=set)
    checker: Checker | None = None
    cursor: CursorFilter | None = None
    partition: PartitionRows | None = None
    bound: str | None = None
    changed: tuple[str, ...] = ()
    resume: Resume | None = None

    def __post_init__(self) -> None:
        self.attendant = Attendant(self.plan.job.name, self.settings.cancel, self.plan.job.timeout_s)

    def execute(self) -> None:
        """The four steps."""
        with self.attendant.calling("open", self.plan.writer.reference):
            self.writer = self.plan.open_writer(self.settings.environment)
        try:
            with self._calling_writer("open", "last_commit"):
                self.base, done = look(self.writer, self.result.run_id)
            self.mode = "overwrite" if self.settings.full_refresh else self.plan.job.target.mode
            if done is not None:
                return self._report(done)
            if self.settings.partition is not None:
                self._begin_partitions(self.settings.partition)
            else:
                check_whole(self.plan.job)
            widen: dict[str, str] = {}
            guess, read = True, None
            for _ in range(_MAX_RESTARTS):
                try:
                    read = self._plan_read(widen, guess)
                    if self.settings.partition is None and (
                        read.unchanged or (not read.splits and self.base is not None and read.cursor is None)
                    ):
                        return self._unchanged()
                    workers = self._move(read, widen)
                    break
                except SchemaMismatchError as error:
                    self._restart(error, widen)
                except ValidationError:
                    if not guess or read is None or not read.guessed:
                        raise
                    # Perhaps a split began inside a value: what is said of it, and of types, holds for a proven plan alone.
                    guess = False
                    widen.clear()
                    self.released.clear()
                    self.writer.abort()
                    logger.info("read again from proven record starts", job=self.plan.job.name)
            else:
                raise ValidationError("columns change type without end", hint="declare their types in a contract")
            self._report(self._commit(read, workers))
        finally:
            self.writer.close()

    def _begin_partitions(self, selection: PartitionSelection) -> None:
        """Rows of these partitions go as those of the source come; the rest of the table, and its cursor, stay."""
        self.mode = "merge" if self.plan.job.target.mode == "merge" else "append"
        with self._calling_writer("open", "history"):
            self.bound = check_partitions(self.plan.job, self.writer, self.base)
            changed = change_of(selection, self.writer.history())
        self.changed = () if changed is None else (changed,)

    # -- plan the read ---------------------------------------------------------------------------------------------

    def _plan_read(self, widen: dict[str, str], guess: bool) -> ReadPlan:
        self._tell("plan")
        self.settings.cancel.check()
        self.notes = [*self.plan.job.notes, *self.changed]
        with self.attendant.calling("plan", self.plan.reader.reference):
            self.reader = self.plan.open_reader(self.settings.environment)
        selection = self.settings.partition
        by_value = selection is not None and selection.file is None
        if selection is not None and selection.file is not None:
            self.reader = OneFile(self.reader, selection.file)
        continues = self.mode != "overwrite" or (not self.settings.full_refresh and is_incremental(self.plan.job))
        base = self.base if continues else None
        request = ReadRequest(
            columns=None,
            schema=self._wanted_schema(native=True),
            widen=dict(widen),
            cursor=None if self.settings.full_refresh or by_value or base is None else base.cursor,
            parallelism=self.settings.workers,
            memory_bytes=self.settings.memory_bytes,
            batch_bytes=self.settings.batch_bytes,
            guess=guess,
            partition=selection,
        )
        with self._calling("plan", "plan", self.plan.reader):
            read = read_plan(self.reader, request)
        self.notes.extend(read.notes)
        if self.plan.contract is not None:
            self.notes.extend(self.plan.contract.notes)
        return read

    def _wanted_schema(self, *, native: bool = False) -> Any:
        """What text should be parsed to: the contract's columns, else the table's as committed. native: an Arrow schema of
        whatever make, so that pyarrow is not loaded for it.
        """
        if self.plan.contract is not None:
            found = contracts.declared_schema(self.plan.contract) if native else None
            return self.plan.contract.schema() if found is None else found
        if self.base is not None and self.base.schema_text and self.mode != "overwrite":
            kept = {name: text for name, text in self.base.schema_text.items() if name not in self.released}
            return schema_of(kept)
        return None

    # -- move the splits -------------------------------------------------------------------------------------------

    def _move(self, read: ReadPlan, widen: dict[str, str]) -> list[Worker]:
        job = self.plan.job
        key = None
        leaves = self._leaves_cursor(read)
        if can_resume(self.plan, self.writer, read.splits, self.settings, filters=leaves):
            found = (sorted(self.released), read.schema_text, repr(self.settings.partition))
            key = resume_key(self.plan, self.base, self.mode, widen, *found)
        request = WriteRequest(
            job=job.job_name,
            stream=self.plan.stream,
            run_id=self.result.run_id,
            base_seq=0 if self.base is None else self.base.seq,
            mode=self.mode,  # type: ignore[arg-type]
            keys=job.target.keys,
            partition_by=job.target.partition_by,
            parallelism=self.settings.workers,
            memory_bytes=self.settings.memory_bytes,
            cursor_field=None if job.incremental is None else job.incremental.cursor_field,
            full_refresh=self.settings.full_refresh,
            resume_key=key,
            replaces=self.settings.partition,
        )
        with self._calling_writer("open", "open"):
            self.writer.open(request)
            self.resume = Resume(self.writer, self.reader, read.splits, self.settings) if key else None
        splits, known = read.splits, read.schema
        if self.resume is not None:
            splits, known = self.resume.splits, self.resume.input_schema if known is None else known
        looks = leaves or bool(job.target.partition_by) or self.settings.partition is not None
        # Keys that were taken over are told to the checks in Python.
        looks = looks or (self.resume is not None and bool(self.resume.taken) and self._remembers)
        passing = None if looks or read.schema_text is None else self._passing(read, read.schema_text)
        shared = Shared(
            job=job.name,
            reader=self.reader,
            writer=self.writer,
            cancel=self.settings.cancel,
            batch_bytes=self.settings.batch_bytes,
            declared=None if passing else self._wanted_schema(),
            widen=widen,
            settle=lambda schema: self._settle(schema, read),
            read_ahead=len(read.splits) < self.settings.workers,
            pass_through=passing is not None,
            resume=self.resume,
            profiler=profiler(self.settings, self.result),
            trace=self.settings.trace,
        )
        executor = ThreadExecutor(shared, self.settings, job.timeout_s)
        try:
            if passing is not None:
                shared.settled = passing
            elif known is not None:
                shared.input_schema = Rows(schema=known).schema  # as the batches come out of it
                shared.settled_for(shared.input_schema)
            restored = () if self.resume is None else self._restored(shared, self.resume)
            workers = [*(executor.run(splits) if splits else [Worker(0, shared)]), *restored]
            self.result.column_tags = column_tags(self.reader, self.plan.reader.reference)
            if self.checker is not None:
                self.checker.finish()
            first = self.mode == "overwrite" or self.base is None or not self.base.schema_text
            if self.writer.writes_empty and first and not any(worker.rows_written for worker in workers):
                workers[0].write_empty()
                workers[0].finish()
        except BaseException as error:
            self._checks()
            self._drop(error, executor.ended)
            raise
        finally:
            self.notes.extend(self.reader.notes)
            self.reader.close()
            tell_stages(self.result, self.plan, executor.workers, self.reader, self.writer)
        return workers

    @property
    def _remembers(self) -> bool:
        return self.plan.contract is not None and bool(self.plan.contract.keys)

    def _restored(self, shared: Shared, resume: Resume) -> tuple[Worker]:
        """What an attempt before has finished, as a worker of its own."""
        worker = Worker(self.settings.workers, shared)
        resume.restore(worker)
        self.notes.extend(resume.notes)
        self.result.splits_resumed = resume.total - len(resume.splits)
        return (worker,)

    def _drop(self, error: BaseException, ended: bool) -> None:
        """Remove what is staged, or leave what is finished to the next attempt. ended: whether nobody writes any more."""
        if self.resume is not None and ended and is_retryable_error(error):
            self.writer.suspend()
        else:
            self.writer.abort()

    def _settle(self, schema: Any, read: ReadPlan) -> Settled:
        job = self.plan.job
        output = schema
        self.checker = None
        if self.plan.contract is not None:
            self.checker = contracts.Checker(self.plan.contract, schema, evolve=job.evolve, job=job.name)
            output = self.checker.output_schema
        self._evolve(schema_text(output))
        self.cursor = self._cursor_filter(output, read)
        if self.settings.partition is not None:
            self.partition = PartitionRows(self.settings.partition, output, self.bound, self.base)
        return Settled(output, self.checker, self.partition or self.cursor)

    def _passing(self, read: ReadPlan, columns: Mapping[str, str]) -> Settled | None:
        """How the reader's own batches go to the writer, where no Arrow library has to look at them on the way."""
        contract, evolve = self.plan.contract, self.plan.job.evolve
        self.checker = None
        if contract is None:
            self._evolve(dict(columns))
            return Settled(read.schema, None, None)
        native = contracts.native_checks(contract, columns, evolve)
        if native is None:
            return None
        self.checker = contracts.Checker(contract, read.schema, evolve=evolve, job=self.plan.job.name, native=native)
        self._evolve(native.output_text)
        return Settled(native.output_schema, self.checker, None)

    def _evolve(self, text: dict[str, str]) -> None:
        if self.base is not None and self.base.schema_text and self.mode != "overwrite":
            self.result.schema_changes = schema_changes(self.base.schema_text, text, self.plan.job.evolve)
        self.result.schema_text = text

    def _leaves_cursor(self, read: ReadPlan) -> bool:
        return self.settings.partition is None and leaves_cursor(self.plan.job.incremental, read)

    def _cursor_filter(self, output: Any, read: ReadPlan) -> CursorFilter | None:
        incremental = self.plan.job.incremental
        if incremental is None or incremental.cursor_field is None or not leaves_cursor(incremental, read):
            return None
        base = None if self.settings.full_refresh else self.base
        asks_table = getattr(self.writer, "extension", None) == "parquet"
        files_back_to = self.writer.files_back_to if asks_table else None
        column, merges = cursor_column(incremental, output), self.plan.job.target.mode == "merge"
        return CursorFilter(incremental, base, files_back_to, column, merges=merges)

    def _restart(self, error: SchemaMismatchError, widen: dict[str, str]) -> None:
        """Start over with a wider column: nothing was committed, so nothing is lost."""
        name = error.column
        if not name or widen.get(name) == error.widen_to:
            raise error
        committed = self._wanted_schema() if self.plan.contract is None else None
        if committed is not None and name in committed.names:
            self.released.add(name)  # let it be inferred; the policy on schema changes judges what comes out
        else:
            widen[name] = error.widen_to
        self.writer.abort()
        logger.info("column widened", job=self.plan.job.name, column=name, to=error.widen_to)

    def _unchanged(self) -> None:
        self.reader.close()
        self.result.status = "unchanged"
        self.result.notes = (*self.notes, "nothing is new since the last commit")
        self.result.commit = self.base
        self._table()

    # -- commit ----------------------------------------------------------------------------------------------------

    def _commit(self, read: ReadPlan, workers: list[Worker]) -> Commit:
        self._tell("commit")
        result, job = self.result, self.plan.job
        committables = [item for worker in workers for item in worker.committables]
        rows = self.partition or self.cursor
        tell_counts(result, workers, committables, read.splits, 0 if rows is None else rows.skipped)
        incremental = job.incremental
        cursor: dict[str, Any] | None = dict(read.cursor) if read.cursor is not None else None
        if self.cursor is not None and incremental is not None:
            cursor = self.cursor.cursor(read.cursor, incremental.strategy)
            self.notes.extend(self.cursor.notes)
        if self.settings.partition is not None and self.base is not None:
            cursor = self.base.cursor if self.settings.partition.file is None else cursor
            result.schema_text = result.schema_text or self.base.schema_text
        record = new_record(
            self.base,
            job=job.job_name,
            stream=self.plan.stream,
            run_id=result.run_id,
            mode=self.mode,
            cursor=cursor,
            schema_text=result.schema_text,
            schema_hash=schema_hash(result.schema_text),
            **counts_of(result),
            plugins={"reader": self.plan.reader.load().name, "writer": self.plan.writer.load().name},
            details=details_of(self.plan, result, self.settings.partition),
        )
        self.settings.cancel.check()
        try:
            with self._calling_writer("commit", "commit"):
                return commit_once(self.writer, committables, record)
        except BaseException as error:
            if is_retryable_error(error):  # a request may be under way, and what it refers to has to stay
                if self.resume is not None:
                    for worker in workers:
                        self.resume.note(worker)
                    self.writer.suspend()
            else:
                self.writer.abort()
            raise

    # -- report ----------------------------------------------------------------------------------------------------

    def _report(self, commit: Commit) -> None:
        self.result.status = "succeeded"
        self.result.notes = (*self.notes, *self.writer.notes)
        tell_commit(self.result, commit)
        self._checks()
        self._table()

    def _table(self) -> None:
        if self.result.commit is None:
            return
        try:
            with self._calling_writer("report", "summary"):
                table = self.writer.summary(self.result.commit)
        except DativoError as error:
            if self.result.status != "succeeded":
                raise
            # It is committed: whoever runs a failed job again expects that nothing was.
            self.result.notes = (*self.result.notes, f"committed, but the table can't be described: {error.message}")
            return
        tell_table(self.result, table)

    def _checks(self) -> None:
        if self.checker is not None:
            self.result.checks = tuple(CheckOutcome.of(result) for result in self.checker.results())

    def _calling_writer(self, stage: str, method: str) -> AbstractContextManager[None]:
        return self._calling(stage, method, self.plan.writer)

    @contextmanager
    def _calling(self, stage: str, method: str, plugin: PluginRef) -> Iterator[None]:
        """A call into a plugin, watched and timed."""
        metrics = self.result.stages.setdefault(stage, StageMetrics(plugin.load().name))
        trace = self.settings.trace
        tell = None if trace is None else trace.teller(self.plan.job.name, stage, plugin.reference)
        with timed(metrics, method, tell), self.attendant.calling(stage, plugin.reference):
            yield

    def _tell(self, stage: str) -> None:
        if (tell := self.settings.on_progress) is not None:
            tell(Progress(self.plan.job.name, stage))
