"""build_definitions(path) -> dg.Definitions: one asset a job, its sources, its checks, and what starts it.

Assets are built raw (an OpDefinition around a plain function), five times as fast as by decorators, and the garbage
collector rests meanwhile: a project of thousands of jobs loads near Dagster's own floor.
"""

import gc
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg

from dativo_assets.config import BrokenJob, JobConfig, Project, find_project, load_project
from dativo_assets.contract import Contract, load_contract
from dativo_assets.errors import DativoError, render, to_dativo_error
from dativo_assets.lineage import Source
from dativo_assets.plan import upstream_jobs
from dativo_assets.registry import Registry
from dativo_assets.sensors import Watched, trigger_sensor

from .broken import broken_spec, group_of
from .execute import RESULT, Compute, JobAsset, Table, broken_compute
from .lineage import Origins
from .metadata import check_specs
from .sources import source_assets, source_key
from .translate import asset_key, asset_spec, external_key, op_name, pool

_NOTHING_OUT = dg.Out(dg.Nothing)
_NOTHING_IN = dg.In(dg.Nothing)
_CHECK_OUT = _STREAM_OUT = dg.Out(dg.Nothing, is_required=False)


def build_definitions(path: Path | str | None = None) -> dg.Definitions:
    """The definitions of a project. path: its folder, or its dativo.yaml; default: as the `dativo` command finds it.

    No plugin is imported, but for the readers of queries, and no secret is resolved. A job that is broken becomes an asset
    that shows its error and fails with it.

    Raises: DagsterInvalidDefinitionError: when dativo.yaml itself is wrong; its text is the whole error.
    """
    try:
        project = load_project(find_project(explicit=path))
    except DativoError as error:
        raise dg.DagsterInvalidDefinitionError(f"the project can't be loaded\n\n{render(error)}") from None
    with _collector_paused(), warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return _Builder(project).build()


