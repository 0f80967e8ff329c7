"""When a job runs, over which part, how often it is tried, and how old its asset may grow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from .fields import Cron, Day, Duration, Flag, Frozen, Problem, Text, Texts, TimeZone, Whole, exactly_one

if TYPE_CHECKING:
    from .models import JobConfig


class _Polled(Frozen):
    """When what was found new starts a run."""

    debounce_s: Duration = Field(
        0.0,
        alias="debounce",
        description="A run starts once nothing has changed for so long: one for a burst of changes.",
    )
    quiet_period_s: Duration = Field(
        0.0, alias="quiet_period", description="The least time between the starts of two runs."
    )
    max_lag_s: Duration | None = Field(
        None,
        alias="max_lag",
        description="A run starts at the latest so long after the first change, whatever debounce and quiet_period say.",
    )


class FilesTrigger(_Polled):
    """New or changed files start a run."""

    poll_s: Duration = Field(30.0, alias="poll", description="How often to look.")


class ProbeTrigger(_Polled):
    """A change that the reader's own probe sees starts a run."""

    poll_s: Duration = Field(60.0, alias="poll", description="How often to ask.")


class Trigger(Frozen):
    """What starts a run by itself: exactly one of files, cron, on, probe."""

    files: FilesTrigger | None = Field(None, description="New or changed source files.")
    cron: Cron | None = Field(None, description='A schedule of five fields: "0 * * * *".')
    timezone: TimeZone = Field("UTC", description="The time zone of cron.")
    on: Literal["upstream"] | None = Field(None, description="A new version of anything in depends_on.")
    probe: ProbeTrigger | None = Field(None, description="The reader's probe.")

    @model_validator(mode="after")
    def _one_kind(self) -> Trigger:
        exactly_one(self, "a trigger", "files", "cron", "on", "probe")
        return self

    @property
    def kind(self) -> str:
        """files, cron, on or probe."""
        return next(key for key in ("files", "cron", "on", "probe") if getattr(self, key) is not None)


class TimePartitions(Frozen):
    """Partitions by time."""

    start: Day = Field(description="The first partition: 2013-01-01.")
    end: Day | None = Field(None, description="The end, itself left out; without it, up to now.")
    column: Text | None = Field(None, description="The column whose value places a row in a partition.")
    timezone: TimeZone = Field("UTC", description="The time zone in which a partition begins.")


class StaticPartitions(Frozen):
    """Partitions with fixed names."""

    values: Annotated[Texts, Field(min_length=1)] = Field(description="The partitions' names.")
    column: Text | None = Field(None, description="The column whose value names the partition of a row.")


class DynamicPartitions(Frozen):
    """Partitions whose names come to be known one by one, such as tenants."""

    column: Text = Field(description="The column whose value names the partition of a row.")
    find: Flag = Field(
        True,
        description="Whether the sensor finds the names in the source, where its reader can tell them; false: they are added "
        "by hand.",
    )


class FilePartitions(Frozen):
    """A partition for each file that the reader finds."""

    column: Text = Field(description="The column that a run adds: the file that the row came from.")


_KINDS = ("hourly", "daily", "weekly", "monthly", "static", "dynamic", "files", "multi")


class Partitions(Frozen):
    """How the asset is divided: exactly one of hourly, daily, weekly, monthly, static, dynamic, files, multi."""

    hourly: TimePartitions | None = Field(None, description="One partition an hour.")
    daily: TimePartitions | None = Field(None, description="One partition a day.")
    weekly: TimePartitions | None = Field(None, description="One partition a week.")
    monthly: TimePartitions | None = Field(None, description="One partition a month.")
    static: StaticPartitions | None = Field(
        None, description="Partitions with fixed names: a list, or {values, column}."
    )

    dynamic: DynamicPartitions | None = Field(
        None, description="Partitions named by a column's values: the sensor adds them in Dagster as they come."
    )
    files: FilePartitions | None = Field(
        None, description="One partition a file of the source: {column: file}. Each run loads one."
    )
    multi: dict[Text, Partitions] | None = Field(
        None, description="Partitions by two of these at once, by name: {day: {daily: ...}, region: {static: ...}}."
    )
    per_run: Whole | None = Field(
        None,
        ge=1,
        description="The most partitions that a run loads: a range of more is several runs in turn, each with its commit.",
    )

    @field_validator("static", mode="before")
    @classmethod
    def _static(cls, value: Any) -> Any:
        return {"values": value} if isinstance(value, (list, tuple)) else value

    @model_validator(mode="after")
    def _one_kind(self) -> Partitions:
        exactly_one(self, "partitions", *_KINDS)
        if self.multi is not None and len(self.multi) != 2:
            raise Problem(
                "multi takes two kinds of partitions by name", "as in {day: {daily: ...}, region: {...}}", "multi"
            )
        for name, inner in (self.multi or {}).items():
            if inner.multi is not None:
                raise Problem("multi takes no multi in it", None, "multi", name)
            if inner.files is not None:
                raise Problem(
                    "a run loads one file, whatever else divides it", "use files alone", "multi", name, "files"
                )
            if inner.per_run is not None:
                raise Problem("per_run is of all the partitions", "write it beside multi", "multi", name, "per_run")
        if self.multi is not None and self.per_run not in (None, 1):
            raise Problem("a run of multi loads all of a range, or one partition", "set per_run: 1", "per_run")
        if self.files is not None and self.per_run not in (None, 1):
            raise Problem("a run of files loads one", "leave per_run out", "per_run")
        return self

    @property
    def kind(self) -> str:
        """hourly, daily, weekly, monthly, static, dynamic, files or multi."""
        return next(key for key in _KINDS if getattr(self, key) is not None)

    @property
    def column(self) -> str | None:
        """The column that places a row, where one is named."""
        found: str | None = None if self.multi is not None else getattr(self, self.kind).column
        return found

    @property
    def axes(self) -> tuple[Partitions, ...]:
        """What a key is made of, in its order: by name, where there are several."""
        return (self,) if self.multi is None else tuple(self.multi[name] for name in sorted(self.multi))


