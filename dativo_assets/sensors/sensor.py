"""One sensor for every job of a location whose trigger is `files` or `probe`.

What is new is told by the job's target, whose commit holds the cursor: so nothing is lost with the daemon, whenever it dies.
Each change has a key, in the tags of its runs: a change that a run is on its way for starts no second one, and one whose run
failed is tried again, later each time. The cursor holds where to go on, and the changes that wait for a trigger's debounce.
"""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any, TypeAlias

import dagster as dg

from dativo_assets.config import JobConfig, Project
from dativo_assets.config.cache import DIGEST_CHARACTERS
from dativo_assets.config.timing import FilesTrigger, ProbeTrigger
from dativo_assets.errors import DativoError
from dativo_assets.registry import Registry

from .decide import CHANGE_TAG, Change, Decision, decide, tried
from .polling import Poller, Probed
from .sources import Sources, found_columns, is_started

NAME = "dativo_triggers"
_BUDGET_S = 20.0  # Dagster ends a tick after 60
_MAX_REQUESTS = 200
_LEAST_INTERVAL_S = 5
_NAMES_SHOWN = 20
_MAX_PARTITIONS = 50  # that one job starts runs for in one tick, so that a flood of files leaves the others their turn
_MAX_WAITING = 500  # of the changes that the cursor keeps: it is copied into each tick's row
_JOB_TAG = "dativo/job"

WithResources: TypeAlias = Callable[[Project, Any], Project]


@dataclass(frozen=True)
class Watched:
    """A job that the sensor watches. sources: the external assets it reads. dynamic: {part of its partitions' keys: the name that
    Dagster has those by} of the parts that are found as they come, "" for keys of one part.
    """

    job: JobConfig
    key: dg.AssetKey
    sources: tuple[dg.AssetKey, ...] = ()
    dynamic: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def wants(cls, job: JobConfig) -> bool:
        """Whether the sensor has anything to do with a job: it starts it, or tells Dagster which files or names are its
        partitions.
        """
        return job.enabled and (is_started(job) or job.is_by_file or bool(found_columns(job)))

    @property
    def trigger(self) -> FilesTrigger | ProbeTrigger:
        trigger = self.job.trigger
        found = None if trigger is None else trigger.files or trigger.probe
        return found or FilesTrigger.model_validate({})


@dataclass(frozen=True)
class _News:
    """Something new of a job, or of one of its partitions."""

    item: Watched
    partition: str
    watermark: str
    change: Change

    @property
    def name(self) -> str:
        return _name(self.item.job.name, self.partition)


def _name(job: str, partition: str) -> str:
    return f"{job}:{partition}" if partition else job


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
    state = _State(project, Sources(registry), Poller(budget_s), with_resources)
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
    """What one process remembers between ticks, all of it expendable: of sources, when a job was asked, what was told."""

    project: Project
    sources: Sources
    poller: Poller
    with_resources: WithResources
    asked: dict[str, float] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)

    def tick(self, context: dg.SensorEvaluationContext, watched: dict[str, Watched]) -> dg.SensorResult:
        now, now_s = time.monotonic(), time.time()
        project = self.with_resources(self.project, context.resources)
        first, waiting = _from_cursor(context.cursor)
        names = list(watched)
        offset = names.index(first) if first in watched else 0
        due = [name for name in names[offset:] + names[:offset] if self._is_due(watched[name], now)]
        probes = {name: lambda name=name: self.sources.news(watched[name].job, project) for name in due}
        outcomes = self.poller.ask(probes, due)
        news = {found.name: self._news(watched[found.name], found, waiting, now_s) for found in outcomes}
        started = [new for some in news.values() for new in some if new.item.job.trigger is not None]
        decisions = self._decisions(context.instance, started, now_s)
        tick = _Tick()
        for found in outcomes:
            if found.state == "no time" or (news[found.name] and tick.is_full):
                tick.left_over(found.name, found.state == "no time")
                continue
            item = watched[found.name]
            if found.state == "answered":
                _forget(waiting, found.name)
                tick.partitions += self._partitions(item, news[found.name], context.instance)
            if not news[found.name] or item.job.trigger is None:
                if found.state != "hanging":  # be it that the tick ended in the middle of it
                    self.asked[found.name] = now
                tick.told(found)
            elif self._decided(tick, news[found.name], decisions, waiting):
                self.asked[found.name] = now
        said = tick.explained(names, due)
        for line in said:
            context.log.info(line)
        return dg.SensorResult(
            run_requests=tick.requests,
            asset_events=tick.events,
            dynamic_partitions_requests=tick.partitions,
            cursor=_to_cursor(tick.first, {name: waiting[name] for name in waiting if name.split(":")[0] in watched}),
            skip_reason=None if tick.requests else ". ".join(said[:_NAMES_SHOWN]),
        )

    def _decided(
        self, tick: "_Tick", news: Sequence[_News], decisions: Mapping[str, Decision], waiting: dict[str, Change]
    ) -> bool:
        """Start what is to be started of one job; whether all of it is decided."""
        started = left = 0
        for new in sorted(news, key=lambda new: _in_turn(decisions[new.name])):
            decision = decisions[new.name]
            if decision.attempt and not tick.is_full and started < _MAX_PARTITIONS:
                started += 1
                tick.requests.append(_request(new, decision.attempt))
                tick.events += self._observations(new.item, new.watermark)
            elif decision.attempt or decision.waits:
                left += bool(decision.attempt)
                waiting[new.name] = new.change
            if not left:
                tick.decided(new, decision)
        if left:
            tick.more(news[0].item.job.name, left)
        return not left

    def _news(self, item: Watched, found: Probed, waiting: Mapping[str, Change], now_s: float) -> list[_News]:
        some = []
        for partition, watermark in found.news.items():
            name = _name(found.name, partition)
            some.append(_News(item, partition, watermark, Change.seen(name, watermark, waiting.get(name), now_s)))
        return some

    def _partitions(
        self, item: Watched, news: Sequence[_News], instance: dg.DagsterInstance
    ) -> list[dg.AddDynamicPartitionsRequest]:
        """Those of a job that Dagster does not know: new ones, and of files, once a process, those that are loaded."""
        found = {part: list(keys) for part, keys in self.sources.found.pop(item.job.name, {}).items()}
        found.setdefault("", []).extend(new.partition for new in news if new.partition)
        requests = []
        for part, name in item.dynamic.items():
            if keys := found.get(part):
                known = set(instance.get_dynamic_partitions(name))
                new = [key for key in dict.fromkeys(keys) if key not in known and _can_be_partition(key, part)]
                requests += [dg.AddDynamicPartitionsRequest(name, new)] if new else []
        return requests

    def _decisions(self, instance: dg.DagsterInstance, news: Sequence[_News], now_s: float) -> dict[str, Decision]:
        before = tried((new.change.key for new in news), instance)
        last_s: dict[str, float | None] = {}
        found = {}
        for new in news:
            if not _can_be_partition(new.partition):
                found[new.name] = Decision(
                    0, "Dagster takes no such name for a partition; rename it, or use dativo run"
                )
                continue
            job, change, trigger = new.item.job.name, new.change, new.item.trigger
            if trigger.quiet_period_s and change.key not in before and job not in last_s:
                last_s[job] = _last_run_s(job, instance)
            found[new.name] = decide(change, trigger, before.get(change.key), last_s.get(job), now_s)
        return found

    def _is_due(self, item: Watched, now: float) -> bool:
        last = self.asked.get(item.job.name)
        # Half a second of grace: ticks never come to the millisecond.
        return last is None or now - last >= item.trigger.poll_s - 0.5

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


