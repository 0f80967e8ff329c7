"""The runner file of the earlier package: which job runs when. `runner: FILE` in dativo.yaml, else runner.yaml beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError, model_validator

from dativo_assets.errors import ConfigurationError, ConfigurationErrors

from .fields import Cron, Flag, Frozen, JobName, Problem, Text, TimeZone, Whole, exactly_one
from .origin import Layer, Located, Origin
from .problems import invalid, problem
from .project import Project
from .yaml import load_file

DEFAULT_FILE = "runner.yaml"
_CONTAINER = "/app/"


class RunnerSchedule(Frozen):
    """One job's schedule: exactly one of cron and interval_seconds."""

    name: JobName = Field(description="The schedule's name.")
    config: Text = Field(description="The job's file.")
    cron: Cron | None = Field(None, description="When it runs.")
    interval_seconds: Whole | None = Field(None, ge=1, description="How often it runs; a minute at the least.")
    enabled: Flag = Field(True, description="Whether it is switched on from the start.")
    timezone: TimeZone = Field("UTC", description="The time zone of cron.")
    max_concurrent_runs: Whole | None = Field(None, ge=1, description="A tick is left out while as many are running.")
    tags: dict[str, Text] = Field(default_factory=dict, description="Tags of its runs.")

    @model_validator(mode="after")
    def _one_kind(self) -> RunnerSchedule:
        exactly_one(self, "a schedule", "cron", "interval_seconds")
        return self


class Orchestrator(Frozen):
    """When jobs run."""

    type: Text = Field("dagster", description="What runs them.")
    schedules: tuple[RunnerSchedule, ...] = Field((), description="The schedules.")
    concurrency_per_tenant: Whole | None = Field(
        None, ge=1, description="How many runs of a tenant there may be at once."
    )

    @model_validator(mode="after")
    def _names_once(self) -> Orchestrator:
        seen: set[str] = set()
        for index, schedule in enumerate(self.schedules):
            if schedule.name in seen:
                raise Problem(
                    f"two schedules are named `{schedule.name}`", "give each its own", "schedules", index, "name"
                )
            seen.add(schedule.name)
        return self


class _Runner(Frozen):
    mode: Text = Field("orchestrated", description="How it was started.")
    orchestrator: Orchestrator = Field(description="When jobs run.")


class RunnerFile(Located):
    """A runner file."""

    runner: _Runner = Field(description="What runs.")

    @property
    def orchestrator(self) -> Orchestrator:
        """When jobs run."""
        return self.runner.orchestrator

    def job_of(self, index: int, project: Project) -> str:
        """The name of the job that a schedule runs, be it broken.

        Raises: ConfigurationError: at the line of a `config` that is no job of the project.
        """
        written = self.orchestrator.schedules[index].config
        path = Path(written)
        if written.startswith(_CONTAINER) and not path.exists():
            path = Path(written.removeprefix(_CONTAINER))
        there = (project.root / path).resolve()
        for name, job in project.jobs.items():
            if job.path == there:
                return name
        for item in project.broken:
            if item.path == there:
                return item.name
        raise problem(
            f"{written} is no job of the project",
            self.origin,
            "runner",
            "orchestrator",
            "schedules",
            index,
            "config",
            key=False,
            hint=f"jobs are {', '.join(project.config.jobs)}: see `jobs` in dativo.yaml",
        )


@dataclass(frozen=True)
class Runner:
    """What a project's runner file says. schedules: each with its job, those alone that hold. error: all that is wrong with it,
    each at its line. per_tenant: how many runs of a tenant there may be at once.
    """

    path: Path
    schedules: tuple[tuple[RunnerSchedule, str], ...] = ()
    error: ConfigurationError | None = None
    per_tenant: int | None = None


def load_runner(project: Project) -> Runner | None:
    """The project's runner file; None where there is none. What is wrong with it leaves the other schedules alone."""
    named = project.config.runner
    path = project.root / (named or DEFAULT_FILE)
    if named is None and not path.is_file():
        return None
    try:
        found = _read(path, named or DEFAULT_FILE, project.root)
    except ConfigurationError as error:
        return Runner(path, error=error)
    schedules: list[tuple[RunnerSchedule, str]] = []
    errors: list[ConfigurationError] = []
    for index, schedule in enumerate(found.orchestrator.schedules):
        try:
            schedules.append((schedule, found.job_of(index, project)))
        except ConfigurationError as error:
            errors.append(error)
    wrong = ConfigurationErrors.of(errors) if errors else None
    return Runner(path, tuple(schedules), wrong, found.orchestrator.concurrency_per_tenant)


def _read(path: Path, shown: str, root: Path) -> RunnerFile:
    document = load_file(path, shown=shown)
    origin = Origin(path, root, shown, (Layer(document),))
    if not isinstance(document.value, dict):
        raise problem(f"{shown} must be a mapping", origin, hint="write `runner: {orchestrator: {schedules: [...]}}`")
    try:
        found = RunnerFile.model_validate(document.value)
    except ValidationError as error:
        raise invalid(error, RunnerFile, origin) from None
    found.with_origin(origin)
    return found
