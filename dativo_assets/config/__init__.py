"""YAML files as frozen models; every error carries file:line:column. Imports no Arrow and no Dagster, and nothing before it is
asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .entries import plain
    from .incremental import Incremental
    from .load import load_config, load_job, load_project, read_job
    from .models import Column, JobConfig, ProjectConfig, Source, Target
    from .origin import Origin
    from .problems import invalid, problem
    from .project import BrokenJob, Project, find_project, job_files
    from .secrets import Redactor, references, resolve
    from .timing import Freshness, Partitions, Retry, Trigger
    from .words import nearest

__all__ = [
    "BrokenJob",
    "Column",
    "Freshness",
    "Incremental",
    "JobConfig",
    "Origin",
    "Partitions",
    "Project",
    "ProjectConfig",
    "Redactor",
    "Retry",
    "Source",
    "Target",
    "Trigger",
    "find_project",
    "invalid",
    "job_files",
    "load_config",
    "load_job",
    "load_project",
    "nearest",
    "plain",
    "problem",
    "read_job",
    "references",
    "resolve",
]

_MODULES = {
    "entries": ("plain",),
    "incremental": ("Incremental",),
    "load": ("load_config", "load_job", "load_project", "read_job"),
    "models": ("Column", "JobConfig", "ProjectConfig", "Source", "Target"),
    "origin": ("Origin",),
    "problems": ("invalid", "problem"),
    "project": ("BrokenJob", "Project", "find_project", "job_files"),
    "secrets": ("Redactor", "references", "resolve"),
    "timing": ("Freshness", "Partitions", "Retry", "Trigger"),
    "words": ("nearest",),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            found = globals()[name] = getattr(import_module(f".{module}", __name__), name)
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