def check_by_file(job: JobConfig, *, streams: bool) -> None:
    """Raises: Problem: for what does not go with a run a file. streams: whether the job has any."""
    if streams:
        raise Problem("a job of streams is not divided by its files", "make a job of each", "partitions", "files")
    if job.trigger is not None and job.trigger.files is None:
        raise Problem("new files start the runs of files", "use trigger: {files: {}}", "trigger")
    incremental = job.source.incremental
    if incremental is None:
        return
    if incremental.strategy not in ("file", "file_modified_time"):
        problem = f"a run loads one file, and the strategy is {incremental.strategy}"
        raise Problem(problem, "use strategy: file, or leave source.incremental out", "source", "incremental")
    if incremental.changed == "fail":
        raise Problem(
            "a file that changed replaces its rows", "use reread or ignore", "source", "incremental", "changed"
        )


class Retry(Frozen):
    """What happens after a transient failure."""

    max_attempts: Whole = Field(3, ge=1, le=100, description="Attempts in all, the first included.")
    backoff: Literal["exponential", "linear", "none"] = Field("exponential", description="How the delay grows.")
    delay_s: Duration = Field(1.0, alias="delay", description="The wait before the second attempt.")
    max_delay_s: Duration = Field(60.0, alias="max_delay", description="The longest wait between two attempts.")
    resume: Flag = Field(
        True,
        description="A run that follows a crash, or another attempt, keeps what a long one has read; false reads it all again.",
    )


class VolumeAlert(Frozen):
    """What number of rows is unusual."""

    factor: float = Field(
        4.0, gt=1, description="How many times more or fewer rows than the median of the runs before are unusual."
    )
    runs: Whole = Field(10, ge=3, le=100, description="How many runs before are looked at; fewer than 3 tell nothing.")


class Alerts(Frozen):
    """What becomes an asset check of its own, so that alerts on checks tell of it. A check that fails stops nothing."""

    failure: Flag = Field(False, description="`alert_failure` fails when a run does.")
    lag_s: Duration | None = Field(
        None,
        alias="lag",
        ge=60,
        description="`alert_lag` fails when no run has succeeded, or found nothing new, for this long.",
    )
    volume: VolumeAlert | None = Field(
        None, description="`alert_volume` warns when a run wrote an unusual number of rows."
    )


class Freshness(Frozen):
    """How old the asset may grow: `24h`, or {fail_after, warn_after}, or {cron, within}."""

    fail_after_s: Duration | None = Field(None, alias="fail_after", ge=60, description="Older than this is a failure.")
    warn_after_s: Duration | None = Field(None, alias="warn_after", ge=60, description="Older than this is a warning.")
    cron: Cron | None = Field(None, description="When a new version is due.")
    within_s: Duration | None = Field(None, alias="within", ge=60, description="How late after cron it may come.")
    timezone: TimeZone = Field("UTC", description="The time zone of cron.")

    @model_validator(mode="after")
    def _one_form(self) -> Freshness:
        if (self.cron is None) != (self.within_s is None):
            raise Problem("`cron` and `within` go together", 'as in {cron: "0 6 * * *", within: 2h}')
        if (self.fail_after_s is None) == (self.cron is None):
            raise Problem("freshness takes `fail_after` or `cron` and `within`", "the short form is `freshness: 24h`")
        if self.warn_after_s is not None and self.warn_after_s >= (self.fail_after_s or 0):
            raise Problem("`warn_after` must be shorter than `fail_after`", None, "warn_after")
        return self

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        short = isinstance(value, (str, int, float)) and not isinstance(value, bool)
        return {"fail_after": value} if short else value
