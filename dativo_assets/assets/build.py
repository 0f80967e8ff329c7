"""define(path, customization) -> dg.Definitions: one asset a job, its sources, its checks, and what starts it.

Assets are built raw (an OpDefinition around a plain function), five times as fast as by decorators, and the garbage
collector rests meanwhile: a project of thousands of jobs loads near Dagster's own floor.
"""

import gc
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from dagster.components.resolved.core_models import OpSpec

from dativo_assets.config import BrokenJob, JobConfig, Project, find_project, load_project
from dativo_assets.config.runner import load_runner
from dativo_assets.contract import Contract, load_contract
from dativo_assets.errors import ConfigurationError, DativoError, render, to_dativo_error
from dativo_assets.lineage import Source
from dativo_assets.plan import upstream_jobs
from dativo_assets.registry import Registry
from dativo_assets.sensors import Watched, alert_sensor, trigger_sensor

from .alerts import LAG, AlertChecks, alert_specs
from .broken import broken_spec, group_of
from .connections import Connections, GivenConnection
from .customize import Customization, Execution, Translation, execute, translated
from .execute import RESULT, Compute, JobAsset, broken_compute
from .lineage import Origins
from .metadata import check_specs
from .runner import schedule_of
from .sources import source_assets, source_key
from .translate import AssetData, asset_key, external_key, pool

_NOTHING_OUT = dg.Out(dg.Nothing)
_NOTHING_IN = dg.In(dg.Nothing)
_CHECK_OUT = dg.Out(dg.Nothing, is_required=False)


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
    return define(path, Customization(translated(translation), execute, op or OpSpec(), given))


