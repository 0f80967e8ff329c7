"""A job as plain values that JSON keeps, so that a run of a job that did not change loads neither pydantic nor YAML.

A restored job has the attributes of a JobConfig. Where a key stands is asked for when something is wrong: its file is read
again then. A job is not compiled that holds a secret itself, or that takes keys from other files than its own and dativo.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from dativo_plugin_sdk.models import Incremental

from dativo_assets.errors import ConfigurationError, Location

from .project import PROJECT_FILE, Project
from .secrets import Redactor, resolve
from .upstream import external_upstream, upstream

if TYPE_CHECKING:
    from .models import JobConfig, ProjectConfig
    from .origin import Origin

_MODEL, _TUPLE = ".", "()"


class Uncompiled(Exception):
    """A job that has to be read from its files each time."""


class _Anything(dict[str, str]):
    """An environment in which every variable is set, to nothing."""

    def get(self, key: object, default: object = None) -> Any:
        return ""


class CompiledJob(SimpleNamespace):
    """A JobConfig's values. path, root, file, digest, notes: as of the JobConfig. places: of its inline columns. It is no
    stream of another job, and has none; its files are no partitions.
    """

    stream = None
    is_by_file = False

    @property
    def job_name(self) -> str:
        return str(self.name)

    @property
    def parts(self) -> tuple[CompiledJob, ...]:
        return (self,)

    @property
    def incremental(self) -> Incremental | None:
        found = self.source.incremental
        return None if found is None else Incremental(**vars(found))

    @property
    def upstream(self) -> tuple[str, ...]:
        return upstream(self.depends_on)

    @property
    def external_upstream(self) -> tuple[str, ...]:
        return external_upstream(self.depends_on)

    @property
    def origin(self) -> Origin:
        return self._read.origin

    def column_places(self) -> tuple[Location, ...]:
        return tuple(Location(**vars(place)) for place in self.places)

    def location(self, *path: str | int, key: bool = True) -> Location:
        return self._read.location(*path, key=key)

    @cached_property
    def _read(self) -> JobConfig:
        from .load import load_config, read_job

        return read_job(self.path, self.root, load_config(self.root))


def compiled(job: JobConfig, checked_options: Mapping[str, Any]) -> dict[str, Any]:
    """What JSON keeps of a job. checked_options: of SourceConfig and TargetConfig, under source and target.

    Raises: Uncompiled: for a job that can't be kept.
    """
    assert job.path is not None
    own = {job.file, PROJECT_FILE}
    layers = job.origin.layers
    if (
        job.notes
        or job.stream
        or job.source.query is not None
        or job.is_by_file
        or any(x.moved or x.document.file not in own for x in layers)
    ):
        raise Uncompiled
    value = {name: getattr(job, name) for name in type(job).model_fields}
    places = tuple(SimpleNamespace(**vars(place)) for place in job.column_places())
    more = {"file": job.file, "digest": job.digest, "places": places, "checked_options": dict(checked_options)}
    return {"path": str(job.path), "values": kept({**value, **more})}


def kept(value: Any) -> Any:
    """A value as JSON that `restored` reads. Raises: Uncompiled: for one that holds a secret, or is none of JSON's kinds."""
    redactor = Redactor()
    found = _plain(value)
    try:
        resolve(found, _Anything(), redactor)
    except ConfigurationError:
        raise Uncompiled from None
    if redactor.knows_any:
        raise Uncompiled
    return found


def restored(root: Path, config: Any, jobs: Mapping[str, Any]) -> Project:
    """A project of the jobs that were compiled."""
    found = {}
    for name, item in jobs.items():
        job = CompiledJob(**item["values"], path=Path(item["path"]), root=root, notes=())
        found[name] = cast("JobConfig", job)
    return Project(root, cast("ProjectConfig", config), found)


def as_object(value: dict[str, Any]) -> Any:
    """The object hook of `json.loads`."""
    if len(value) != 1:
        return value
    if _MODEL in value:
        return SimpleNamespace(**value[_MODEL])
    return tuple(value[_TUPLE]) if _TUPLE in value else value


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, SimpleNamespace):
        return {_MODEL: _plain(vars(value))}
    if hasattr(type(value), "model_fields"):
        return {_MODEL: {name: _plain(getattr(value, name)) for name in type(value).model_fields}}
    if isinstance(value, tuple):
        return {_TUPLE: [_plain(item) for item in value]}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) and key not in (_MODEL, _TUPLE) for key in value):
        return {key: _plain(item) for key, item in value.items()}
    raise Uncompiled
