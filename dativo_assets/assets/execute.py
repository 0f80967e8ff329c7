"""What a step does: bind its job, run it, and tell Dagster the outcome."""

import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import dagster as dg
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION
from dativo_plugin_sdk.partition_rows import PartitionSelection

from dativo_assets.config import JobConfig, Project
from dativo_assets.config.cache import DIGEST_CHARACTERS, JobCache
from dativo_assets.config.partition_keys import of_keys
from dativo_assets.errors import ConfigurationError, DativoError, to_dativo_error
from dativo_assets.lineage.events import Events, telling
from dativo_assets.pipeline import CancelToken, Progress, RunResult, RunSettings, run, run_all
from dativo_assets.plan import JobPlan, bind
from dativo_assets.prometheus import record
from dativo_assets.registry import Registry

from .connections import Connections
from .lineage import Origins
from .metadata import check_results, failure, last_outcomes, run_metadata, unchanged_metadata

RESULT = "result"
DIGEST_TAG = "dativo/digest"
_FIRST_PROGRESS_S = 2.0
_MAX_PROGRESS_S = 30.0
_POLL_S = 0.1
_STOP_S = 5.0
_WAITING = object()

Compute = Callable[[Any, Any], Iterator[Any]]


@dataclass(frozen=True)
class Table:
    """One asset of a job: its only one, or that of a stream. output: of the op. checks: output names by check name. origins:
    where its rows come from.
    """

    job: JobConfig
    key: dg.AssetKey
    output: str
    checks: dict[str, str]
    origins: Origins = field(default_factory=Origins)


@dataclass(frozen=True)
class JobAsset:
    """A job under its names in Dagster."""

    job: JobConfig
    project: Project
    registry: Registry
    tables: tuple[Table, ...]
    connections: Connections

    @property
    def key(self) -> dg.AssetKey:
        """The asset; the first one, where there are streams."""
        return self.tables[0].key

    def as_launched(self, asset_context: dg.AssetExecutionContext) -> "JobAsset":
        """The same with the job that the run's plan has had the digest of since it was launched, even if the file changed.

        Raises: dg.Failure: when that job is not to be had any more.
        """
        context = asset_context.op_execution_context
        if context.run.job_code_origin is None:
            return self  # the process that runs it made it, of this very job
        # Of the plan as it was launched: Dagster makes another one of the same name here, of the job as it is now.
        plan_id = context.run.execution_plan_snapshot_id
        wanted = (
            _digests(context.instance, plan_id).get(context.get_step_execution_context().step.key) if plan_id else None
        )
        if wanted is None or wanted == self.job.digest[:DIGEST_CHARACTERS]:
            return self
        found = JobCache(self.project.root).by_digest([wanted]).get(wanted)
        parts = {part.name: part for part in found.parts} if found is not None else {}
        if found is not None and all(table.job.name in parts for table in self.tables):
            tables = tuple(replace(table, job=parts[table.job.name]) for table in self.tables)
            return replace(self, job=found, tables=tables)
        error = ConfigurationError(
            f"job {self.job.name} has changed since the run was launched, and what it was is not in the cache",
            "JOB_CHANGED",
            hint="reload the code location and launch the run again",
        )
        raise failure(error.at(job=self.job.name, **self.job.location("name").details()))

    def tag_run(self, context: dg.AssetExecutionContext) -> None:
        """Puts the job's digest into the tags of a launched run of this job alone, where what launched it did not; that of
        each of several jobs is in the tags of its step. A run in the process that made it has the tags that it was given.
        """
        is_launched = context.run.job_code_origin is not None
        if is_launched and len(context.job_def.nodes) == 1 and DIGEST_TAG not in context.run.tags:
            context.instance.add_run_tags(context.run.run_id, digest_tags([self.job]))

    def execute(self, asset_context: dg.AssetExecutionContext) -> Iterator[Any]:
        """The body of the op. A stream that fails leaves the others alone.

        Yields: for each table check results and a MaterializeResult; an observation alone when nothing is new.
        Raises: dg.Failure: when a run failed; nothing of it is recorded as materialized then.
        """
        context = asset_context.op_execution_context
        wanted = [table for table in self.tables if table.output in context.selected_output_names]
        errors: list[DativoError] = []
        partition = None
        plans: dict[str, tuple[Table, JobPlan]] = {}
        for table in wanted:
            job = table.job if table.job.stream is not None else self.job
            try:
                partition = _partition(table, context)
                project = self.connections.given(self.project, context.resources)
                plans[job.name] = (table, bind(job, project, self.registry))
            except Exception as error:
                found = to_dativo_error(error, job=job.name, stage="bind")
                unrun = RunResult(job.job_name, run_id_of(context.run), "failed", job.stream, error=found)
                record(self.project, unrun)
                errors.append(found)
        for result in self._run([plan for _, plan in plans.values()], context, partition):
            table, plan = plans[result.name]
            record(self.project, result)
            if result.error is not None:
                errors.append(result.error)
                yield from check_results(table.key, frozenset(table.checks), result, plan.contract)
            elif result.status == "unchanged":
                yield from _unchanged(table, result, context.instance)
            else:
                yield from _materialized(table, plan, result)
        if errors:
            raise failure(*errors, of=len(wanted)) from None

    def _run(
        self, plans: Sequence[JobPlan], context: dg.OpExecutionContext, partition: PartitionSelection | None
    ) -> Iterator[RunResult]:
        try:
            with telling(self.project, os.environ) as events:
                yield from _run(plans, context, events, partition)
        except DativoError as error:
            raise failure(error.at(job=self.job.name)) from None


