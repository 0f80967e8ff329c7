"""A code location as its code server had it, and from that the assets of a few of its jobs."""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME

from dativo_assets.config import JobConfig, Project, load_config, read_job
from dativo_assets.config.cache import DIGEST_CHARACTERS, JobCache
from dativo_assets.errors import DativoError
from dativo_assets.lineage import Source

from .build import Builder, build
from .customize import Customization


def described(builder: Builder) -> dict[str, Any]:
    """What `Known` has to know. assets: {asset: job}, None for those that show what is broken. jobs: of each job that can be
    used where it stands and what is around it. scheduled: {Dagster's job of a schedule: job}.
    """
    owners: dict[str, str | None] = {key.to_user_string(): None for key in builder.keys.values()}
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
    return {
        "root": str(builder.project.root),
        "assets": owners,
        "jobs": jobs,
        "scheduled": builder.scheduled,
        "jobs_in_all": builder.project_jobs,
    }


@dataclass(frozen=True)
class Known:
    """A project as it was. location: what `described` tells of it."""

    root: Path
    location: Mapping[str, Any]
    custom: Customization

    @classmethod
    def recalled(cls, root: Path, digest: str, custom: Customization) -> "Known | None":
        """The one that the project's cache has under a digest, if it is there."""
        location = JobCache(root).location(digest)
        return None if location is None or location["root"] != str(root) else cls(root, location, custom)

    @cached_property
    def keys(self) -> frozenset[dg.AssetKey]:
        """Of all assets, the broken ones too."""
        return frozenset(map(dg.AssetKey.from_user_string, self.location["assets"]))

    def selected(
        self,
        job_name: str,
        assets: AbstractSet[dg.AssetKey] | None,
        checks: AbstractSet[dg.AssetCheckKey] | None,
    ) -> AbstractSet[dg.AssetKey] | None:
        """The assets that a run of one of Dagster's jobs needs; None for all, or where the job is not known here."""
        if job_name == IMPLICIT_ASSET_JOB_NAME:
            return {*(assets or ()), *(check.asset_key for check in checks or ())} or None
        name = self.location["scheduled"].get(job_name)
        job = self.location["jobs"].get(name)
        return None if job is None else {dg.AssetKey(path) for path in job["keys"].values()}

    def job(self, job_name: str, keys: AbstractSet[dg.AssetKey]) -> dg.JobDefinition | None:
        """One of Dagster's jobs, with these assets alone; None as of `definitions`."""
        found = self.definitions(keys)
        if found is None:
            return None
        if job_name == IMPLICIT_ASSET_JOB_NAME:
            return found.resolve_implicit_global_asset_job_def()
        job = dg.define_asset_job(job_name, dg.AssetSelection.assets(*keys))
        return dg.Definitions(assets=found.assets, resources=found.resources, jobs=[job]).resolve_job_def(job_name)

    def definitions(self, keys: AbstractSet[dg.AssetKey]) -> dg.Definitions | None:
        """The assets as the location had them; None where one is no usable job's, or is not to be had any more."""
        owners = {self.location["assets"].get(key.to_user_string()) for key in keys}
        if None in owners:
            return None
        names = sorted(owners)
        try:
            project = Project(self.root, load_config(self.root))
        except DativoError:
            return None  # loading it whole tells
        known = self.location["jobs"]
        jobs = _jobs(project, {name: known[name] for name in _with_tables(names, known)})
        return None if jobs is None else self._assets(Project(self.root, project.config, jobs), names)

    def _assets(self, project: Project, names: list[str]) -> dg.Definitions:
        known = self.location["jobs"]
        around = _owners(
            [*names, *project.jobs, *(other for name in names for other in known[name]["upstream"])], known
        )
        parts = {part.name: part for name in names for part in project.jobs[name].parts}
        sources = {part: found for name in names for part, found in known[name]["sources"].items()}
        builder = Builder(
            project,
            self.custom,
            keys={part: dg.AssetKey(path) for name in around for part, path in known[name]["keys"].items()},
            upstream={name: tuple(known[name]["upstream"]) for name in names},
            read={
                name: [Source(tuple(path), what, (part,), table) for path, what, table in sources[name]]
                for name, part in parts.items()
            },
            as_launched=True,
            jobs_in_all=self.location["jobs_in_all"],
        )
        return build(builder, only=names)


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
