"""One sensor for every job of a location whose trigger is `files` or `probe`.

The watermark is compared with the commit in the job's target, so the sensor keeps no state but where to go on. A run's key
is the job and its watermark: Dagster starts one run for each, whatever happens to the daemon between two ticks.
"""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import dagster as dg

from dativo_assets.config import JobConfig, Project
from dativo_assets.errors import DativoError, to_dativo_error
from dativo_assets.plan import JobPlan, bind
from dativo_assets.registry import Registry

from .polling import Poller, Probed

NAME = "dativo_triggers"
_BUDGET_S = 20.0  # Dagster ends a tick after 60
_MAX_REQUESTS = 200
_LEAST_INTERVAL_S = 5
_KEY_CHARACTERS = 120

WithResources: TypeAlias = Callable[[Project, Any], Project]


@dataclass(frozen=True)
class Watched:
    """A job that the sensor watches. sources: the external assets it reads."""

    job: JobConfig
    key: dg.AssetKey
    sources: tuple[dg.AssetKey, ...] = ()

    @property
    def poll_s(self) -> float:
        trigger = self.job.trigger
        assert trigger is not None
        found = trigger.files or trigger.probe
        return found.poll_s if found is not None else 60.0


def trigger_sensor(
    watched: Sequence[Watched],
    project: Project,
    registry: Registry,
    resource_keys: set[str] | None = None,
    with_resources: WithResources = lambda project, resources: project,
    budget_s: float = _BUDGET_S,
) -> dg.SensorDefinition:
    """The sensor, running from the start.

    resource_keys, with_resources: what connections need that Dagster gives. budget_s: the longest that one tick probes.
    """
    state = _State(project, registry, Poller(budget_s), with_resources)
    by_name = {item.job.name: item for item in watched}
    interval_s = max(_LEAST_INTERVAL_S, int(min(item.poll_s for item in watched)))

    def evaluate(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        return state.tick(context, by_name)

    return dg.SensorDefinition(
        name=NAME,
        evaluation_fn=evaluate,
        asset_selection=dg.AssetSelection.assets(*(item.key for item in watched)),
        minimum_interval_seconds=interval_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys=resource_keys,
        description=f"Starts a job when its source has something new ({len(watched)} watched).",
    )


@dataclass
class _State:
    """What one process remembers between ticks, all of it expendable: bound plans, when a job was asked, what was told."""

    project: Project
    registry: Registry
    poller: Poller
    with_resources: WithResources
    plans: dict[str, JobPlan] = field(default_factory=dict)
    asked: dict[str, float] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)

    def tick(self, context: dg.SensorEvaluationContext, watched: dict[str, Watched]) -> dg.SensorResult:
        now = time.monotonic()
        project = self.with_resources(self.project, context.resources)
        names = list(watched)
        offset = int(context.cursor) % len(names) if context.cursor and context.cursor.isdigit() else 0
        due = [name for name in names[offset:] + names[:offset] if self._is_due(watched[name], now)]
        probes = {name: lambda name=name: self._probe(watched[name].job, project) for name in due}
        outcomes = self.poller.ask(probes, due)
        requests: list[dg.RunRequest] = []
        events: list[dg.AssetObservation] = []
        lines: list[str] = []
        for outcome in outcomes:
            if outcome.state != "no time":
                self.asked[outcome.name] = now
            if outcome.watermark is not None and len(requests) < _MAX_REQUESTS:
                item = watched[outcome.name]
                requests.append(_request(item, outcome.watermark))
                events += self._observations(item, outcome.watermark)
            if (line := _explained(outcome)) is not None:
                lines.append(line)
                context.log.info(line)
        quiet = sum(outcome.state == "answered" and outcome.watermark is None for outcome in outcomes)
        late = next((outcome.name for outcome in outcomes if outcome.state == "no time"), None)
        said = f"{len(names)} watched, {len(due)} asked, {quiet} without anything new"
        return dg.SensorResult(
            run_requests=requests,
            asset_events=events,
            cursor=str(names.index(late) if late is not None else 0),
            skip_reason=None if requests else ". ".join([said, *lines[:20]]),
        )

    def _is_due(self, item: Watched, now: float) -> bool:
        last = self.asked.get(item.job.name)
        # Half a second of grace: ticks never come to the millisecond.
        return last is None or now - last >= item.poll_s - 0.5

    def _probe(self, job: JobConfig, project: Project) -> str | None:
        plan = self.plans.get(job.name)
        if plan is None:
            plan = self.plans[job.name] = bind(job, project, self.registry)
        try:
            return _watermark(plan)
        except (Exception, SystemExit) as error:
            found = to_dativo_error(error, job=job.name, stage="probe", plugin=plan.reader.reference)
            raise plan.redacted(found) from None

    def _observations(self, item: Watched, watermark: str) -> list[dg.AssetObservation]:
        """What the sources' pages show, once for each new watermark."""
        if self.told.get(item.job.name) == watermark:
            return []
        self.told[item.job.name] = watermark
        return [
            dg.AssetObservation(
                key,
                description=f"Something new for {item.job.name}",
                metadata={"watermark": watermark[:500], "job": item.job.name},
            )
            for key in item.sources
        ]


def _watermark(plan: JobPlan) -> str | None:
    """What the reader says is new since the job's last commit; None: nothing."""
    writer = plan.open_writer(os.environ)
    try:
        commit = writer.last_commit()
    finally:
        writer.close()
    reader = plan.open_reader(os.environ)
    try:
        return reader.probe(None if commit is None else commit.cursor)
    finally:
        reader.close()


def _request(item: Watched, watermark: str) -> dg.RunRequest:
    shown = watermark
    if len(shown) > _KEY_CHARACTERS:
        shown = hashlib.sha256(watermark.encode()).hexdigest()[:32]
    return dg.RunRequest(
        run_key=f"{item.job.name}:{shown}",
        asset_selection=[item.key],
        tags={"dativo/job": item.job.name[:63], "dativo/trigger": "files" if _by_files(item.job) else "probe"},
    )


def _by_files(job: JobConfig) -> bool:
    return job.trigger is not None and job.trigger.files is not None


def _explained(outcome: Probed) -> str | None:
    if outcome.watermark is not None:
        return f"{outcome.name}: new since its last commit ({outcome.watermark[:200]})"
    if outcome.state == "failed":
        return f"{outcome.name}: the probe failed: {_one_line(outcome.error)}"
    if outcome.state == "hanging":
        return f"{outcome.name}: its probe has not come back; it is asked again once it does"
    return (
        f"{outcome.name}: no time left in this tick; it comes first in the next" if outcome.state == "no time" else None
    )


def _one_line(error: DativoError | None) -> str:
    if error is None:
        return "unknown"
    return " ".join((f"{error.message} ({error.hint})" if error.hint else error.message).split())