@dataclass
class _Tick:
    """What comes of one tick. first: the job that the next one begins with."""

    requests: list[dg.RunRequest] = field(default_factory=list)
    events: list[dg.AssetObservation] = field(default_factory=list)
    partitions: list[dg.AddDynamicPartitionsRequest] = field(default_factory=list)
    first: str | None = None
    lines: list[str] = field(default_factory=list)
    unsaid: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    nothing_new: list[str] = field(default_factory=list)
    no_time: list[str] = field(default_factory=list)
    too_many: list[str] = field(default_factory=list)

    @property
    def is_full(self) -> bool:
        return len(self.requests) >= _MAX_REQUESTS

    def left_over(self, name: str, no_time: bool) -> None:
        (self.no_time if no_time else self.too_many).append(name)
        self.first = self.first or name

    def more(self, name: str, partitions: int) -> None:
        """More partitions of a job are new than it starts runs for in one tick."""
        self.lines.append(f"{name}: {partitions} more partitions are new; the next tick goes on with them")
        if self.is_full:
            self.first = self.first or name

    def told(self, found: Probed) -> None:
        if found.state == "failed":
            self.lines.append(f"{found.name}: the probe failed: {_one_line(found.error)}")
        elif found.state == "hanging":
            self.lines.append(f"{found.name}: its probe has not come back; it is asked again once it does")
        elif found.news:
            self.lines.append(f"{found.name}: {len(found.news)} files are new, and it has no trigger that starts it")
        else:
            self.nothing_new.append(found.name)

    def decided(self, new: _News, decision: Decision) -> None:
        self.unsaid[new.item.job.name] += 1
        if self.unsaid[new.item.job.name] <= _NAMES_SHOWN:
            self.lines.append(f"{new.name}: {decision.why} ({new.watermark[:200]})")

    def explained(self, names: Sequence[str], due: Sequence[str]) -> list[str]:
        """Why each job runs, and why each other one does not."""
        asked = len(due) - len(self.no_time)
        told = [f"{len(names)} watched, {asked} asked, {len(self.nothing_new)} without anything new", *self.lines]
        for name, count in self.unsaid.items():
            if count > _NAMES_SHOWN:
                told.append(f"{name}: and {count - _NAMES_SHOWN} partitions more")
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


def _in_turn(decision: Decision) -> int:
    """What is started first, then what waits: of many partitions, some are told."""
    return 0 if decision.attempt else 1 if decision.waits else 2


def _request(new: _News, attempt: int) -> dg.RunRequest:
    job, change = new.item.job, new.change
    return dg.RunRequest(
        run_key=change.key if attempt == 1 else f"{change.key}:{attempt}",
        asset_selection=[new.item.key],
        partition_key=new.partition or None,
        tags={
            _JOB_TAG: job.name[:63],
            "dativo/trigger": "files" if isinstance(new.item.trigger, FilesTrigger) else "probe",
            "dativo/digest": job.digest[:DIGEST_CHARACTERS],
            CHANGE_TAG: change.key,
        },
    )


def _can_be_partition(name: str, part: str = "") -> bool:
    """Whether Dagster takes it for a partition's name. part: of keys of several, which stand between bars."""
    return "..." not in name and all(character >= " " for character in name) and not (part and "|" in name)


def _forget(waiting: dict[str, Change], job: str) -> None:
    for name in [name for name in waiting if name == job or name.startswith(f"{job}:")]:
        del waiting[name]


def _one_line(error: DativoError | None) -> str:
    if error is None:
        return "unknown"
    return " ".join((f"{error.message} ({error.hint})" if error.hint else error.message).split())
