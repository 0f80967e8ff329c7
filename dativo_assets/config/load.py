"""A folder of YAML files as a project: one broken file harms itself alone.

project = load_project(find_project())
project.jobs: {name: JobConfig}      project.broken: (BrokenJob(path, name, error), ...)
load_job("flights", project)         load_job("elsewhere/job.yaml", project)
project.connection(job.source)       the mapping of a source's or target's connection, still with ${NAME} in it
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dativo_assets.errors import ConfigurationError, ConfigurationErrors

from .cache import JobCache
from .compat import translated
from .defaults import check_defaults, with_defaults
from .graph import find_faults
from .models import JobConfig, ProjectConfig
from .origin import Layer, Origin
from .problems import invalid, problem
from .project import PROJECT_FILE, BrokenJob, Project, connection_hint, job_files
from .words import nearest
from .yaml import Document, load_file, loads


def load_project(root: Path | str) -> Project:
    """Every job of a project, the broken ones with their errors.

    Raises: ConfigurationError: when dativo.yaml itself is wrong.
    """
    folder = Path(root).expanduser().resolve()
    config = load_config(folder)
    loaded: list[JobConfig] = []
    broken: list[BrokenJob] = []
    with _collector_paused():
        for found in _read_all(job_files(folder, config.jobs), folder, config):
            if isinstance(found, BrokenJob):
                broken.append(found)
            else:
                loaded.append(found)
    jobs: dict[str, JobConfig] = {}
    faults = find_faults(loaded, {item.name for item in broken})
    for index, job in enumerate(loaded):
        if errors := faults.get(index):
            assert job.path is not None
            broken.append(BrokenJob(job.path, job.name, ConfigurationErrors.of(errors)))
        else:
            jobs[job.name] = job
    return Project(folder, config, jobs, tuple(sorted(broken, key=lambda item: item.path)))


def _read_all(paths: list[Path], root: Path, config: ProjectConfig) -> list[JobConfig | BrokenJob]:
    """The jobs of files; only those that changed since they were last read are parsed."""
    cache = JobCache(root)
    key = cache.keys(config)
    keys: dict[Path, str] = {}
    for path in paths:
        with suppress(OSError):
            keys[path] = key(_shown(path, root), path.read_bytes())
    known = cache.jobs(keys.values())
    new: dict[str, JobConfig] = {}
    found: list[JobConfig | BrokenJob] = []
    for path in paths:
        job = known.get(keys.get(path, ""))
        if job is None:
            try:
                job = read_job(path, root, config)
            except ConfigurationError as error:
                found.append(BrokenJob(path, str(error.details.get("job") or path.stem), error))
                continue
            # Of the text that was parsed: the file may have changed since it was looked at.
            new[key(_shown(path, root), job.origin.layers[0].document.text.encode())] = job
        found.append(job)
    cache.add(new)
    return found


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Thousands of jobs make many objects and no cycles worth a search: the collector would take a third of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def load_config(root: Path) -> ProjectConfig:
    """The project's dativo.yaml; the defaults of a project that has none.

    Raises: ConfigurationError: when it is wrong.
    """
    path = root / PROJECT_FILE
    if not path.is_file():
        config = ProjectConfig.model_validate({})
        config.with_origin(Origin(None, root, PROJECT_FILE))
        return config
    document = load_file(path, shown=PROJECT_FILE)
    origin = Origin(path, root, PROJECT_FILE, (Layer(document),))
    value = {} if document.value is None else document.value
    if not isinstance(value, dict):
        raise problem(f"{PROJECT_FILE} must be a mapping", origin, hint="write keys, as in `jobs: jobs/**/*.yaml`")
    try:
        config = ProjectConfig.model_validate(value)
    except ValidationError as error:
        raise invalid(error, ProjectConfig, origin) from None
    config.with_origin(Origin(path, root, PROJECT_FILE, (Layer(document.compact()),)))
    check_defaults(config.defaults, origin)
    return config


def read_job(path: Path, root: Path, config: ProjectConfig, text: str | None = None) -> JobConfig:
    """The job in a file, with the project's defaults under it. What other jobs say about it is not looked at.

    text: what is taken for the file's.

    Raises: ConfigurationError: one, or a ConfigurationErrors with each mistake; details["job"] is the job's name.
    """
    shown = _shown(path, root)
    document = load_file(path, shown=shown) if text is None else loads(text, file=shown)
    name = path.stem
    if isinstance(document.value, dict) and isinstance(document.value.get("name"), str):
        name = document.value["name"]
    try:
        return _validated(document, path, root, config, name)
    except ConfigurationError as error:
        error.at(job=name)
        raise


def _validated(document: Document, path: Path, root: Path, config: ProjectConfig, name: str) -> JobConfig:
    own = document.value
    origin = Origin(path, root, document.file, (Layer(document),))
    if own is None:
        raise problem(f"{document.file} is empty", origin, hint="a job needs at least `source` and `target`")
    if not isinstance(own, dict):
        raise problem("a job must be a mapping", origin, key=False, hint="write keys, as in `source: {reader: csv}`")
    found = translated(document, root)
    below = tuple(Layer(layer.document, ("defaults",)) for layer in config.origin.layers)
    origin = Origin(path, root, document.file, (*found.layers, *below), found.notes)
    value = with_defaults(found.value, config.defaults, name)
    try:
        job = JobConfig.model_validate(value)
    except ValidationError as error:
        if not _numbers_as_text(error, value, origin):
            raise invalid(error, JobConfig, origin) from None
        try:
            job = JobConfig.model_validate(value)
        except ValidationError as second:
            raise invalid(second, JobConfig, origin) from None
    job.with_origin(replace(origin, layers=(*(layer.compact() for layer in found.layers), *below)))
    _check_connections(job, config)
    return job


def _numbers_as_text(error: ValidationError, value: dict[str, Any], origin: Origin) -> bool:
    """Puts back the characters of a number that stands where only text makes sense (`version: 1.10`)."""
    changed = False
    for item in error.errors(include_url=False, include_context=False):
        if item["type"] != "string_type" or type(item["input"]) not in (int, float):
            continue
        *parents, last = item["loc"]
        holder: Any = value
        for step in parents:
            holder = holder[step]
        raw = origin.raw(*item["loc"])
        if raw is not None:
            holder[last] = raw
            changed = True
    return changed


def _check_connections(job: JobConfig, config: ProjectConfig) -> None:
    for section, given in (("source", job.source.connection), ("target", job.target.connection)):
        if isinstance(given, str) and given not in config.connections:
            raise problem(
                f"no connection named `{given}`",
                job.origin,
                section,
                "connection",
                hint=connection_hint(given, config),
                key=False,
            )


def load_job(path_or_name: Path | str, project: Project) -> JobConfig:
    """A job by its name or by its YAML file, which need not be one of the project's.

    Raises: ConfigurationError: when it is broken, or there is none.
    """
    text = str(path_or_name)
    if isinstance(path_or_name, str) and text in project.jobs:
        return project.jobs[text]
    path = _existing(Path(text).expanduser(), project.root)
    if path is None:
        for item in project.broken:
            if item.name == text:
                raise item.error
        if text.endswith((".yaml", ".yml")) or os.sep in text:
            raise ConfigurationError(
                f"no job file {text}", hint="paths are relative to the current folder or the project's"
            )
        guess = nearest(text, [*project.jobs, *(item.name for item in project.broken)])
        hint = f"did you mean `{guess}`?" if guess else f"the project at {project.root} has {len(project.jobs)} jobs"
        raise ConfigurationError(f"no job named `{text}`", hint=hint)
    for job in project.jobs.values():
        if job.path == path:
            return job
    for item in project.broken:
        if item.path == path:
            raise item.error
    return read_job(path, project.root, project.config)


def _existing(path: Path, root: Path) -> Path | None:
    for found in (path.resolve(), (root / path).resolve()):
        if found.is_file():
            return found
    return None


def _shown(path: Path, root: Path) -> str:
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return str(path)
