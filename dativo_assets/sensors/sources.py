"""What is new of a job, and which partitions there are: asked of its reader, by what its target says was loaded."""

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from dativo_plugin_sdk import Commit

from dativo_assets.config import JobConfig, Project
from dativo_assets.errors import to_dativo_error
from dativo_assets.pipeline.one_file import new_files
from dativo_assets.pipeline.partition import loads_whole
from dativo_assets.pipeline.partition_values import Seen, partition_values
from dativo_assets.plan import JobPlan, bind
from dativo_assets.registry import Registry


def is_started(job: JobConfig) -> bool:
    """Whether what is new of a job's source starts it."""
    return job.trigger is not None and (job.trigger.files is not None or job.trigger.probe is not None)


def found_columns(job: JobConfig) -> Mapping[str, str]:
    """{part of the keys: column} of the partitions whose names are looked for in the source; "" for keys of one part."""
    if job.partitions is None:
        return {}
    parts = job.partitions.multi or {"": job.partitions}
    return {part: each.dynamic.column for part, each in parts.items() if each.dynamic is not None and each.dynamic.find}


@dataclass
class Sources:
    """What one process remembers of sources, all of it expendable.

    found: {job: {part of the keys: partitions}} that Dagster may not know of yet.
    """

    registry: Registry
    found: dict[str, dict[str, Sequence[str]]] = field(default_factory=dict)
    _plans: dict[str, JobPlan] = field(default_factory=dict)
    _listed: set[str] = field(default_factory=set)
    _seen: dict[tuple[str, str], Seen] = field(default_factory=dict)

    def news(self, job: JobConfig, project: Project) -> Mapping[str, str]:
        """{partition: watermark} of what is new, "" for all that a job loads. Raises: DativoError."""
        plan = self._plans.get(job.name)
        if plan is None:
            plan = self._plans[job.name] = bind(job, project, self.registry, locate=False)
        if job.is_by_file:
            return self._new_files(plan)
        try:
            values = self._find(plan)
            if not is_started(job):
                return {}
            commit, replaces = _target(plan)
            if values is not None and replaces and loads_whole(job):
                return values
            with closing(plan.open_reader(os.environ)) as reader:
                watermark = reader.probe(None if commit is None else commit.cursor)
        except (Exception, SystemExit) as error:
            found = to_dativo_error(error, job=job.name, stage="probe", plugin=plan.reader.reference)
            raise plan.redacted(found) from None
        return {} if watermark is None else {"": watermark}

    def _new_files(self, plan: JobPlan) -> Mapping[str, str]:
        """Once a process, those that were loaded before are told too: somebody may have run `dativo run`."""
        name = plan.job.name
        commit, files = new_files(plan, os.environ)
        if name not in self._listed:
            self._listed.add(name)
            self.found[name] = {"": list(((commit.cursor if commit else None) or {}).get("files", ()))}
        return files

    def _find(self, plan: JobPlan) -> Mapping[str, str] | None:
        """Of partitions by one column, {value: watermark}; None where these are not looked for, or can't be told."""
        job = plan.job
        whole = None
        for part, column in found_columns(job).items():
            values = partition_values(plan, column, os.environ, self._seen.setdefault((job.name, part), Seen()))
            if values is not None:
                self.found.setdefault(job.name, {})[part] = list(values)
                whole = values if part == "" else whole
        return whole


def _target(plan: JobPlan) -> tuple[Commit | None, bool]:
    """The last commit, and whether a run can replace some partitions alone."""
    with closing(plan.open_writer(os.environ)) as writer:
        return writer.last_commit(), plan.job.target.mode in writer.replaces_partitions
