"""What `dativo doctor` looks at in the installation and the project."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dativo_plugin_sdk import DativoError

from dativo_assets.config import JobConfig, references
from dativo_assets.errors import ConfigurationErrors
from dativo_assets.plan import JobPlan, bind

from .check import check_side
from .context import Selection
from .findings import Finding
from .output import size

_PACKAGES = ("dativo-assets", "dativo-plugin-sdk", "dagster", "pyarrow", "pydantic")
_OLDEST_DAGSTER = (1, 13)
_LIBRARIES_AHEAD = 16  # dagster-postgres 0.29 belongs to dagster 1.13
_CONNECTION_S = 10.0
_FULL = (100 << 20, 1 << 30)
_FULL_INODES = 1000
_MOST_SHOWN = 20


def versions(_: Selection) -> list[Finding]:
    """Python and the packages, and whether those of Dagster belong together."""
    found = [Finding("versions", "python", "ok", f"{platform.python_version()} on {platform.platform(terse=True)}")]
    found += [Finding("versions", name, "ok", _version(name)) for name in _PACKAGES]
    dagster = _version("dagster")
    if _numbers(dagster)[:2] < _OLDEST_DAGSTER:
        hint = "pip install --upgrade dagster"
        found.append(Finding("versions", "dagster", "error", f"{dagster} is older than 1.13", hint))
    found += _misfits(dagster)
    return found


def _misfits(dagster: str) -> Iterator[Finding]:
    """Dagster's packages that come from another release than Dagster itself."""
    major, minor, *patch = _numbers(dagster)
    library = (0, minor + _LIBRARIES_AHEAD, *patch)
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name in ("dagster-webserver", "dagster-graphql", "dagster-pipes", "dagster-shared", "dagster-postgres"):
            own = _numbers(distribution.version)
            wanted = library if own[0] == 0 else (major, minor, *patch)
            if own != wanted:
                message = f"{distribution.version} belongs to another release than dagster {dagster}"
                hint = f"pip install '{name}=={'.'.join(map(str, wanted))}'"
                yield Finding("versions", name, "error", message, hint)


def _version(name: str) -> str:
    return importlib.metadata.version(name)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:3] if part.isdigit())


def plugins(selection: Selection) -> list[Finding]:
    """Every installed reader and writer: does it load?"""
    wanted = {
        reference
        for named in selection.jobs
        if named.job is not None
        for reference in (named.job.source.reader, named.job.target.writer)
    }
    found = []
    for ref in selection.registry.installed():
        subject = f"{ref.kind} {ref.reference}"
        try:
            found.append(Finding("plugins", subject, "ok", ref.load().version))
        except DativoError as error:
            status = "error" if ref.reference in wanted else "warning"
            found.append(Finding("plugins", subject, status, error.message, error.hint))  # type: ignore[arg-type]
    return found


def jobs(selection: Selection) -> list[Finding]:
    """Which jobs can't be used."""
    broken = [named for named in selection.jobs if named.job is None]
    usable = len(selection.jobs) - len(broken)
    found = [Finding("jobs", selection.project.name, "ok", f"{usable} of {len(selection.jobs)} jobs can be read")]
    for named in broken[:_MOST_SHOWN]:
        error = named.error.errors[0] if isinstance(named.error, ConfigurationErrors) else named.error
        assert error is not None
        place = ":".join(str(error.details[key]) for key in ("file", "line") if key in error.details)
        message = f"{error.message}{f' ({place})' if place else ''}"
        found.append(Finding("jobs", named.name, "error", message, error.hint or "dativo validate says more"))
    if len(broken) > _MOST_SHOWN:
        more = f"{len(broken) - _MOST_SHOWN} more jobs are broken"
        found.append(Finding("jobs", selection.project.name, "error", more, "dativo validate lists them all"))
    return found