def digest_tags(jobs: Sequence[JobConfig]) -> dict[str, str]:
    """The tags of a run of these jobs: the digest of the only one; none of several, whose steps have theirs."""
    return {DIGEST_TAG: jobs[0].digest[:DIGEST_CHARACTERS]} if len(jobs) == 1 else {}


def told_once(compute: Compute) -> Compute:
    """The body of a step whose metadata stands in the events of its assets: Dagster keeps that of a result with the step's
    output too.
    """

    def told(context: dg.AssetExecutionContext, inputs: Any) -> Iterator[Any]:
        for event in compute(context, inputs):
            if isinstance(event, dg.MaterializeResult) and event.metadata:
                context.add_asset_metadata(event.metadata, event.asset_key)
                event = event._replace(metadata=None)
            yield event

    return told


def _materialized(table: Table, plan: JobPlan, result: RunResult) -> Iterator[Any]:
    seq = result.commit.seq if result.commit is not None else 0
    yield dg.MaterializeResult(
        asset_key=table.key,
        metadata=run_metadata(
            table.job, plan.contract, result, table.origins.columns(plan, result, RunSettings().environment)
        ),
        data_version=dg.DataVersion(str(seq)),
    )
    yield from table.origins.observations(plan, result)
    told = set()
    for outcome in check_results(table.key, frozenset(table.checks), result, plan.contract):
        told.add(outcome.check_name)
        yield outcome
    yield from _untold(table, told)


def _unchanged(table: Table, result: RunResult, instance: dg.DagsterInstance) -> Iterator[Any]:
    """The step's outputs, so that downstream steps run, without a materialization: the table is as it was.

    The checks are told again as they came out last: the UI would show those of this run as never evaluated.
    """
    seq = result.commit.seq if result.commit is not None else 0
    yield dg.AssetObservation(
        table.key, description=f"Nothing is new since commit {seq}", metadata=unchanged_metadata(result)
    )
    # Dagster records no event for an output with this mark.
    yield dg.Output(None, table.output, metadata={SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True})
    told: set[str | None] = set()
    for outcome in last_outcomes(table.key, table.checks, instance):
        told.add(outcome.check_name)
        yield outcome
    yield from _untold(table, told)


def _untold(table: Table, told: set[str | None]) -> Iterator[Any]:
    for name, output in table.checks.items():
        if name not in told:
            yield dg.Output(None, output)


