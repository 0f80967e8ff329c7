"""YAML files as frozen models; every error carries file:line:column. Imports no Arrow and no Dagster."""

from .load import BrokenJob, Project, find_project, load_config, load_job, load_project, read_job
from .models import (
    Column,
    Incremental,
    JobConfig,
    ProjectConfig,
    Source,
    Target,
)
from .origin import Origin
from .problems import invalid, nearest, problem
from .secrets import Redactor, references, resolve
from .timing import Freshness, Partitions, Retry, Trigger

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
    "load_config",
    "load_job",
    "load_project",
    "nearest",
    "problem",
    "read_job",
    "references",
    "resolve",
]
