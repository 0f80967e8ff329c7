"""When and over what Dagster runs a job's asset: automation conditions, freshness policies, partitions."""

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import dagster as dg

from dativo_assets.config import Freshness, JobConfig, Partitions

_DAY_MINUTES = 24 * 60


def automation_condition(
    job: JobConfig, upstream: Sequence[dg.AssetKey]
) -> "dg.AutomationCondition[dg.AssetKey] | None":
    """The condition for `trigger: {cron}` and `{on: upstream}`; the other triggers belong to the sensor.

    A cron trigger means its time alone: it does not wait for upstream assets, which may have nothing new that day. Assets
    that are due at the same time run in one run, in the order of their lineage.
    """
    trigger = job.trigger
    if trigger is None:
        return None
    idle = ~dg.AutomationCondition.in_progress()
    if trigger.cron is not None:
        passed: Any = dg.AutomationCondition.cron_tick_passed(trigger.cron, trigger.timezone)
        return _labelled(passed.since_last_handled() & idle, f"on_cron({trigger.cron}, {trigger.timezone})")
    if trigger.on is not None and upstream:
        updated: Any = dg.AutomationCondition.any_deps_updated().allow(dg.AssetSelection.assets(*upstream))
        settled = ~dg.AutomationCondition.any_deps_in_progress()
        return _labelled(updated.since_last_handled() & settled & idle, "on_upstream")
    return None


def _labelled(condition: Any, label: str) -> "dg.AutomationCondition[dg.AssetKey]":
    latest: Any = dg.AutomationCondition.in_latest_time_window()
    found: dg.AutomationCondition[dg.AssetKey] = (latest & condition).with_label(label)
    return found


def freshness_policy(freshness: Freshness | None) -> dg.FreshnessPolicy | None:
    """The policy that the UI shows; None also where a cron of this form has no deadline in Dagster's terms."""
    if freshness is None:
        return None
    if freshness.fail_after_s is not None:
        warn = freshness.warn_after_s
        return dg.FreshnessPolicy.time_window(
            fail_window=timedelta(seconds=freshness.fail_after_s),
            warn_window=None if warn is None else timedelta(seconds=warn),
        )
    assert freshness.cron is not None and freshness.within_s is not None
    deadline = _later(freshness.cron, int(freshness.within_s // 60))
    if deadline is None:
        return None
    return dg.FreshnessPolicy.cron(deadline, timedelta(seconds=freshness.within_s), freshness.timezone)


def _later(cron: str, minutes: int) -> str | None:
    """The cron that many minutes later, where a cron can say so: within the hour, or at a fixed time of the same day."""
    fields = cron.split()
    if len(fields) != 5 or not fields[0].isdigit():
        return None
    minute, hour, rest = int(fields[0]), fields[1], fields[2:]
    if not hour.isdigit():
        return " ".join([str(minute + minutes), hour, *rest]) if minute + minutes < 60 else None
    total = int(hour) * 60 + minute + minutes
    if total >= _DAY_MINUTES and rest != ["*", "*", "*"]:
        return None
    return " ".join([str(total % 60), str(total // 60 % 24), *rest]) if total < 2 * _DAY_MINUTES else None


def partitions_definition(partitions: Partitions | None, name: str) -> "dg.PartitionsDefinition[Any] | None":
    """The partitions as the UI shows them. name: of those that are dynamic, which an instance has once for all locations."""
    if partitions is None:
        return None
    if partitions.multi is not None:
        inner = {part: partitions_definition(each, f"{name}:{part}") for part, each in partitions.multi.items()}
        return dg.MultiPartitionsDefinition({part: each for part, each in inner.items() if each is not None})
    if partitions.dynamic is not None or partitions.files is not None:
        return dg.DynamicPartitionsDefinition(name=name)
    if partitions.static is not None:
        return dg.StaticPartitionsDefinition(list(partitions.static.values))
    kinds: dict[str, type[dg.TimeWindowPartitionsDefinition]] = {
        "hourly": dg.HourlyPartitionsDefinition,
        "daily": dg.DailyPartitionsDefinition,
        "weekly": dg.WeeklyPartitionsDefinition,
        "monthly": dg.MonthlyPartitionsDefinition,
    }
    given = getattr(partitions, partitions.kind)
    format_ = {"hourly": "%Y-%m-%d-%H:%M"}.get(partitions.kind, "%Y-%m-%d")
    return kinds[partitions.kind](  # type: ignore[call-arg]
        start_date=_day(given.start, format_),
        end_date=None if given.end is None else _day(given.end, format_),
        timezone=given.timezone,
    )


def dynamic_names(partitions: "dg.PartitionsDefinition[Any] | None") -> dict[str, str]:
    """{part of the keys: the name that Dagster has its partitions by} of those that are dynamic; "" for keys of one part."""
    parts: dict[str, dg.PartitionsDefinition[Any] | None] = {"": partitions}
    if isinstance(partitions, dg.MultiPartitionsDefinition):
        parts = {part.name: part.partitions_def for part in partitions.partitions_defs}
    return {
        part: each.name
        for part, each in parts.items()
        if isinstance(each, dg.DynamicPartitionsDefinition) and each.name is not None
    }


def backfill_policy(job: JobConfig | None) -> dg.BackfillPolicy:
    """How a backfill becomes runs: one for each range, or some for `per_run` partitions each; for files one each."""
    if job is not None and job.is_by_file:
        return dg.BackfillPolicy.multi_run(1)
    size = None if job is None or job.partitions is None else job.partitions.per_run
    return dg.BackfillPolicy.single_run() if size is None else dg.BackfillPolicy.multi_run(size)


def _day(text: str, format_: str) -> str:
    """A date or date and time as Dagster's format for the partition wants it."""
    day, _, clock = text.replace("T", " ").partition(" ")
    if format_ == "%Y-%m-%d":
        return day
    return f"{day}-{clock[:5] if re.match(r'[0-9]{2}:[0-9]{2}', clock) else '00:00'}"