@lru_cache(maxsize=1)
def _digests(instance: dg.DagsterInstance, plan_id: str) -> dict[str, str]:
    """Of the jobs in a run's plan, by step."""
    steps = instance.get_execution_plan_snapshot(plan_id).steps
    return {step.key: step.tags[DIGEST_TAG] for step in steps if step.tags and DIGEST_TAG in step.tags}


def run_id_of(run: dg.DagsterRun) -> str:
    """The pipeline's run_id: the Dagster run's. A retry that Dagster starts by itself keeps that of the first run, so that
    what the first one committed before it died is not written again.
    """
    if "dagster/retry_number" in run.tags and run.root_run_id:
        return str(run.root_run_id)
    return str(run.run_id)


def _run(
    plans: Sequence[JobPlan], context: dg.OpExecutionContext, events: Events, partition: PartitionSelection | None
) -> Iterator[RunResult]:
    """Run the plans in a thread of its own, while this one logs progress and hears Dagster's request to stop."""
    cancel = CancelToken()
    latest: list[Progress] = []
    settings = RunSettings(
        cancel=cancel, on_progress=latest.append, partition=partition, profile=any(plan.job.preview for plan in plans)
    )
    outcomes: queue.SimpleQueue[RunResult | BaseException | None] = queue.SimpleQueue()

    def told(plan: JobPlan, settings: RunSettings, run_id: str) -> RunResult:
        return events.around(plan, run_id, lambda: run(plan, settings, run_id))

    def work() -> None:
        try:
            for result in run_all(plans, settings, run_id_of(context.run), told):
                outcomes.put(result)
            outcomes.put(None)
        except BaseException as error:
            outcomes.put(error)
        finally:
            ended.set()

    # Not `Thread.join`: one that an exception interrupts takes the thread for ended (python/cpython#90882).
    ended = threading.Event()
    thread = threading.Thread(target=work, name="dativo-run", daemon=True)
    thread.start()
    next_log, step = time.monotonic() + _FIRST_PROGRESS_S, _FIRST_PROGRESS_S
    try:
        while (found := _next(outcomes)) is not None:
            if isinstance(found, RunResult):
                yield found
            elif isinstance(found, BaseException):
                raise found
            elif latest and time.monotonic() >= next_log:
                context.log.info(_said(latest[-1]))
                latest[:] = latest[-1:]
                step = min(step * 1.5, _MAX_PROGRESS_S)
                next_log = time.monotonic() + step
    except BaseException:
        cancel.cancel()
        ended.wait(_STOP_S)
        raise


def _next(outcomes: "queue.SimpleQueue[Any]") -> Any:
    """What comes next, None at the end; `_WAITING` where nothing has come yet."""
    try:
        return outcomes.get(timeout=_POLL_S)
    except queue.Empty:
        return _WAITING


def _said(progress: Progress) -> str:
    parts = [f"{progress.stage}: {progress.rows:,} rows", f"{progress.bytes / 1e6:,.1f} MB"]
    if progress.rows:
        parts.append(f"{progress.rows_per_s:,.0f} rows/s")
    if progress.splits > 1:
        parts.append(f"{progress.splits_done} of {progress.splits} splits")
    if progress.eta_s is not None:
        parts.append(f"{progress.eta_s:,.0f} s to go")
    return ", ".join(parts)


def _partition(table: Table, context: dg.OpExecutionContext) -> PartitionSelection | None:
    """The partitions that a run is over; None for a run without, or over all of a table that no column divides.

    Raises: ConfigurationError: at the line of `partitions`, where rows can't be told apart by it.
    """
    job = table.job
    if job.partitions is None or not (context.has_partition_key or context.has_partition_key_range):
        return None
    keys = context.partition_keys
    if any(axis.column is None for axis in job.partitions.axes):
        known = context.asset_partitions_def_for_output(table.output)
        if list(keys) == list(known.get_partition_keys(dynamic_partitions_store=context.instance)):
            return None
    return of_keys(job, keys)


def broken_compute(error: DativoError) -> Compute:
    """The body of the asset that stands for a job that can't be used: it says why."""

    def compute(context: dg.OpExecutionContext, inputs: Any) -> Iterator[Any]:
        yield from ()
        raise failure(error)

    return compute
