"""The schedules of a runner file as Dagster's: each with a job of its own over the asset of the job it names."""

from collections.abc import Sequence
from datetime import datetime

import dagster as dg
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES

from dativo_assets.config.runner import RunnerSchedule

TENANT_TAG = "dativo/tenant"
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400


def schedule_of(
    schedule: RunnerSchedule, keys: Sequence[dg.AssetKey], tenant: object, per_tenant: int | None
) -> dg.ScheduleDefinition:
    """The schedule of a job's assets. per_tenant: how many runs of its tenant there may be at once."""
    name = _name(schedule.name)
    tags = {**schedule.tags, **({} if tenant is None else {TENANT_TAG: str(tenant)})}
    job = dg.define_asset_job(f"{name}_job", selection=dg.AssetSelection.assets(*keys), tags=tags)
    interval_s = schedule.interval_seconds

    def evaluate(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if interval_s is not None and not is_due(interval_s, context.scheduled_execution_time):
            return dg.SkipReason(f"not due: it runs every {interval_s} s")
        if schedule.max_concurrent_runs is not None:
            mine = dg.RunsFilter(job_name=job.name, statuses=IN_PROGRESS_RUN_STATUSES)
            if context.instance.get_runs_count(mine) >= schedule.max_concurrent_runs:
                return dg.SkipReason(f"{schedule.max_concurrent_runs} runs of it have not ended")
        if per_tenant is not None and tenant is not None:
            theirs = dg.RunsFilter(tags={TENANT_TAG: str(tenant)}, statuses=IN_PROGRESS_RUN_STATUSES)
            if context.instance.get_runs_count(theirs) >= per_tenant:
                return dg.SkipReason(f"{per_tenant} runs of tenant {tenant} have not ended")
        return dg.RunRequest()

    return dg.ScheduleDefinition(
        name=name,
        job=job,
        cron_schedule=schedule.cron or cron_of(interval_s or _MINUTE_S),
        execution_timezone=schedule.timezone,
        execution_fn=evaluate,
        default_status=dg.DefaultScheduleStatus.RUNNING if schedule.enabled else dg.DefaultScheduleStatus.STOPPED,
        description="From the runner file.",
    )


def cron_of(interval_s: int) -> str:
    """The cron whose ticks hold those of an interval: exactly them where a cron can say so, else every minute."""
    if interval_s == _DAY_S:
        return "0 0 * * *"
    if interval_s % _HOUR_S == 0 and _DAY_S % interval_s == 0:
        return f"0 */{interval_s // _HOUR_S} * * *"
    if interval_s % _MINUTE_S == 0 and _HOUR_S % interval_s == 0:
        return f"*/{interval_s // _MINUTE_S} * * * *"
    return "* * * * *"


def is_due(interval_s: int, tick: datetime) -> bool:
    """Whether an interval, counted from 1970, ends in the minute before a tick that its cron gives."""
    if cron_of(interval_s) != "* * * * *":
        return True
    end = int(tick.timestamp())
    return end // interval_s > (end - _MINUTE_S) // interval_s


def _name(text: str) -> str:
    return "".join(each if each.isalnum() else "_" for each in text)
