"""What Dagster loads of a project: all of it in a code server, in a run's process the assets that it runs alone, as they were
when the server loaded them.

The code server keeps in the project's cache what it found of each job, and Dagster hands the digest of that to every run with
the run's plan. So a run costs as much in a project of ten thousand jobs as in one of one, and an edit meanwhile does not
reach it. Where the cache is gone, the process loads the whole project as it is now; so it does where a team's own definitions
share the location, which may look for any of the assets.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import dagster as dg
from dagster._core.definitions.definitions_load_context import DefinitionsLoadContext, DefinitionsLoadType
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME, CachingRepositoryData
from dagster.components.resolved.core_models import OpSpec

from dativo_assets.config import find_project
from dativo_assets.config.runner import DEFAULT_FILE as RUNNER_FILE
from dativo_assets.errors import DativoError

from . import asked
from .broken import group_of
from .build import Builder, build, load
from .connections import Connections, GivenConnection
from .customize import Customization, Execution, Translation, execute, translated
from .recall import Known, remember
from .translate import DEFAULT_GROUP

_METADATA = "dativo_assets/location"


def build_definitions(
    path: Path | str | None = None,
    *,
    translation: Translation | None = None,
    execute: Execution = execute,
    op: OpSpec | None = None,
    connections: Mapping[str, GivenConnection] | None = None,
) -> dg.Definitions:
    """The definitions of a project.

    path: its folder, or its dativo.yaml; default: as the `dativo` command finds it. translation: (spec, data) -> spec, what
    is changed of an asset's spec. execute: the body of each step, which as a rule yields from `execute(context, asset)`.
    op: tags, pool, name and backfill policy of the steps. connections: those of dativo.yaml that Dagster gives, by name: the
    key of a resource, a resource, or keys whose values may be EnvVars.

    No plugin is imported, but for the readers of queries, and no secret is resolved. A job that is broken becomes an asset
    that shows its error and fails with it.

    Raises: DagsterInvalidDefinitionError: when dativo.yaml itself is wrong; its text is the whole error.
    """
    given = Connections.of(connections or {})
    return _location(_Loading(path, Customization(translated(translation), execute, op or OpSpec(), given)))


def code_location(shard: int | None = None) -> dg.Definitions:
    """The project's definitions as `build_definitions` makes them.

    shard: which of the parts, from 1, that `code_locations` of dativo.yaml makes; None: the whole project.

    Raises: DagsterInvalidDefinitionError: when dativo.yaml is wrong, or has no such part.
    """
    return _location(_Loading(None, Customization(), shard))


def component_definitions(path: str, custom: Customization, *, undisturbed: bool) -> dg.Definitions:
    """The project's definitions as a component makes them. undisturbed: whether such components are all there is in the
    location.
    """
    loading = _Loading(path, custom)
    context = DefinitionsLoadContext.get()
    if context.load_type is DefinitionsLoadType.RECONSTRUCTION:
        run, digest = asked.run_of_process(), context.reconstruction_metadata.get(f"{_METADATA}/{loading.root}")
        if digest is not None and run is not None and not run.resolved_op_selection:
            known = loading.known(str(digest))
            keys = known and known.selected(run.job_name, run.asset_selection, run.asset_check_selection)
            if known and keys:
                found = known.definitions({key for key in keys if key.to_user_string() in known.assets})
                if found is not None:
                    return found
        return build(loading.builder())
    builder = loading.builder()
    definitions = build(builder)
    if undisturbed:
        _remember(builder, f"{_METADATA}/{builder.project.root}")
    return definitions


class _Loading(NamedTuple):
    """How a project is loaded."""

    path: Path | str | None
    custom: Customization
    shard: int | None = None

    @property
    def root(self) -> Path | None:
        """The project's folder; None where there is none, which loading it tells."""
        try:
            return find_project(explicit=self.path)
        except DativoError:
            return None

    def known(self, digest: str) -> Known | None:
        """The project as its code server had it."""
        root = self.root
        return None if root is None else Known.recalled(root, digest, self.custom)

    def builder(self) -> Builder:
        """Of all of it, as it is now."""
        builder, shard = load(self.path, self.custom), self.shard
        if shard is None:
            return builder
        project = builder.project
        parts = project.config.code_locations
        if shard > parts:
            raise dg.DagsterInvalidDefinitionError(
                f"there is no shard_{shard}: dativo.yaml of {project.root} says code_locations: {parts}"
            )
        named = [(name, job.group) for name, job in project.jobs.items()]
        named += [(item.name, group_of(item, project.config)) for item in project.broken]
        named.append((Path(project.config.runner or RUNNER_FILE).name, DEFAULT_GROUP))
        own = frozenset(name for name, group in named if _part(name, group, parts) == shard)
        return replace(builder, own=own)