@contextmanager
def _collector_paused() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@dataclass
class _Builder:
    """One project's way to Definitions. keys: of every job, the broken ones too. upstream: {job: jobs it waits for}.
    read: {job: sources it reads}."""

    project: Project
    registry: Registry = field(init=False)
    keys: dict[str, dg.AssetKey] = field(default_factory=dict)
    upstream: dict[str, tuple[str, ...]] = field(default_factory=dict)
    faults: dict[str, DativoError] = field(default_factory=dict)
    read: dict[str, list[Source]] = field(default_factory=dict)

    def build(self) -> dg.Definitions:
        self.registry = Registry(self.project.root)
        jobs = self.project.jobs
        parts = [part for job in jobs.values() for part in job.parts]
        self.keys = {part.name: asset_key(part.job_name, part.group, part.stream) for part in parts}
        broken = self._broken()
        for name, job in jobs.items():
            self.upstream[name] = self._upstream(job)
        derived = frozenset(name for name, job in jobs.items() if job.source.query and self.upstream[name])
        self.read, source_specs = source_assets(parts, derived)
        assets = [self._asset(job) for job in jobs.values()]
        conditions = [spec.key for a in assets for spec in a.specs if spec.automation_condition is not None]
        sensors: list[dg.SensorDefinition] = []
        if conditions:
            sensors.append(
                dg.AutomationConditionSensorDefinition(
                    "dativo_automation",
                    target=dg.AssetSelection.assets(*conditions),
                    default_status=dg.DefaultSensorStatus.RUNNING,
                    description="Starts the jobs with `trigger: {cron}` and `trigger: {on: upstream}`.",
                )
            )
        watched = [
            Watched(part, self.keys[part.name], tuple(self._source_keys(part.name)))
            for part in parts
            if part.enabled
            and self.faults.keys().isdisjoint((part.name, part.job_name))
            and part.trigger is not None
            and (part.trigger.files or part.trigger.probe)
        ]
        if watched:
            sensors.append(trigger_sensor(watched, self.project, self.registry))
        return dg.Definitions(assets=[*source_specs, *assets, *broken], sensors=sensors)

    def _upstream(self, job: JobConfig) -> tuple[str, ...]:
        try:
            return upstream_jobs(job, self.project, self.registry)
        except Exception as error:
            self.faults[job.name] = to_dativo_error(error, job=job.name, stage="bind")
            return job.upstream

    def _source_keys(self, name: str) -> list[dg.AssetKey]:
        return [source_key(source) for source in self.read.get(name, ())]

    def _asset(self, job: JobConfig) -> dg.AssetsDefinition:
        """One asset, or one for each stream, any of which can run alone."""
        waits_for = [key for name in self.upstream[job.name] for key in self._keys(name)]
        waits_for += [external_key(text) for text in job.external_upstream]
        specs, tables, checks = [], [], dict[str, dg.AssetCheckSpec]()
        for part in job.parts:
            output = RESULT if part.stream is None else op_name(dg.AssetKey(part.stream))
            deps = list(dict.fromkeys([*self._source_keys(part.name), *waits_for]))
            spec, own = self._spec(part, deps, waits_for)
            names = {
                check.name: f"check_{check.name}" if part is job else f"{output}_check_{check.name}" for check in own
            }
            checks.update({names[check.name]: check for check in own})
            specs.append(spec)
            origins = Origins(self.keys, tuple(self.read.get(part.name, ())))
            tables.append(Table(part, spec.key, output, names, origins))
        compute = JobAsset(job, self.project, self.registry, tuple(tables)).compute
        name = op_name(asset_key(job.name, job.group))
        return _assets_definition(name, specs, compute, checks, pool(job), tuple(table.output for table in tables))

    def _keys(self, name: str) -> list[dg.AssetKey]:
        """The assets of a job or stream, be it broken."""
        parts = [part.name for part in self.project.parts(name)] or [name]
        return [self.keys[part] for part in parts if part in self.keys]

    def _spec(
        self, job: JobConfig, deps: Sequence[dg.AssetKey], waits_for: Sequence[dg.AssetKey]
    ) -> tuple[dg.AssetSpec, list[dg.AssetCheckSpec]]:
        """The spec of a job's asset, and its checks; one that shows the error where the job can't be used."""
        key = self.keys[job.name]
        try:
            contract = self._contract(job)
            if fault := self.faults.get(job.job_name):
                raise fault
            return asset_spec(job, key, deps, contract, waits_for), check_specs(key, contract)
        except Exception as error:
            # The step binds the job again: its error is the same, or it was mended since.
            fault = self.faults[job.name] = to_dativo_error(error, job=job.name, stage="bind")
            return broken_spec(key, job.group, fault, job.path, deps), []

    def _contract(self, job: JobConfig) -> Contract | None:
        self.registry.resolve("reader", job.source.reader)
        self.registry.resolve("writer", job.target.writer)
        return load_contract(job, self.project.root, locate=False)

    def _broken(self) -> list[dg.AssetsDefinition]:
        taken = set(self.keys.values())
        found = []
        for item in self.project.broken:
            key = self._free_key(item, taken)
            taken.add(key)
            self.keys.setdefault(item.name, key)
            group = group_of(item, self.project.config)
            spec = broken_spec(key, group, item.error, item.path, ())
            found.append(_assets_definition(op_name(key), [spec], broken_compute(item.error), {}, None))
        return found

    def _free_key(self, item: BrokenJob, taken: set[dg.AssetKey]) -> dg.AssetKey:
        """The key that the job would have, so that its history stays its own; one from its path where two have the name."""
        group = group_of(item, self.project.config)
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", item.name)[:128] or "job"
        where = item.path.relative_to(self.project.root) if item.path.is_relative_to(self.project.root) else item.path
        slug = re.sub(r"[^A-Za-z0-9]+", "_", str(where.with_suffix(""))).strip("_")
        for candidate in (name, f"{name}__{slug}", f"{name}__{slug}_{len(taken)}"):
            if (key := asset_key(candidate, group)) not in taken:
                return key
        raise AssertionError("unreachable")


def _assets_definition(
    name: str,
    specs: Sequence[dg.AssetSpec],
    compute: Compute,
    checks: dict[str, dg.AssetCheckSpec],
    pool: str | None,
    outputs: Sequence[str] = (RESULT,),
) -> dg.AssetsDefinition:
    """outputs: of the op, one a spec; those of streams may be left out."""
    deps = dict.fromkeys(dep.asset_key for spec in specs for dep in spec.deps)
    inputs = {f"upstream_{index}": key for index, key in enumerate(deps)}
    streams = outputs[0] != RESULT
    node = dg.OpDefinition(
        compute_fn=compute,
        name=name,
        ins=dict.fromkeys(inputs, _NOTHING_IN),
        outs={**dict.fromkeys(outputs, _STREAM_OUT if streams else _NOTHING_OUT), **dict.fromkeys(checks, _CHECK_OUT)},
        pool=pool,
    )
    partitioned = any(spec.partitions_def is not None for spec in specs)
    return dg.AssetsDefinition(
        node_def=node,
        keys_by_input_name=inputs,
        keys_by_output_name={output: spec.key for output, spec in zip(outputs, specs, strict=True)},
        specs=specs,
        check_specs_by_output_name=checks,
        can_subset=streams,
        backfill_policy=dg.BackfillPolicy.single_run() if partitioned else None,
    )