def connections(selection: Selection) -> list[Finding]:
    """Each connection of dativo.yaml: are its variables set, and does it answer the first job that uses it?"""
    found: list[Finding] = []
    asked: list[tuple[str, JobConfig, str]] = []
    for name, keys in selection.project.config.connections.items():
        unset = sorted({variable for variable in _required(keys) if variable not in os.environ})
        if unset:
            message = f"{', '.join(unset)} {'is' if len(unset) == 1 else 'are'} not set"
            found.append(Finding("connections", name, "error", message, f"set {unset[0]} where runs start"))
        elif (user := _user(name, selection)) is None:
            found.append(Finding("connections", name, "ok", "no job uses it"))
        else:
            asked.append((name, *user))
    return [*found, *_answers(asked, selection)]


def _required(value: Any) -> set[str]:
    """The variables that a connection refers to and that have no default."""
    text = str(value)
    return {name for name in references(value) if f"${{{name}}}" in text}


def _user(name: str, selection: Selection) -> tuple[JobConfig, str] | None:
    for named in selection.jobs:
        job = named.job
        if job is not None and job.source.connection == name:
            return job, "source"
        if job is not None and name in (job.target.connection, job.target.catalog):
            return job, "target"
    return None


def _answers(asked: list[tuple[str, JobConfig, str]], selection: Selection) -> list[Finding]:
    told: dict[str, Finding] = {}

    def ask(name: str, job: JobConfig, side: str) -> None:
        try:
            result = check_side(bind(job, selection.project, selection.registry), side)
        except DativoError as error:
            told[name] = Finding("connections", name, "error", error.message, error.hint)
            return
        hint = None if result["success"] else _hint(result, job)
        status = "ok" if result["success"] else "error"
        told[name] = Finding("connections", name, status, result["message"] or "it answers", hint)  # type: ignore[arg-type]

    threads = [threading.Thread(target=ask, args=item, daemon=True) for item in asked]
    for thread in threads:
        thread.start()
    end = time.monotonic() + _CONNECTION_S
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    silent = f"no answer within {_CONNECTION_S:g} s"
    hint = "is the host right, and may this machine reach it?"
    return [told.get(name) or Finding("connections", name, "error", silent, hint) for name, _, _ in asked]


def _hint(result: dict[str, Any], job: JobConfig) -> str:
    cause = result.get("cause")
    return (cause.hint if isinstance(cause, DativoError) else None) or f"dativo check {job.name} says more"


def disk(selection: Selection) -> list[Finding]:
    """Room and permission where tables are written, and where Dagster keeps its history."""
    root = selection.project.root
    places = {root: "project"}
    for named in selection.jobs:
        plan = _plan(named.job, selection)
        if plan is not None and plan.job.target.path is not None and not {"$", ":"} & set(plan.job.target.path):
            path = Path(os.path.normpath(root / plan.job.target.path))
            places.setdefault(_there(path), f"target of {named.name}")
    if home := os.environ.get("DAGSTER_HOME"):
        places.setdefault(_there(Path(home)), "DAGSTER_HOME")
    told: dict[int, Finding] = {}
    found = []
    for place, what in places.items():
        if not os.access(place, os.W_OK):
            message = f"{place} can't be written by user {os.geteuid() if hasattr(os, 'geteuid') else ''}"
            found.append(Finding("disk", what, "error", message, f"chown or chmod {place}, or choose another path"))
        device = place.stat().st_dev
        if device not in told:
            told[device] = _room(place, what)
    return [*told.values(), *found]


def _plan(job: JobConfig | None, selection: Selection) -> JobPlan | None:
    try:
        return None if job is None else bind(job, selection.project, selection.registry)
    except DativoError:
        return None  # `jobs` tells it


def _there(path: Path) -> Path:
    """The nearest folder upwards that exists."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _room(place: Path, what: str) -> Finding:
    usage = shutil.disk_usage(place)
    message = f"{size(usage.free)} of {size(usage.total)} free at {place}"
    hint = "free some space: dativo maintain removes replaced versions and leftovers of tables"
    least, little = _FULL
    if usage.free < least:
        return Finding("disk", what, "error", message, hint)
    if sys.platform != "win32":
        inodes = os.statvfs(place)
        if inodes.f_files > 0 and inodes.f_favail < _FULL_INODES:
            return Finding("disk", what, "error", f"{inodes.f_favail} files may still be made at {place}", hint)
    return Finding(
        "disk", what, "warning" if usage.free < little else "ok", message, hint if usage.free < little else None
    )