def _part(name: str, group: str, parts: int) -> int:
    """Jobs of one group stay together: a run is of one code location."""
    text = name if group == DEFAULT_GROUP else group
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % parts + 1


def _location(loading: _Loading) -> dg.Definitions:
    context = DefinitionsLoadContext.get()
    if context.load_type is DefinitionsLoadType.RECONSTRUCTION:
        digest = context.reconstruction_metadata.get(_METADATA)
        return build(loading.builder()) if digest is None else _RunDefinitions.of(loading, str(digest))
    builder = loading.builder()
    return _ServedDefinitions.of(builder, build(builder))


def _remember(builder: Builder, name: str) -> None:
    """Keeps what was loaded where runs, which are handed its digest under this name, find it."""
    context = DefinitionsLoadContext.get()
    if DefinitionsLoadContext.is_set() and context.load_type is DefinitionsLoadType.INITIALIZATION:
        digest = remember(builder)
        if digest is not None:
            context.add_to_pending_reconstruction_metadata(name, digest)


class _ServedDefinitions(dg.Definitions):
    """A project in a code server. Where it is all there is in the location, runs are told so."""

    @classmethod
    def of(cls, builder: Builder, made: dg.Definitions) -> "_ServedDefinitions":
        found = cls(assets=made.assets, schedules=made.schedules, sensors=made.sensors, resources=made.resources)
        found.__dict__["builder"] = builder
        return found

    def get_repository_def(self) -> dg.RepositoryDefinition:
        builder = self.__dict__.get("builder")
        if builder is not None and asked.for_a_location():
            _remember(builder, _METADATA)
        return super().get_repository_def()


class _RunDefinitions(dg.Definitions):
    """A project that is all there is in its location, in the process of a run. Whoever looks at its parts sees them all."""

    @classmethod
    def of(cls, loading: _Loading, digest: str) -> "_RunDefinitions":
        found = cls(resources=loading.custom.connections.resources)
        found.__dict__.update(loading=loading, digest=digest)
        return found

    @cached_property
    def _whole(self) -> dg.Definitions:
        return build(self.__dict__["loading"].builder())

    @cached_property
    def _known(self) -> Known | None:
        found: Known | None = self.__dict__["loading"].known(self.__dict__["digest"])
        return found

    assets = property(lambda self: self._whole.assets)
    schedules = property(lambda self: self._whole.schedules)
    sensors = property(lambda self: self._whole.sensors)

    def get_repository_def(self) -> dg.RepositoryDefinition:
        if not asked.for_a_location():
            return self._whole.get_repository_def()
        known = self._known
        return self._whole.get_repository_def() if known is None else _RunRepository(known, lambda: self._whole)


class _RunRepository(dg.RepositoryDefinition):
    """Its jobs have the assets that a run selects."""

    def __init__(self, known: Known, whole: Callable[[], dg.Definitions]) -> None:
        super().__init__(SINGLETON_REPOSITORY_NAME, repository_data=CachingRepositoryData.from_dict({}))
        self._known = known
        self._whole = whole

    def get_job(self, name: str) -> dg.JobDefinition:
        return self._whole().get_repository_def().get_job(name)

    def get_maybe_subset_job_def(
        self,
        job_name: str,
        op_selection: Iterable[str] | None = None,
        asset_selection: AbstractSet[dg.AssetKey] | None = None,
        asset_check_selection: AbstractSet[dg.AssetCheckKey] | None = None,
    ) -> dg.JobDefinition:
        run = asked.run_of_process()
        if run is not None and not (op_selection or asset_selection or asset_check_selection):
            # The process of a run asks for the whole job first, and does nothing with it.
            op_selection = run.resolved_op_selection
            asset_selection, asset_check_selection = run.asset_selection, run.asset_check_selection
        keys = None if op_selection else self._known.selected(job_name, asset_selection, asset_check_selection)
        found = None if keys is None else self._known.job(job_name, keys)
        return (found or self.get_job(job_name)).get_subset(
            op_selection=op_selection, asset_selection=asset_selection, asset_check_selection=asset_check_selection
        )
