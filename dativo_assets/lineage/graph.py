"""A project's graph of sources and jobs, down to columns."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeVar

from dativo_plugin_sdk import DativoError

from dativo_assets.config import JobConfig, Project
from dativo_assets.plan import JobPlan, bind, upstream_jobs
from dativo_assets.registry import Registry

from .columns import ColumnRef, columns_of, declared_columns
from .sources import Source, project_sources

Kind = Literal["source", "job", "external"]
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Node:
    """A source, a job's table, or an asset of another code location. columns: {name: type}, empty where not known."""

    name: str
    kind: Kind
    description: str = ""
    group: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """nodes: by name, upstream first. edges: (from, to). columns: {a job's column: those it is made from}.

    notes: what is not known and why, for a person.
    """

    nodes: Mapping[str, Node]
    edges: tuple[tuple[str, str], ...]
    columns: Mapping[ColumnRef, tuple[ColumnRef, ...]]
    notes: tuple[str, ...] = ()

    @cached_property
    def upstream(self) -> Mapping[str, tuple[str, ...]]:
        """{node: those it is made from}."""
        return _grouped((to, origin) for origin, to in self.edges)

    @cached_property
    def downstream(self) -> Mapping[str, tuple[str, ...]]:
        """{node: those made from it}."""
        return _grouped(self.edges)

    @cached_property
    def column_downstream(self) -> Mapping[ColumnRef, tuple[ColumnRef, ...]]:
        """{column: those made from it}."""
        return _grouped((origin, to) for to, origins in self.columns.items() for origin in origins)


def project_graph(project: Project, registry: Registry, environment: Mapping[str, str]) -> Graph:
    """The graph of a whole project. environment: from what the connection of a target is resolved, where no contract tells a
    table's columns and its last commit is asked; a target that can't be reached leaves them unknown.
    """
    return _Builder(project, registry, environment).build()


@dataclass
class _Builder:
    project: Project
    registry: Registry
    environment: Mapping[str, str]
    notes: list[str] = field(default_factory=list)
    plans: dict[str, JobPlan] = field(default_factory=dict)
    schemas: dict[str, dict[str, str]] = field(default_factory=dict)

    def build(self) -> Graph:
        jobs = {part.name: part for job in self.project.jobs.values() for part in job.parts}
        upstream = {name: self._upstream(job) for name, job in jobs.items()}
        derived = frozenset(name for name, job in jobs.items() if job.source.query is not None and upstream[name])
        sources = project_sources(jobs.values(), derived)
        read: dict[str, list[Source]] = {name: [] for name in jobs}
        for source in sources:
            for job in source.readers:
                read[job.name].append(source)
        nodes = {source.name: Node(source.name, "source", source.what) for source in sources}
        edges: dict[tuple[str, str], None] = {}
        columns: dict[ColumnRef, tuple[ColumnRef, ...]] = {}
        for name in _upstream_first(upstream):
            job = jobs[name]
            for key in job.external_upstream:
                nodes.setdefault(key, Node(key, "external", "an asset of another code location"))
            origins = (*(source.name for source in read[name]), *upstream[name], *job.external_upstream)
            edges.update(dict.fromkeys((origin, name) for origin in origins))
            self._bind(job)
            schema = self.schemas.get(name, {})
            nodes[name] = Node(name, "job", job.description or "", job.group, schema)
            if (plan := self.plans.get(name)) is not None:
                found = columns_of(plan, tuple(schema), read[name], self.schemas)
                columns.update({ColumnRef(name, column): refs for column, refs in found.items()})
        return Graph(nodes, tuple(edges), columns, tuple(self.notes))

    def _upstream(self, job: JobConfig) -> tuple[str, ...]:
        try:
            found = upstream_jobs(job, self.project, self.registry)
        except DativoError as error:
            self._note(job, error)
            found = job.upstream
        return tuple(part.name for name in found for part in self.project.parts(name))

    def _bind(self, job: JobConfig) -> None:
        try:
            plan = self.plans[job.name] = bind(job, self.project, self.registry)
            self.schemas[job.name] = declared_columns(plan) or self._committed(plan)
        except DativoError as error:
            self._note(job, error)

    def _committed(self, plan: JobPlan) -> dict[str, str]:
        writer = None
        try:
            writer = plan.open_writer(self.environment)
            commit = writer.last_commit()
        except (Exception, SystemExit) as error:
            self.notes.append(
                f"{plan.job.name}: its columns are not known, its target did not answer: {_said(plan, error)}"
            )
            return {}
        finally:
            if writer is not None:
                writer.close()
        if commit is None:
            self.notes.append(f"{plan.job.name}: its columns are known after its first run, or from a contract")
            return {}
        return dict(commit.schema_text or {})

    def _note(self, job: JobConfig, error: DativoError) -> None:
        note = f"{job.name}: {error.message}"
        if note not in self.notes:
            self.notes.append(note)


def _said(plan: JobPlan, error: BaseException) -> str:
    from dativo_assets.errors import to_dativo_error

    return plan.redacted(to_dativo_error(error, job=plan.job.name)).message


def _upstream_first(upstream: Mapping[str, tuple[str, ...]]) -> list[str]:
    from graphlib import CycleError, TopologicalSorter

    try:
        return list(TopologicalSorter(upstream).static_order())
    except CycleError:
        return list(upstream)  # binding tells which queries read each other


def _grouped(pairs: Iterable[tuple[K, K]]) -> dict[K, tuple[K, ...]]:
    found: dict[K, list[K]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return {key: tuple(values) for key, values in found.items()}
