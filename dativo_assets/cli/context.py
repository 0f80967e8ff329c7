"""Options that every verb shares, and the project and jobs they name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from dativo_plugin_sdk import ConfigurationError, DativoError

from dativo_assets.config.project import Project, find_project
from dativo_assets.config.words import nearest
from dativo_assets.errors import to_dativo_error
from dativo_assets.plan import JobPlan, bind, upstream_jobs
from dativo_assets.registry import PluginRef, Registry

if TYPE_CHECKING:
    from dativo_assets.config import JobConfig

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

project_option = click.option("-p", "--project", metavar="DIR", help="The project's folder.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else, on standard output.")
stream_option = click.option("--stream", "streams", multiple=True, metavar="NAME", help="This stream of the job alone.")
config_option = click.option("--config", "config", metavar="FILE", hidden=True, help="The job's YAML file.")


@dataclass(frozen=True)
class Named:
    """A job that was asked for, or a stream of it: the job, or why there is none."""

    name: str
    job: JobConfig | None = None
    error: DativoError | None = None


@dataclass(frozen=True)
class Selection:
    """A project and the jobs of it that were asked for, upstream first."""

    project: Project
    registry: Registry
    jobs: tuple[Named, ...]

    def plans(self) -> tuple[JobPlan, ...]:
        """Those of all jobs. Raises: the error of the first that has one."""
        for named in self.jobs:
            if named.error is not None:
                raise named.error
        return tuple(bind(named.job, self.project, self.registry) for named in self.jobs if named.job is not None)


def select(
    names: Sequence[str],
    project: str | None = None,
    config: str | None = None,
    streams: Sequence[str] = (),
    locked: bool | None = None,
) -> Selection:
    """The jobs of these names or paths, one for each stream that they have; without any, all of the project, the broken ones
    too. streams: those alone. locked: as of a Project.

    Raises: ConfigurationError: when the project itself can't be read, or no job has such a stream.
    """
    from dativo_assets.config import load_project

    names = (*names, config) if config else tuple(names)
    loaded = replace(load_project(project_root(names, project)), locked=locked)
    registry = Registry(loaded.root)
    if not names:
        found = [Named(name, job) for name, job in loaded.jobs.items()]
        found += [Named(item.name, error=item.error) for item in loaded.broken]
        if not found:
            raise ConfigurationError(
                f"there is no job in {loaded.root}",
                hint=f"`jobs` in dativo.yaml looks for {', '.join(loaded.config.jobs)}; `dativo init` makes an example",
            )
    else:
        found = []
        for name in dict.fromkeys(names):
            item, loaded = _named(name, loaded)
            found.append(item)
    parts = [part for item in found for part in _parts(item, streams)]
    return Selection(loaded, registry, _ordered(parts, loaded, registry))


def project_root(names: Sequence[str], project: str | None) -> Path:
    """The folder of the project that a verb is about. Raises: ConfigurationError: when there is no such folder."""
    explicit = project or _group_option("project")
    paths = [name for name in names if _is_path(name)]
    return find_project(paths[0] if paths else None, explicit=explicit)


def _parts(item: Named, streams: Sequence[str]) -> list[Named]:
    if item.job is None:
        return [item]
    parts = item.job.parts
    known = [part.stream for part in parts if part.stream is not None]
    if unknown := next((stream for stream in streams if stream not in known), None):
        if not known:
            raise ConfigurationError(
                f"{item.name} has no streams", hint="leave out --stream, or name the job that has it"
            )
        guess = nearest(unknown, known)
        hint = f"did you mean `{guess}`?" if guess else f"its streams are {', '.join(known)}"
        raise ConfigurationError(f"{item.name} has no stream `{unknown}`", hint=hint)
    return [Named(part.name, part) for part in parts if not streams or part.stream in streams]


def plans_of(
    job: str | None, project: str | None, config: str | None, streams: Sequence[str] = ()
) -> tuple[JobPlan, ...]:
    """The bound plans of the one job that a verb was given, one for each of its streams.

    Raises: click.UsageError: when it was given none.
    """
    if not (job or config):
        context = click.get_current_context()
        raise click.UsageError(f"name a JOB: {context.command_path} JOB", context)
    return select((job,) if job else (), project, config, streams).plans()


def whose(plan: JobPlan) -> dict[str, str]:
    """How JSON names a plan: job, and stream where it is one."""
    return {"job": plan.job.job_name, **({} if plan.job.stream is None else {"stream": plan.job.stream})}


def plan_of(job: str | None, project: str | None, config: str | None, streams: Sequence[str] = ()) -> JobPlan:
    """The one plan that a verb was given. Raises: ConfigurationError: for several streams."""
    plans = plans_of(job, project, config, streams)
    if len(plans) > 1:
        raise ConfigurationError(
            f"{plans[0].job.job_name} has streams: {', '.join(plan.stream for plan in plans)}",
            hint=f"name one: --stream {plans[0].stream}",
        )
    return plans[0]


@contextmanager
def calling(plan: JobPlan, stage: str, plugin: PluginRef) -> Iterator[None]:
    """What a plugin raises inside names it and holds no secret, even an exit of the process."""
    try:
        yield
    except (Exception, SystemExit) as error:
        found = to_dativo_error(error, job=plan.job.name, stage=stage, plugin=plugin.reference)
        raise plan.redacted(found) from error


def expect(value: Any, kind: type[T], call: str) -> T:
    """What a plugin's call answered. Raises: TypeError: when it is something else."""
    if not isinstance(value, kind):
        raise TypeError(f"{call}() returned {type(value).__name__}, not {kind.__name__}")
    return value


def _group_option(name: str) -> str | None:
    context = click.get_current_context(silent=True)
    given = context.obj.get(name) if context is not None and isinstance(context.obj, dict) else None
    return str(given) if given else None


def _is_path(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


def _named(name: str, project: Project) -> tuple[Named, Project]:
    from dativo_assets.config import load_job

    if name not in project.jobs and (parts := project.parts(name)):
        return Named(name, parts[0]), project
    try:
        job = load_job(name, project)
    except DativoError as error:
        broken = next((item for item in project.broken if name in (item.name, item.path.stem)), None)
        return Named(Path(name).stem if _is_path(name) else name, error=broken.error if broken else error), project
    if job.name not in project.jobs:
        project = replace(project, jobs={**project.jobs, job.name: job})
    return Named(job.name, job), project


def _ordered(found: list[Named], project: Project, registry: Registry) -> tuple[Named, ...]:
    from graphlib import CycleError, TopologicalSorter

    by_name = {item.name: item for item in found}
    upstream: dict[str, set[str]] = {}
    for item in found:
        upstream[item.name] = set()
        if item.job is not None:
            try:
                waits_for = upstream_jobs(item.job, project, registry)
                parts = [part.name for name in waits_for for part in project.parts(name)]
                upstream[item.name] = {*waits_for, *parts} & by_name.keys()
            except DativoError:
                continue  # the job's own run tells
    try:
        return tuple(by_name[name] for name in TopologicalSorter(upstream).static_order())
    except CycleError:
        return tuple(found)  # binding tells which queries read each other