def define(path: Path | str | None, custom: Customization) -> dg.Definitions:
    """As `build_definitions`."""
    try:
        project = load_project(find_project(explicit=path))
        custom.connections.check(project)
    except DativoError as error:
        raise dg.DagsterInvalidDefinitionError(f"the project can't be loaded\n\n{render(error)}") from None
    with _collector_paused(), warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.simplefilter("ignore", dg.PreviewWarning)
        try:
            return _Builder(project, custom).build()
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
class _Builder:
    """One project's way to Definitions. keys: of every job, the broken ones too. upstream: {job: jobs it waits for}.
    read: {job: sources it reads}."""

    project: Project
    custom: Customization
    registry: Registry = field(init=False)
    keys: dict[str, dg.AssetKey] = field(default_factory=dict)
    upstream: dict[str, tuple[str, ...]] = field(default_factory=dict)
    contracts: dict[str, Contract | None] = field(default_factory=dict)
    faults: dict[str, DativoError] = field(default_factory=dict)
    read: dict[str, list[Source]] = field(default_factory=dict)

    def build(self) -> dg.Definitions:
        self.registry = Registry(self.project.root)
        jobs = self.project.jobs
        self._find_keys()
        broken = self._broken()
        for name, job in jobs.items():
            self.upstream[name] = self._upstream(job)
        derived = frozenset(name for name, job in jobs.items() if job.source.query and self.upstream[name])
        self.read, source_specs = source_assets(jobs.values(), derived)
        assets = [self._asset(job) for job in jobs.values()]
        conditions = [a.key for a in assets if next(iter(a.specs)).automation_condition is not None]
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
            Watched(job, self.keys[name], tuple(self._source_keys(name)))
            for name, job in jobs.items()
            if job.enabled
            and name not in self.faults
            and job.trigger is not None
            and (job.trigger.files or job.trigger.probe)
        ]
        if watched:
            needed = self.custom.connections.resource_keys(item.job for item in watched)
            sensors.append(trigger_sensor(watched, self.project, self.registry, needed, self.custom.connections.given))
        lags = {
            self.keys[name]: job.alerts.lag_s
            for name, job in jobs.items()
            if name not in self.faults and job.alerts is not None and job.alerts.lag_s is not None
        }
        if lags:
            sensors.append(alert_sensor(lags, LAG))
        return dg.Definitions(
            assets=[*source_specs, *assets, *broken],
            sensors=sensors,
            schedules=self._schedules(),
            resources=self.custom.connections.resources,
        )

    def _schedules(self) -> list[dg.ScheduleDefinition]:
        runner = load_runner(self.project)
        if runner is None:
            return []
        names = [runner.job_of(index, self.project) for index in range(len(runner.orchestrator.schedules))]
        tenants = {name: job.metadata.get("tenant_id") for name, job in self.project.jobs.items()}
        return [
            schedule_of(schedule, self.keys[name], tenants.get(name), runner.orchestrator.concurrency_per_tenant)
            for schedule, name in zip(runner.orchestrator.schedules, names, strict=True)
        ]

    def _find_keys(self) -> None:
        """The key of each job, as the customization has it; its own one where that fails or gives one key twice."""
        taken: dict[dg.AssetKey, str] = {}
        for name, job in self.project.jobs.items():
            key = asset_key(name, job.group)
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
        key = self.keys[job.name]
        waits_for = [self.keys[name] for name in self.upstream[job.name] if name in self.keys]
        waits_for += [external_key(text) for text in job.external_upstream]
        deps = list(dict.fromkeys([*self._source_keys(job.name), *waits_for]))
        try:
            if fault := self.faults.get(job.name):
                raise fault
            data = AssetData(job, key, self.contracts[job.name], deps, waits_for)
            return self._definition(data, self.custom.spec(data))
        except Exception as error:
            fault = self.faults[job.name] = to_dativo_error(error, job=job.name, stage="bind")
            # The step binds the job again: its error is the same, or it was mended since.
            return self._assets_definition(
                broken_spec(key, job.group, fault, job.path, deps), self._compute(job, key, {}), {}, None
            )

    def _contract(self, job: JobConfig) -> Contract | None:
        self.registry.resolve("reader", job.source.reader)
        self.registry.resolve("writer", job.target.writer)
        return load_contract(job, self.project.root, locate=False)

    def _definition(self, data: AssetData, spec: dg.AssetSpec) -> dg.AssetsDefinition:
        job = data.job
        if spec.key != data.key:
            spec = spec.replace_attributes(key=data.key)
        specs = {f"check_{check.name}": check for check in check_specs(spec.key, data.contract)}
        compute = self._compute(job, spec.key, {check.name: output for output, check in specs.items()})
        if job.alerts is not None:
            told = {f"check_{check.name}": check for check in alert_specs(spec.key, job.alerts)}
            outputs = {check.name: output for output, check in told.items()}
            compute = _with_alerts(compute, AlertChecks(job.alerts, {spec.key: outputs}))
            specs |= told
        return self._assets_definition(spec, compute, specs, job)

    def _compute(self, job: JobConfig, key: dg.AssetKey, checks: dict[str, str]) -> Compute:
        origins = Origins(self.keys, tuple(self.read.get(job.name, ())))
        asset = JobAsset(job, self.project, self.registry, key, checks, self.custom.connections, origins)
        body = self.custom.execute

        def compute(context: dg.AssetExecutionContext, inputs: Any) -> Iterator[Any]:
            yield from body(context, asset)

        return compute

    def _broken(self) -> list[dg.AssetsDefinition]:
        taken = set(self.keys.values())
        found = []
        for item in self.project.broken:
            key = self._free_key(item, taken)
            taken.add(key)
            self.keys.setdefault(item.name, key)
            group = group_of(item, self.project.config)
            found.append(
                self._assets_definition(
                    broken_spec(key, group, item.error, item.path, ()), broken_compute(item.error), {}, None
                )
            )
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
        self, spec: dg.AssetSpec, compute: Compute, checks: dict[str, dg.AssetCheckSpec], job: JobConfig | None
    ) -> dg.AssetsDefinition:
        """job: None for one that can't be used."""
        inputs = {f"upstream_{index}": dep.asset_key for index, dep in enumerate(spec.deps)}
        op = self.custom.op
        node = dg.OpDefinition(
            compute_fn=compute,
            name=self.custom.op_name(spec.key, alone=len(self.project.jobs) + len(self.project.broken) == 1),
            description=op.description,
            tags=op.tags,
            ins=dict.fromkeys(inputs, _NOTHING_IN),
            outs={RESULT: _NOTHING_OUT, **dict.fromkeys(checks, _CHECK_OUT)},
            pool=None if job is None else op.pool or pool(job),
            required_resource_keys=None if job is None else self._resource_keys(job),
        )
        single = dg.BackfillPolicy.single_run() if spec.partitions_def is not None else None
        return dg.AssetsDefinition(
            node_def=node,
            keys_by_input_name=inputs,
            keys_by_output_name={RESULT: spec.key},
            specs=[spec],
            check_specs_by_output_name=checks,
            backfill_policy=op.backfill_policy or single,
        )

    def _resource_keys(self, job: JobConfig) -> set[str]:
        """Of the job's connections, and of those where the tables are that it reads."""
        read = [self.project.jobs[name] for name in self.upstream[job.name] if name in self.project.jobs]
        return self.custom.connections.resource_keys([job, *read])


def _with_alerts(compute: Compute, checks: AlertChecks) -> Compute:
    def watched(context: dg.AssetExecutionContext, inputs: Any) -> Iterator[Any]:
        yield from checks.around(compute(context, inputs), context.instance)

    return watched
