"""What a step does: bind its job, run it, and tell Dagster the outcome."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import dagster as dg
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION

from dativo_assets.config import JobConfig, Project
from dativo_assets.config.cache import DIGEST_CHARACTERS, JobCache
from dativo_assets.errors import ConfigurationError, DativoError, to_dativo_error
from dativo_assets.lineage.events import telling
from dativo_assets.pipeline import CancelToken, Progress, RunResult, RunSettings, run
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

Compute = Callable[[Any, Any], Iterator[Any]]


@dataclass(frozen=True)
class JobAsset:
    """A job under its names in Dagster. checks: output names by check name. origins: where its rows come from."""

    job: JobConfig
    project: Project
    registry: Registry
    key: dg.AssetKey
    checks: dict[str, str]
    connections: Connections
    origins: Origins = field(default_factory=Origins)

    def execute(self, asset_context: dg.AssetExecutionContext) -> Iterator[Any]:
        """The body of the asset's op.

        Yields: check results and a MaterializeResult; an observation alone when nothing is new.
        Raises: dg.Failure: when the run failed; nothing is recorded as materialized then.
        """
        context = asset_context.op_execution_context
        try:
            _refuse_some_partitions(self.job, context)
            project = self.connections.given(self.project, context.resources)
            plan = bind(self.job, project, self.registry)
        except Exception as error:
            found = to_dativo_error(error, job=self.job.name, stage="bind")
            record(self.project, RunResult(self.job.name, run_id_of(context.run), "failed", error=found))
            raise failure(found) from None
        run_id = run_id_of(context.run)
        try:
            with telling(self.project, os.environ) as events:
                result = events.around(plan, run_id, lambda: _run(plan, run_id, context))
        except DativoError as error:
            raise failure(error.at(job=self.job.name)) from None
        record(self.project, result)
        if result.error is not None:
            yield from check_results(self.key, frozenset(self.checks), result)
            raise failure(result.error) from None
        if result.status == "unchanged":
            yield from self._unchanged(result, context.instance)
            return
        seq = result.commit.seq if result.commit is not None else 0
        yield dg.MaterializeResult(
            asset_key=self.key,
            metadata=run_metadata(
                self.job, plan.contract, result, self.origins.columns(plan, result, RunSettings().environment)
            ),
            data_version=dg.DataVersion(str(seq)),
        )
        yield from self.origins.observations(plan, result)
        told = set()
        for outcome in check_results(self.key, frozenset(self.checks), result):
            told.add(outcome.check_name)
            yield outcome
        yield from self._untold(told)

    def as_launched(self, asset_context: dg.AssetExecutionContext) -> "JobAsset":
        """The same with the job that the run's plan has had the digest of since it was launched, even if the file changed.

        Raises: dg.Failure: when that job is not to be had any more.
        """
        context = asset_context.op_execution_context
        # Of the plan as it was launched: Dagster makes another one of the same name here, of the job as it is now.
        plan_id = context.run.execution_plan_snapshot_id
        wanted = (
            _digests(context.instance, plan_id).get(context.get_step_execution_context().step.key) if plan_id else None
        )
        if wanted is None or wanted == self.job.digest[:DIGEST_CHARACTERS]:
            return self
        found = JobCache(self.project.root).by_digest([wanted]).get(wanted)
        if found is not None:
            return replace(self, job=found)
        error = ConfigurationError(
            f"job {self.job.name} has changed since the run was launched, and what it was is not in the cache",
            "JOB_CHANGED",
            hint="reload the code location and launch the run again",
        )
        raise failure(error.at(job=self.job.name, **self.job.location("name").details()))

    def _unchanged(self, result: RunResult, instance: dg.DagsterInstance) -> Iterator[Any]:
        """The step's outputs, so that downstream steps run, without a materialization: the table is as it was.

        The checks are told again as they came out last: the UI would show those of this run as never evaluated.
        """
        seq = result.commit.seq if result.commit is not None else 0
        yield dg.AssetObservation(
            self.key, description=f"Nothing is new since commit {seq}", metadata=unchanged_metadata(result)
        )
        # Dagster records no event for an output with this mark.
        yield dg.Output(None, RESULT, metadata={SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True})
        told: set[str | None] = set()
        for outcome in last_outcomes(self.key, self.checks, instance):
            told.add(outcome.check_name)
            yield outcome
        yield from self._untold(told)

    def _untold(self, told: set[str | None]) -> Iterator[Any]:
        for name, output in self.checks.items():
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


def _run(plan: JobPlan, run_id: str, context: dg.OpExecutionContext) -> RunResult:
    """Run the plan in a thread of its own, while this one logs progress and hears Dagster's request to stop."""
    cancel = CancelToken()
    latest: list[Progress] = []
    settings: RunSettings = RunSettings(cancel=cancel, on_progress=latest.append)
    outcome: list[RunResult | BaseException] = []

    def work() -> None:
        try:
            outcome.append(run(plan, settings, run_id))
        except BaseException as error:
            outcome.append(error)
        finally:
            ended.set()

    # Not `Thread.join`: one that an exception interrupts takes the thread for ended (python/cpython#90882).
    ended = threading.Event()
    thread = threading.Thread(target=work, name=f"dativo-run-{plan.job.name}", daemon=True)
    thread.start()
    next_log, step = time.monotonic() + _FIRST_PROGRESS_S, _FIRST_PROGRESS_S
    try:
        while not ended.wait(_POLL_S):
            if latest and time.monotonic() >= next_log:
                context.log.info(_said(latest[-1]))
                latest[:] = latest[-1:]
                step = min(step * 1.5, _MAX_PROGRESS_S)
                next_log = time.monotonic() + step
    except BaseException:
        cancel.cancel()
        ended.wait(_STOP_S)
        raise
    found = outcome[0]
    if isinstance(found, BaseException):
        raise found
    return found


def _said(progress: Progress) -> str:
    parts = [f"{progress.stage}: {progress.rows:,} rows", f"{progress.bytes / 1e6:,.1f} MB"]
    if progress.rows:
        parts.append(f"{progress.rows_per_s:,.0f} rows/s")
    if progress.splits > 1:
        parts.append(f"{progress.splits_done} of {progress.splits} splits")
    if progress.eta_s is not None:
        parts.append(f"{progress.eta_s:,.0f} s to go")
    return ", ".join(parts)


def _refuse_some_partitions(job: JobConfig, context: dg.OpExecutionContext) -> None:
    """A run over all partitions loads the whole table; one over some of them is refused, since a run can't be narrowed yet.

    Raises: ConfigurationError: at the line of `partitions`.
    """
    if job.partitions is None or not (context.has_partition_key or context.has_partition_key_range):
        return
    wanted = context.partition_key_range
    keys = context.asset_partitions_def_for_output(RESULT).get_partition_keys()
    if keys and (wanted.start, wanted.end) == (keys[0], keys[-1]):
        return
    error = ConfigurationError(
        f"a run of partitions {wanted.start} to {wanted.end} alone is not supported yet",
        "PARTITIONS_NOT_SUPPORTED",
        hint="select all partitions and launch them as a single run, or remove `partitions` from the job",
    )
    raise error.at(job=job.name, **job.location("partitions").details())


def broken_compute(error: DativoError) -> Compute:
    """The body of the asset that stands for a job that can't be used: it says why."""

    def compute(context: dg.OpExecutionContext, inputs: Any) -> Iterator[Any]:
        yield from ()
        raise failure(error)

    return compute
