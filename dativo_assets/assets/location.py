"""A code location that a run's process loads in part: the assets it runs alone, as they were when the location was loaded.

The code server keeps in the project's cache what it found of each job, and Dagster hands the digest of that to every run with
the run's plan. So a run costs as much in a project of ten thousand jobs as in one of one, and an edit meanwhile does not
reach it. Where the cache is gone, the process loads the whole project as it is now.
"""

import hashlib
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME
from dagster._core.definitions.definitions_load_context import DefinitionsLoadContext, DefinitionsLoadType
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME, CachingRepositoryData

from dativo_assets.config import JobConfig, Project, find_project, load_config, read_job
from dativo_assets.config.cache import DIGEST_CHARACTERS, JobCache
from dativo_assets.config.runner import DEFAULT_FILE as RUNNER_FILE
from dativo_assets.errors import DativoError
from dativo_assets.lineage import Source

from .broken import group_of
from .build import Builder, build, load
from .customize import Customization
from .translate import DEFAULT_GROUP

_METADATA = "dativo_assets/location"


def code_location(shard: int | None = None) -> dg.Definitions | dg.RepositoryDefinition:
    """The project's definitions; in a process that runs some of its assets, a repository that makes these alone.

    shard: which of the parts, from 1, that `code_locations` of dativo.yaml makes; None: the whole project.

    Raises: DagsterInvalidDefinitionError: when dativo.yaml is wrong, or has no such part.
    """
    context = DefinitionsLoadContext.get()
    if context.load_type is DefinitionsLoadType.RECONSTRUCTION:
        digest = context.reconstruction_metadata.get(_METADATA)
        return _all_of(shard) if digest is None else _RunRepository(str(digest), shard)
    builder = _builder(shard)
    definitions = build(builder)
    if DefinitionsLoadContext.is_set():
        root = builder.project.root
        digest = JobCache(root).add_location(_described(builder))
        if digest is not None:
            context.add_to_pending_reconstruction_metadata(_METADATA, digest)
    return definitions


def _all_of(shard: int | None) -> dg.Definitions:
    return build(_builder(shard))


def _builder(shard: int | None) -> Builder:
    builder = load(None, Customization())
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


def _described(builder: Builder) -> dict[str, Any]:
    """What a run's process has to know: {asset: job}, and of each job that can be used where it stands and what is around it."""
    owners: dict[str, str] = {}
    jobs: dict[str, Any] = {}
    for name, job in builder.project.jobs.items():
        parts = [part.name for part in job.parts]
        if job.path is None or not builder.faults.keys().isdisjoint((name, *parts)):
            continue
        owners.update((builder.keys[part].to_user_string(), name) for part in parts)
        jobs[name] = {
            "file": str(job.path),
            "digest": job.digest[:DIGEST_CHARACTERS],
            "upstream": builder.upstream[name],
            "reads": builder.upstream[name] if job.source.query is not None else (),
            "keys": {part: builder.keys[part].path for part in parts},
            "sources": {part: [[x.path, x.what, x.table] for x in builder.read.get(part, ())] for part in parts},
        }
    return {"root": str(builder.project.root), "assets": owners, "jobs": jobs}


class _RunRepository(dg.RepositoryDefinition):
    """Its one job is that of the assets which a run selects."""

    def __init__(self, digest: str, shard: int | None) -> None:
        whole = {"jobs": {IMPLICIT_ASSET_JOB_NAME: lambda: _all_of(shard).resolve_implicit_global_asset_job_def()}}
        super().__init__(SINGLETON_REPOSITORY_NAME, repository_data=CachingRepositoryData.from_dict(whole))
        self._digest = digest

    def get_maybe_subset_job_def(
        self,
        job_name: str,
        op_selection: Iterable[str] | None = None,
        asset_selection: AbstractSet[dg.AssetKey] | None = None,
        asset_check_selection: AbstractSet[dg.AssetCheckKey] | None = None,
    ) -> dg.JobDefinition:
        if job_name == IMPLICIT_ASSET_JOB_NAME and asset_selection and not op_selection:
            checked = {check.asset_key for check in asset_check_selection or ()}
            found = _recalled(self._digest, {*asset_selection, *checked})
            if found is not None:
                return found.resolve_implicit_global_asset_job_def().get_subset(
                    asset_selection=asset_selection, asset_check_selection=asset_check_selection
                )
        whole: dg.JobDefinition = super().get_maybe_subset_job_def(
            job_name, op_selection, asset_selection, asset_check_selection
        )
        return whole


def _recalled(digest: str, keys: AbstractSet[dg.AssetKey]) -> dg.Definitions | None:
    """The selected assets as the location had them; None where one is no usable job's, or is not to be had any more."""
    root = find_project()
    location = JobCache(root).location(digest)
    if location is None or location["root"] != str(root):
        return None
    selected = {location["assets"].get(key.to_user_string()) for key in keys}
    if None in selected:
        return None
    known, names = location["jobs"], sorted(selected)
    try:
        project = Project(root, load_config(root))
    except DativoError:
        return None  # loading it whole tells
    jobs = _jobs(project, {name: known[name] for name in _with_tables(names, known)})
    return None if jobs is None else _assets_of(Project(root, project.config, jobs), known, names)


def _with_tables(names: Iterable[str], known: Mapping[str, Any]) -> list[str]:
    """The jobs, those whose tables their queries read, and those they wait for that have streams, each with its key."""
    found = dict.fromkeys(names)
    for name in list(found):
        found.update(
            (owner, None) for owner in _owners(known[name]["upstream"], known) if len(known[owner]["keys"]) > 1
        )
    pending = list(found)
    for name in pending:
        new = [owner for owner in _owners(known[name]["reads"], known) if owner not in found]
        found.update(dict.fromkeys(new))
        pending += new
    return list(found)


def _owners(names: Iterable[str], known: Mapping[str, Any]) -> list[str]:
    """The jobs that are meant, by a name of their own or by that of a stream."""
    found = (name if name in known else name.rpartition(".")[0] for name in names)
    return [name for name in dict.fromkeys(found) if name in known]


def _jobs(project: Project, wanted: Mapping[str, Any]) -> dict[str, JobConfig] | None:
    """The jobs with these digests, from the cache, else from their files; None when one of them is in neither."""
    kept = JobCache(project.root).by_digest(item["digest"] for item in wanted.values())
    found = {}
    for name, item in wanted.items():
        try:
            job = kept.get(item["digest"]) or read_job(Path(item["file"]), project.root, project.config)
        except DativoError:
            return None
        if job.digest[:DIGEST_CHARACTERS] != item["digest"]:
            return None
        found[name] = job
    return found


def _assets_of(project: Project, known: Mapping[str, Any], names: list[str]) -> dg.Definitions:
    around = _owners([*names, *project.jobs, *(other for name in names for other in known[name]["upstream"])], known)
    parts = {part.name: part for name in names for part in project.jobs[name].parts}
    sources = {part: found for name in names for part, found in known[name]["sources"].items()}
    builder = Builder(
        project,
        Customization(),
        keys={part: dg.AssetKey(path) for name in around for part, path in known[name]["keys"].items()},
        upstream={name: tuple(known[name]["upstream"]) for name in names},
        read={
            name: [Source(tuple(path), what, (part,), table) for path, what, table in sources[name]]
            for name, part in parts.items()
        },
        as_launched=True,
    )
    return build(builder, only=names)
