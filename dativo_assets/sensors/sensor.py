"""One sensor for every job of a location whose trigger is `files` or `probe`.

What is new is told by the job's target, whose commit holds the cursor: so nothing is lost with the daemon, whenever it dies.
Each change has a key, in the tags of its runs: a change that a run is on its way for starts no second one, and one whose run
failed is tried again, later each time. The cursor holds where to go on, and the changes that wait for a trigger's debounce.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any, TypeAlias

import dagster as dg

from dativo_assets.config import JobConfig, Project
from dativo_assets.config.cache import DIGEST_CHARACTERS
from dativo_assets.config.timing import FilesTrigger, ProbeTrigger
from dativo_assets.errors import DativoError, to_dativo_error
from dativo_assets.plan import JobPlan, bind
from dativo_assets.registry import Registry

from .decide import CHANGE_TAG, Change, Decision, decide, tried
from .polling import Poller, Probed

NAME = "dativo_triggers"
_BUDGET_S = 20.0  # Dagster ends a tick after 60
_MAX_REQUESTS = 200
_LEAST_INTERVAL_S = 5
_NAMES_SHOWN = 20
_MAX_WAITING = 500  # of the changes that the cursor keeps: it is copied into each tick's row
_JOB_TAG = "dativo/job"

WithResources: TypeAlias = Callable[[Project, Any], Project]


@dataclass(frozen=True)
class Watched:
    """A job that the sensor watches. sources: the external assets it reads."""

    job: JobConfig
    key: dg.AssetKey
    sources: tuple[dg.AssetKey, ...] = ()

    @property
    def trigger(self) -> FilesTrigger | ProbeTrigger:
        assert self.job.trigger is not None
        found = self.job.trigger.files or self.job.trigger.probe
        assert found is not None
        return found


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
    interval_s = max(_LEAST_INTERVAL_S, int(min(item.trigger.poll_s for item in watched)))

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
        now, now_s = time.monotonic(), time.time()
        project = self.with_resources(self.project, context.resources)
        first, waiting = _from_cursor(context.cursor)
        names = list(watched)
        offset = names.index(first) if first in watched else 0
        due = [name for name in names[offset:] + names[:offset] if self._is_due(watched[name], now)]
        probes = {name: lambda name=name: self._probe(watched[name].job, project) for name in due}
        outcomes = self.poller.ask(probes, due)
        changes = {
            found.name: Change.seen(found.name, found.watermark, waiting.get(found.name), now_s)
            for found in outcomes
            if found.watermark is not None
        }
        decisions = self._decisions(context.instance, watched, changes, now_s)
        tick = _Tick()
        for found in outcomes:
            if found.state == "no time" or (found.name in decisions and tick.is_full):
                tick.left_over(found.name, found.state == "no time")
                continue
            self.asked[found.name] = now
            if found.watermark is None:
                tick.told(found)
                if found.state == "answered":
                    waiting.pop(found.name, None)
                continue
            item, change, decision = watched[found.name], changes[found.name], decisions[found.name]
            tick.decided(found, decision)
            if decision.attempt:
                tick.requests.append(_request(item, change, decision.attempt))
                tick.events += self._observations(item, found.watermark)
                waiting.pop(found.name, None)
            else:
                waiting[found.name] = change
        said = tick.explained(names, due)
        for line in said:
            context.log.info(line)
        return dg.SensorResult(
            run_requests=tick.requests,
            asset_events=tick.events,
            cursor=_to_cursor(tick.first, {name: waiting[name] for name in waiting if name in watched}),
            skip_reason=None if tick.requests else ". ".join(said[:_NAMES_SHOWN]),
        )

    def _decisions(
        self, instance: dg.DagsterInstance, watched: dict[str, Watched], changes: dict[str, Change], now_s: float
    ) -> dict[str, Decision]:
        before = tried((change.key for change in changes.values()), instance)
        found = {}
        for name, change in changes.items():
            trigger = watched[name].trigger
            last_s = _last_run_s(name, instance) if trigger.quiet_period_s and change.key not in before else None
            found[name] = decide(change, trigger, before.get(change.key), last_s, now_s)
        return found

    def _is_due(self, item: Watched, now: float) -> bool:
        last = self.asked.get(item.job.name)
        # Half a second of grace: ticks never come to the millisecond.
        return last is None or now - last >= item.trigger.poll_s - 0.5

    def _probe(self, job: JobConfig, project: Project) -> str | None:
        plan = self.plans.get(job.name)
        if plan is None:
            plan = self.plans[job.name] = bind(job, project, self.registry, locate=False)
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


@dataclass
class _Tick:
    """What comes of one tick. first: the job that the next one begins with."""

    requests: list[dg.RunRequest] = field(default_factory=list)
    events: list[dg.AssetObservation] = field(default_factory=list)
    first: str | None = None
    lines: list[str] = field(default_factory=list)
    nothing_new: list[str] = field(default_factory=list)
    no_time: list[str] = field(default_factory=list)
    too_many: list[str] = field(default_factory=list)

    @property
    def is_full(self) -> bool:
        return len(self.requests) >= _MAX_REQUESTS

    def left_over(self, name: str, no_time: bool) -> None:
        (self.no_time if no_time else self.too_many).append(name)
        self.first = self.first or name

    def told(self, found: Probed) -> None:
        if found.state == "failed":
            self.lines.append(f"{found.name}: the probe failed: {_one_line(found.error)}")
        elif found.state == "hanging":
            self.lines.append(f"{found.name}: its probe has not come back; it is asked again once it does")
        else:
            self.nothing_new.append(found.name)

    def decided(self, found: Probed, decision: Decision) -> None:
        self.lines.append(f"{found.name}: {decision.why} ({(found.watermark or '')[:200]})")

    def explained(self, names: Sequence[str], due: Sequence[str]) -> list[str]:
        """Why each job runs, and why each other one does not."""
        asked = len(due) - len(self.no_time)
        told = [f"{len(names)} watched, {asked} asked, {len(self.nothing_new)} without anything new", *self.lines]
        early = set(names).difference(due)
        for what, which in (
            ("nothing new", self.nothing_new),
            ("not yet due, by its `poll`", [name for name in names if name in early]),
            ("no time left in this tick; they come first in the next", self.no_time),
            (f"this tick has started {_MAX_REQUESTS} runs; they come first in the next", self.too_many),
        ):
            if which:
                more = f" and {len(which) - _NAMES_SHOWN} more" if len(which) > _NAMES_SHOWN else ""
                told.append(f"{what}: {', '.join(which[:_NAMES_SHOWN])}{more}")
        return told


def _from_cursor(text: str | None) -> tuple[str | None, dict[str, Change]]:
    """The job to begin with, and the changes that wait; nothing from a cursor that is not ours."""
    try:
        value = json.loads(text or "{}")
        return value.get("first"), {name: Change(*change) for name, change in value.get("waiting", {}).items()}
    except (ValueError, TypeError, AttributeError):
        return None, {}


def _to_cursor(first: str | None, waiting: dict[str, Change]) -> str:
    kept = dict(list(waiting.items())[:_MAX_WAITING])
    return json.dumps({"first": first, "waiting": {name: astuple(change) for name, change in kept.items()}})


def _last_run_s(job: str, instance: dg.DagsterInstance) -> float | None:
    """When the job's last run was asked for that this sensor started."""
    records = instance.get_run_records(dg.RunsFilter(tags={_JOB_TAG: job[:63]}), limit=1)
    return records[0].create_timestamp.timestamp() if records else None


def _request(item: Watched, change: Change, attempt: int) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=change.key if attempt == 1 else f"{change.key}:{attempt}",
        asset_selection=[item.key],
        tags={
            _JOB_TAG: item.job.name[:63],
            "dativo/trigger": "files" if isinstance(item.trigger, FilesTrigger) else "probe",
            "dativo/digest": item.job.digest[:DIGEST_CHARACTERS],
            CHANGE_TAG: change.key,
        },
    )


def _one_line(error: DativoError | None) -> str:
    if error is None:
        return "unknown"
    return " ".join((f"{error.message} ({error.hint})" if error.hint else error.message).split())
