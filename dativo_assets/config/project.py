"""A project and the folder it is found in. Imports neither pydantic nor YAML: a run of a job that is known goes without."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dativo_assets.errors import ConfigurationError

from .words import nearest

if TYPE_CHECKING:
    from .models import JobConfig, ProjectConfig, Source, Target

PROJECT_FILE = "dativo.yaml"
PROJECT_VARIABLE = "DATIVO_PROJECT"


@dataclass(frozen=True)
class BrokenJob:
    """A job file that can't be used. name: the job's where it could be read, else the file's stem."""

    path: Path
    name: str
    error: ConfigurationError


@dataclass(frozen=True)
class Project:
    """What a folder holds. root: absolute. jobs: by name, in the order of their files. locked: whether plugins must be as
    dativo.lock has them; None: as dativo.yaml says.
    """

    root: Path
    config: ProjectConfig
    jobs: Mapping[str, JobConfig] = field(default_factory=dict)
    broken: tuple[BrokenJob, ...] = ()
    locked: bool | None = None

    @property
    def name(self) -> str:
        return self.config.name or self.root.name or "dativo"

    def parts(self, name: str) -> tuple[JobConfig, ...]:
        """The jobs that a name stands for: every stream of a job, or the one of `job.stream`; () for what is not there."""
        if (job := self.jobs.get(name)) is not None:
            return job.parts
        owner = self.jobs.get(name.rpartition(".")[0])
        return () if owner is None else tuple(part for part in owner.parts if part.name == name)

    def connection(self, section: Source | Target) -> dict[str, Any]:
        """The keys of a source's or target's connection, by name or written in place; {} where it has none.

        Raises: ConfigurationError: when dativo.yaml has no connection of that name.
        """
        given = section.connection
        if not isinstance(given, str):
            return dict(given or {})
        if given not in self.config.connections:
            raise ConfigurationError(f"no connection named `{given}`", hint=connection_hint(given, self.config))
        return dict(self.config.connections[given])

    def with_connections(self, given: Mapping[str, Mapping[str, Any]]) -> Project:
        """The same project; keys of `given` go before those that dativo.yaml has for a connection."""
        known = self.config.connections
        merged = {**known, **{name: {**known.get(name, {}), **keys} for name, keys in given.items()}}
        return replace(self, config=self.config.model_copy(update={"connections": merged}))


def find_project(start: Path | str | None = None, explicit: Path | str | None = None) -> Path:
    """The project's folder.

    It is `explicit`, else DATIVO_PROJECT, else the nearest folder upwards of `start` (the current folder) that holds a
    dativo.yaml, else the current folder where the start is below it, else the start itself.

    start: a folder, or a file such as a job's. explicit: a folder, or its dativo.yaml.

    Raises: ConfigurationError: when `explicit` or DATIVO_PROJECT names no folder.
    """
    for given, what in ((explicit, "the project"), (os.environ.get(PROJECT_VARIABLE), PROJECT_VARIABLE)):
        if not given:
            continue
        path = Path(given).expanduser().resolve()
        folder = path.parent if path.is_file() else path
        if not folder.is_dir():
            raise ConfigurationError(
                f"{what} names no folder: {given}", hint=f"name a folder that holds a {PROJECT_FILE}"
            )
        return folder
    begin = Path(start or ".").expanduser().resolve()
    begin = begin if begin.is_dir() else begin.parent
    here = Path.cwd()
    without = here if here in begin.parents else begin
    return next((folder for folder in (begin, *begin.parents) if (folder / PROJECT_FILE).is_file()), without)


def job_files(root: Path, patterns: Iterable[str]) -> list[Path]:
    """The files that the globs of dativo.yaml find, in the order of their paths."""
    found: dict[str, None] = {}
    for pattern in patterns:
        for name in glob.iglob(pattern, root_dir=root, recursive=True):
            found[os.path.normpath(name)] = None
    return [root / name for name in sorted(found) if os.path.isfile(root / name)]


def connection_hint(name: str, config: ProjectConfig) -> str:
    """What to do about a connection that is not there."""
    guess = nearest(name, config.connections)
    return f"did you mean `{guess}`?" if guess else f"declare it under `connections` in {PROJECT_FILE}"
