"""load(path, customization), build(builder) -> dg.Definitions: one asset a job, its sources, its checks, and what starts it.

Assets are built raw (an OpDefinition around a plain function), five times as fast as by decorators, and the garbage
collector rests meanwhile: a project of thousands of jobs loads near Dagster's own floor.
"""

import gc
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from dativo_assets.config import BrokenJob, JobConfig, Project, find_project, load_project
from dativo_assets.config.cache import DIGEST_CHARACTERS
from dativo_assets.config.runner import Runner, load_runner
from dativo_assets.contract import Contract, load_contract
from dativo_assets.errors import ConfigurationError, DativoError, render, to_dativo_error
from dativo_assets.lineage import Source
from dativo_assets.plan import find_plugins, upstream_jobs
from dativo_assets.registry import Registry
from dativo_assets.sensors import Watched, alert_sensor, trigger_sensor

from .alerts import LAG, alert_specs, with_alerts
from .broken import broken_spec, group_of
from .customize import Customization
from .execute import DIGEST_TAG, RESULT, Compute, JobAsset, Table, broken_compute, told_once
from .lineage import Origins
from .metadata import check_specs
from .runner import schedule_of
from .schedule import backfill_policy, dynamic_names
from .sources import source_assets, source_key
from .translate import AssetData, asset_key, external_key, op_name, pool

_NOTHING_OUT = dg.Out(dg.Nothing)
_NOTHING_IN = dg.In(dg.Nothing)
_MAYBE_NOTHING_OUT = dg.Out(dg.Nothing, is_required=False)


def define_some(project: Project, names: Sequence[str]) -> dg.Definitions:
    """The assets of these jobs as the whole project's definitions have them, and nothing that starts them."""
    builder = Builder(project, Customization())
    builder.find(names)
    return build(builder, only=names)


def load(path: Path | str | None, custom: Customization) -> "Builder":
    """What makes the definitions of a project. Raises: DagsterInvalidDefinitionError: when dativo.yaml itself is wrong."""
    try:
        project = load_project(find_project(explicit=path))
        custom.connections.check(project)
    except DativoError as error:
        raise dg.DagsterInvalidDefinitionError(f"the project can't be loaded\n\n{render(error)}") from None
    return Builder(project, custom)


