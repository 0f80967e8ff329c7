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
from dativo_assets.errors import to_dativo_error
from dativo_assets.plan import JobPlan, bind, upstream_jobs
from dativo_assets.registry import PluginRef, Registry

if TYPE_CHECKING:
    from dativo_assets.config import JobConfig

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

project_option = click.option("-p", "--project", metavar="DIR", help="The project's folder.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else, on standard output.")
config_option = click.option("--config", "config", metavar="FILE", hidden=True, help="The job's YAML file.")


@dataclass(frozen=True)
class Named:
    """A job that was asked for: the job, or why there is none."""

    name: str
    job: JobConfig | None = None
    error: DativoError | None = None


@dataclass(frozen=True)
class Selection:
    """A project and the jobs of it that were asked for, upstream first."""

    project: Project
    registry: Registry
    jobs: tuple[Named, ...]

    def only(self) -> JobConfig:
        """The one job that was asked for. Raises: its error."""
        (named,) = self.jobs
        if named.job is None:
            assert named.error is not None
            raise named.error
        return named.job


def select(names: Sequence[str], project: str | None = None, config: str | None = None) -> Selection:
    """The jobs of these names or paths; without any, all of the project, the broken ones too.

    Raises: ConfigurationError: when the project itself can't be read.
    """
    from dativo_assets.config import load_project

    names = (*names, config) if config else tuple(names)
    loaded = load_project(project_root(names, project))
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
    return Selection(loaded, registry, _ordered(found, loaded, registry))


def project_root(names: Sequence[str], project: str | None) -> Path:
    """The folder of the project that a verb is about. Raises: ConfigurationError: when there is no such folder."""
    explicit = project or _group_option("project")
    paths = [name for name in names if _is_path(name)]
    return find_project(paths[0] if paths else None, explicit=explicit)


def plan_of(job: str | None, project: str | None, config: str | None) -> JobPlan:
    """The bound plan of the one job that a verb was given.

    Raises: click.UsageError: when it was given none.
    """
    if not (job or config):
        context = click.get_current_context()
        raise click.UsageError(f"name a JOB: {context.command_path} JOB", context)
    selection = select((job,) if job else (), project, config)
    return bind(selection.only(), selection.project, selection.registry)


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
                upstream[item.name] = {name for name in upstream_jobs(item.job, project, registry) if name in by_name}
            except DativoError:
                continue  # the job's own run tells
    try:
        return tuple(by_name[name] for name in TopologicalSorter(upstream).static_order())
    except CycleError:
        return tuple(found)  # binding tells which queries read each other