def build(builder: "Builder", only: Sequence[str] | None = None) -> dg.Definitions:
    """The definitions; with `only`, the assets of these jobs and nothing that starts them."""
    with _collector_paused(), warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.simplefilter("ignore", dg.PreviewWarning)
        try:
            return builder.build() if only is None else builder.assets_alone(only)
        except ConfigurationError as error:
            raise dg.DagsterInvalidDefinitionError(f"the project can't be loaded\n\n{render(error)}") from None


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
class Builder:
    """One project's way to Definitions. keys: of every job, the broken ones too. upstream: {job: jobs it waits for}.
    read: {job: sources it reads}. as_launched: the jobs are those that the run was launched with.
    own: the names of the jobs that become assets here; None: all. jobs_in_all: of the project, where it is not here whole.
    scheduled: {Dagster's job of a schedule: job}."""

    project: Project
    custom: Customization
    registry: Registry = field(init=False)
    keys: dict[str, dg.AssetKey] = field(default_factory=dict)
    upstream: dict[str, tuple[str, ...]] = field(default_factory=dict)
    contracts: dict[str, Contract | None] = field(default_factory=dict)
    faults: dict[str, DativoError] = field(default_factory=dict)
    read: dict[str, list[Source]] = field(default_factory=dict)
    as_launched: bool = False
    own: frozenset[str] | None = None
    jobs_in_all: int | None = None
    scheduled: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.registry = Registry(self.project.root)

    def find(self, names: Sequence[str]) -> None:
        """The keys of all jobs, which are never translated ones here, and of these alone what they wait for and read."""
        jobs = self.project.jobs
        parts = [part for job in jobs.values() for part in job.parts]
        self.keys = {part.name: asset_key(part.job_name, part.group, part.stream) for part in parts}
        for name in names:
            self.upstream[name] = self._upstream(jobs[name])
        # Whether another job's query reads tables alone makes no difference to the sources of these.
        derived = {name for name, job in jobs.items() if job.source.query and self.upstream.get(name, (name,))}
        self.read, _ = source_assets(parts, frozenset(derived))

    def assets_alone(self, names: Sequence[str]) -> dg.Definitions:
        """The assets of these jobs, whose keys, upstream and sources were given."""
        jobs = [self.project.jobs[name] for name in names]
        for part in (part for job in jobs for part in job.parts):
            try:
                self.contracts[part.name] = self._contract(part)
            except Exception as error:
                self.faults[part.name] = to_dativo_error(error, job=part.name, stage="bind")
        assets = [self._asset(job) for job in jobs]
        return dg.Definitions(assets=assets, resources=self.custom.connections.resources)

    def build(self) -> dg.Definitions:
        jobs = self.project.jobs
        parts = [part for job in jobs.values() for part in job.parts]
        self._find_keys(parts)
        broken = self._broken()
        for name, job in jobs.items():
            self.upstream[name] = self._upstream(job)
        derived = frozenset(name for name, job in jobs.items() if job.source.query and self.upstream[name])
        self.read, sources = source_assets(parts, derived)
        parts = [part for part in parts if self._is_own(part.job_name)]
        read = {key for part in parts for key in self._source_keys(part.name)}
        source_specs = [spec for spec in sources if spec.key in read]
        assets = [self._asset(job) for name, job in jobs.items() if self._is_own(name)]
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
        dynamic = {spec.key: dynamic_names(spec.partitions_def) for a in assets for spec in a.specs}
        watched = [
            Watched(part, key, tuple(self._source_keys(part.name)), dynamic[key])
            for part in parts
            for key in [self.keys[part.name]]
            if Watched.wants(part) and self.faults.keys().isdisjoint((part.name, part.job_name))
        ]
        if watched:
            needed = self.custom.connections.resource_keys(item.job for item in watched)
            sensors.append(trigger_sensor(watched, self.project, self.registry, needed, self.custom.connections.given))
        lags = {
            self.keys[part.name]: part.alerts.lag_s
            for part in parts
            if self.faults.keys().isdisjoint((part.name, part.job_name))
            and part.alerts is not None
            and part.alerts.lag_s is not None
        }
        if lags:
            sensors.append(alert_sensor(lags, LAG))
        runner = load_runner(self.project)
        schedules, wrong = ([], []) if runner is None else (self._schedules(runner), self._wrong_schedules(runner))
        return dg.Definitions(
            assets=[*source_specs, *assets, *broken, *wrong],
            sensors=sensors,
            schedules=schedules,
            resources=self.custom.connections.resources,
        )

    def _schedules(self, runner: Runner) -> list[dg.ScheduleDefinition]:
        tenants = {name: job.metadata.get("tenant_id") for name, job in self.project.jobs.items()}
        found = []
        for schedule, name in runner.schedules:
            if self._is_own(name):
                found.append(schedule_of(schedule, self._keys(name), tenants.get(name), runner.per_tenant))
                self.scheduled[found[-1].job_name] = name
        return found

    def _wrong_schedules(self, runner: Runner) -> list[dg.AssetsDefinition]:
        """The asset that shows what is wrong with the runner file, where something is."""
        if runner.error is None or not self._is_own(runner.path.name):
            return []
        item = BrokenJob(runner.path, runner.path.stem, runner.error)
        return [self._shown_broken(item, self._free_key(item, set(self.keys.values())))]

    def _is_own(self, name: str) -> bool:
        return self.own is None or name in self.own

    def _find_keys(self, parts: Sequence[JobConfig]) -> None:
        """The key of each job, as the customization has it; its own one where that fails or gives one key twice."""
        taken: dict[dg.AssetKey, str] = {}
        for job in parts:
            name, key = job.name, asset_key(job.job_name, job.group, job.stream)
            try:
                contract = self.contracts[name] = self._contract(job)
                if self.custom.translates:
                    wanted = self.custom.spec(AssetData(job, key, contract)).key
                    if wanted in taken:
                        raise ConfigurationError(
                            f"the jobs {taken[wanted]} and {name} are both translated to {wanted.to_user_string()}",
                            hint='make the key from the job\'s: key: "{{ spec.key.to_user_string() }}_raw"',
                        )
                    key = wanted
            except Exception as error:
                self.faults[name] = to_dativo_error(error, job=name, stage="bind")
                while key in taken:  # another job was translated to this one's own key
                    key = dg.AssetKey([*key.path[:-1], f"{key.path[-1]}_"])
            self.keys[name] = key
            taken[key] = name

    def _upstream(self, job: JobConfig) -> tuple[str, ...]:
        try:
            return upstream_jobs(job, self.project, self.registry)
        except Exception as error:
            self.faults.setdefault(job.name, to_dativo_error(error, job=job.name, stage="bind"))
            return job.upstream

    def _source_keys(self, name: str) -> list[dg.AssetKey]:
        return [source_key(source) for source in self.read.get(name, ())]

    def _asset(self, job: JobConfig) -> dg.AssetsDefinition:
        """One asset, or one for each stream, any of which can run alone."""
        waits_for = [key for name in self.upstream[job.name] for key in self._keys(name)]
        waits_for += [external_key(text) for text in job.external_upstream]
        specs, tables, checks = [], [], dict[str, dg.AssetCheckSpec]()
        alerts: dict[str, tuple[dg.AssetKey, dict[str, str]]] = {}
        for part in job.parts:
            output = RESULT if part.stream is None else op_name(dg.AssetKey(part.stream))
            prefix = "check" if part.stream is None else f"{output}_check"
            deps = list(dict.fromkeys([*self._source_keys(part.name), *waits_for]))
            spec, usable = self._spec(part, deps, waits_for)
            own = check_specs(spec.key, self.contracts[part.name]) if usable else []
            told = alert_specs(spec.key, job.alerts) if usable else []
            checks |= {f"{prefix}_{check.name}": check for check in (*own, *told)}
            names = [{check.name: f"{prefix}_{check.name}" for check in some} for some in (own, told)]
            alerts[output] = (spec.key, names[1])
            origins = Origins(self.keys, tuple(self.read.get(part.name, ())))
            specs.append(spec)
            tables.append(Table(part, spec.key, output, names[0], origins))
        compute = self._compute(job, tables)
        if job.alerts is not None and checks:
            compute = with_alerts(compute, job.alerts, alerts)
        compute = told_once(compute)
        key = specs[0].key if tables[0].output == RESULT else asset_key(job.name, job.group)
        usable = job.name not in self.faults
        return self._assets_definition(
            key, specs, compute, checks, job if usable else None, [table.output for table in tables]
        )

    def _keys(self, name: str) -> list[dg.AssetKey]:
        """The assets of a job or stream, be it broken."""
        parts = [part.name for part in self.project.parts(name)] or [name]
        return [self.keys[part] for part in parts if part in self.keys]

    def _spec(
        self, job: JobConfig, deps: Sequence[dg.AssetKey], waits_for: Sequence[dg.AssetKey]
    ) -> tuple[dg.AssetSpec, bool]:
        """The spec of a job's asset, and whether it can be used; one that shows the error where it can't."""
        key = self.keys[job.name]
        try:
            for name in (job.name, job.job_name):
                if fault := self.faults.get(name):
                    raise fault
            spec = self.custom.spec(AssetData(job, key, self.contracts[job.name], deps, waits_for))
            return spec if spec.key == key else spec.replace_attributes(key=key), True
        except Exception as error:
            # The step binds the job again: its error is the same, or it was mended since.
            fault = self.faults[job.name] = to_dativo_error(error, job=job.name, stage="bind")
            return broken_spec(key, job.group, fault, job.path, deps), False

    def _contract(self, job: JobConfig) -> Contract | None:
        find_plugins(job, self.project, self.registry)
        return load_contract(job, self.project.root, locate=False)

    def _compute(self, job: JobConfig, tables: Sequence[Table]) -> Compute:
        asset = JobAsset(job, self.project, self.registry, tuple(tables), self.custom.connections)
        body = self.custom.execute

        def compute(context: dg.AssetExecutionContext, inputs: Any) -> Iterator[Any]:
            launched = asset if self.as_launched else asset.as_launched(context)
            launched.tag_run(context)
            yield from body(context, launched)

        return compute

    def _broken(self) -> list[dg.AssetsDefinition]:
        taken = set(self.keys.values())
        found = []
        for item in self.project.broken:
            key = self._free_key(item, taken)
            taken.add(key)
            self.keys.setdefault(item.name, key)
            if self._is_own(item.name):
                found.append(self._shown_broken(item, key))
        return found

    def _shown_broken(self, item: BrokenJob, key: dg.AssetKey) -> dg.AssetsDefinition:
        spec = broken_spec(key, group_of(item, self.project.config), item.error, item.path, ())
        return self._assets_definition(key, [spec], broken_compute(item.error), {}, None)

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
        self,
        key: dg.AssetKey,
        specs: Sequence[dg.AssetSpec],
        compute: Compute,
        checks: Mapping[str, dg.AssetCheckSpec],
        job: JobConfig | None,
        outputs: Sequence[str] = (RESULT,),
    ) -> dg.AssetsDefinition:
        """key: that the op is named after. job: None for one that can't be used. outputs: of the op, one a spec; those of
        streams may be left out.
        """
        deps = dict.fromkeys(dep.asset_key for spec in specs for dep in spec.deps)
        inputs = {f"upstream_{index}": dep for index, dep in enumerate(deps)}
        streams = outputs[0] != RESULT
        op = self.custom.op
        node = dg.OpDefinition(
            compute_fn=compute,
            name=self.custom.op_name(key, alone=(self.jobs_in_all or self.project_jobs) == 1),
            description=op.description,
            tags=op.tags if job is None else {**(op.tags or {}), DIGEST_TAG: job.digest[:DIGEST_CHARACTERS]},
            ins=dict.fromkeys(inputs, _NOTHING_IN),
            outs={
                **dict.fromkeys(outputs, _MAYBE_NOTHING_OUT if streams else _NOTHING_OUT),
                **dict.fromkeys(checks, _MAYBE_NOTHING_OUT),
            },
            pool=None if job is None else op.pool or pool(job),
            required_resource_keys=None if job is None else self._resource_keys(job),
        )
        partitioned = any(spec.partitions_def is not None for spec in specs)
        return dg.AssetsDefinition(
            node_def=node,
            keys_by_input_name=inputs,
            keys_by_output_name={output: spec.key for output, spec in zip(outputs, specs, strict=True)},
            specs=specs,
            check_specs_by_output_name=checks,
            can_subset=streams,
            backfill_policy=op.backfill_policy or (backfill_policy(job) if partitioned else None),
        )

    @property
    def project_jobs(self) -> int:
        """How many jobs the project has, the broken ones too."""
        return len(self.project.jobs) + len(self.project.broken)

    def _resource_keys(self, job: JobConfig) -> set[str]:
        """Of the job's connections, and of those where the tables are that it reads."""
        read = [part for name in self.upstream[job.name] for part in self.project.parts(name)]
        return self.custom.connections.resource_keys([job, *read])
