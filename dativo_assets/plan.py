"""bind(job, project, registry) -> JobPlan: the only place where configuration and plugins meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dativo_plugin_sdk import (
    AssetDefinition,
    BaseReader,
    BaseWriter,
    ConfigurationError,
    DativoError,
    SourceConfig,
    TargetConfig,
    Upstream,
)
from dativo_plugin_sdk.remote import is_remote

from dativo_assets.config.entries import plain
from dativo_assets.config.secrets import Redactor, resolve
from dativo_assets.errors import is_pydantic_error, to_dativo_error
from dativo_assets.registry import Kind, PluginRef, Registry

if TYPE_CHECKING:
    from dativo_assets.config import JobConfig, Project
    from dativo_assets.contract import Contract


DEFAULT_STREAM = "default"


@dataclass(frozen=True)
class JobPlan:
    """A job with everything it names found. Secrets are not resolved in it: that happens when a run opens its plugins.

    upstream: the jobs whose tables a derived job may read.
    """

    job: JobConfig
    root: Path
    reader: PluginRef
    writer: PluginRef
    contract: Contract | None
    upstream: tuple[UpstreamTarget, ...] = ()
    connections: Mapping[str, Any] = field(default_factory=dict, repr=False)
    redactor: Redactor = field(default_factory=Redactor, compare=False, repr=False)

    @property
    def stream(self) -> str:
        """The stream in the commit's record."""
        return self.job.stream or DEFAULT_STREAM

    def source_config(self, environment: Mapping[str, str]) -> SourceConfig:
        """What the reader is given, secrets resolved.

        Raises: ConfigurationError: for an unset variable.
        """
        source = self.job.source
        return self.source_as_written({}).model_copy(
            update={
                "files": self._resolved(plain(source.files), environment, "source", "files"),
                "connection": self._connection("source", environment),
                "credentials": self._resolved(source.credentials, environment, "source", "credentials"),
                "options": self._resolved(source.options, environment, "source", "options"),
                "checked_options": self.job.checked_options.get("source"),
                "upstream": {target.name: target.snapshot(environment) for target in self.upstream},
            }
        )

    def source_as_written(self, upstream: Mapping[str, Upstream]) -> SourceConfig:
        """What the job says of its source, for questions to a reader's class: nothing resolved, no connection."""
        source = self.job.source
        return SourceConfig(
            job=self.job.job_name,
            stream=self.stream,
            reader=source.reader,
            root=str(self.root),
            files=plain(source.files),
            tables=plain(source.tables),
            objects=plain(source.objects),
            query=_query(source.query, self.root),
            options=dict(source.options),
            incremental=self.job.incremental,
            upstream=dict(upstream),
        )

    def target_config(self, environment: Mapping[str, str]) -> TargetConfig:
        """What the writer is given, secrets resolved."""
        target = self.job.target
        return TargetConfig(
            job=self.job.job_name,
            stream=self.stream,
            writer=target.writer,
            root=str(self.root),
            path=self._resolved(target.path, environment, "target", "path"),
            table=target.table,
            catalog=target.catalog,
            mode=self.job.target.mode,
            keys=target.keys,
            partition_by=target.partition_by,
            connection=self._connection("target", environment),
            credentials=self._resolved(target.credentials, environment, "target", "credentials"),
            options=self._resolved(target.options, environment, "target", "options"),
            checked_options=self.job.checked_options.get("target"),
        )

    def open_reader(self, environment: Mapping[str, str]) -> BaseReader:
        """A reader for one run.

        Raises: ConfigurationError: for options that the plugin refuses, at their line. PluginError: when it can't load.
        """
        factory = self.reader.load().factory
        reader = self._construct("source", self.reader, lambda: factory(self.source_config(environment)))
        assert isinstance(reader, BaseReader)
        return reader

    def open_writer(self, environment: Mapping[str, str]) -> BaseWriter:
        """A writer for one run; errors as `open_reader`, and for a mode or a policy that the writer can't do."""
        factory = self.writer.load().factory
        columns = () if self.contract is None else tuple(column.to_dict() for column in self.contract.columns)
        asset = AssetDefinition(
            name=self.job.name.replace(".", "_") if self.job.stream else self.job.name,
            version=str(self.job.version),
            columns=columns,
        )
        writer = self._construct("target", self.writer, lambda: factory(asset, self.target_config(environment)))
        assert isinstance(writer, BaseWriter)
        mode = self.job.target.mode
        if mode not in writer.modes:
            raise self._refused(
                f"writer {self.writer.reference} can't {mode}",
                ("target", "mode"),
                f"use {' or '.join(sorted(writer.modes))}",
            )
        if self.job.on_violation == "quarantine" and not writer.quarantines:
            raise self._refused(
                f"writer {self.writer.reference} can't quarantine rows", ("on_violation",), "use fail or warn"
            )
        return writer

    def redacted(self, error: DativoError) -> DativoError:
        """The same error with every secret this plan resolved masked in its texts."""
        error.message = self.redactor.redact(error.message)
        error.args = (error.message,)
        if error.hint is not None:
            error.hint = self.redactor.redact(error.hint)
        for key, value in error.details.items():
            if isinstance(value, str):
                error.details[key] = self.redactor.redact(value)
        return error

    def _construct(self, side: str, ref: PluginRef, make: Any) -> object:
        try:
            found: object = make()
        except (Exception, SystemExit) as error:
            if is_pydantic_error(error):
                from dativo_assets.config.problems import invalid  # and pydantic, which is loaded now

                options = ref.load().options
                raise invalid(error, options, self.job.origin, side, "options", job=self.job.name) from error
            raised = to_dativo_error(error, job=self.job.name, stage="bind", plugin=ref.reference)
            if "option" in raised.details:  # an isolated plugin has checked its options where it is
                raised.at(**self.job.location(side, "options", *raised.details["option"]).details())
            raise raised from error
        return found

    def _refused(self, message: str, path: tuple[str, ...], hint: str | None) -> ConfigurationError:
        error = ConfigurationError(message, hint=hint)
        error.at(job=self.job.name, **self.job.location(*path).details())
        return error

    def _connection(self, side: str, environment: Mapping[str, str]) -> dict[str, Any]:
        section = getattr(self.job, side)
        given = section.connection
        if given is None and getattr(section, "catalog", None) in self.connections:
            given = section.catalog
        if isinstance(given, str):
            given = self.connections[given]
        return dict(self._resolved(given or {}, environment, side, "connection"))

    def _resolved(self, value: Any, environment: Mapping[str, str], *path: str) -> Any:
        return resolve(value, environment, self.redactor, locate=partial(self.job.location, *path))


@dataclass(frozen=True)
class UpstreamTarget:
    """The target of an upstream job."""

    name: str
    plan: JobPlan

    def snapshot(self, environment: Mapping[str, str]) -> Upstream:
        """Its committed files.

        Raises: ConfigurationError: when nothing is committed yet, or its writer has no files to read.
        """
        writer = self.plan.open_writer(environment)
        try:
            table = writer.snapshot()
            remote = table is not None and any(is_remote(path) for path in table.files)
            connection = writer.store_connection() if remote else {}
        finally:
            writer.close()
        if table is None:
            raise ConfigurationError(
                f"upstream {self.name} holds no commit yet", hint=f"run it first: dativo run {self.name}"
            )
        return Upstream(
            name=self.name,
            format=table.format,
            files=table.files,
            seq=table.seq,
            schema_text=dict(table.schema_text),
            connection=connection,
        )


def _query(query: str | None, root: Path) -> str | None:
    if query is None or not query.endswith(".sql") or any(character.isspace() for character in query):
        return query
    path = root / query
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"query file {query} can't be read: {error.strerror}", hint="see source.query"
        ) from error


def bind(job: JobConfig, project: Project, registry: Registry | None = None, *, locate: bool = True) -> JobPlan:
    """Find everything a job names, or one of `job.parts`. No plugin is imported, but for the reader of a query: it knows the
    query's tables. locate=False: as of `load_contract`, for a plan that moves no rows.

    Raises: ConfigurationError: at the line of what is not there; for a job of several streams.
    """
    if job.parts != (job,):
        raise ConfigurationError(
            f"{job.name} has streams: {', '.join(str(part.stream) for part in job.parts)}",
            hint=f"name one, such as {job.parts[0].name}",
        )
    return _bind(job, project, registry or Registry(project.root), locate, ())


def upstream_jobs(job: JobConfig, project: Project, registry: Registry | None = None) -> tuple[str, ...]:
    """The jobs of the project that this one waits for: depends_on, then those whose tables its query names.

    Raises: ConfigurationError: when the query can't be read, or its reader can't be loaded.
    """
    if job.source.query is None:
        return job.upstream
    reader = _Resolver(job, project, registry or Registry(project.root), Redactor()).resolve("source", "reader").load()
    query = _query(job.source.query, project.root) or ""
    named = getattr(reader.target, "query_tables", lambda _: ())(query)
    found = [name for name in sorted(named) if (parts := project.parts(name)) and parts[0].job_name != job.job_name]
    return tuple(dict.fromkeys((*job.upstream, *found)))


def find_plugins(job: JobConfig, project: Project, registry: Registry) -> tuple[PluginRef, PluginRef]:
    """The reader and the writer that a job names, neither imported.

    Raises: ConfigurationError: at the line of what is not there, or not allowed.
    """
    find = _Resolver(job, project, registry, Redactor())
    return find.resolve("source", "reader"), find.resolve("target", "writer")


def _bind(job: JobConfig, project: Project, registry: Registry, locate: bool, below: tuple[str, ...]) -> JobPlan:
    if job.name in below:
        cycle = " -> ".join((*below[below.index(job.name) :], job.name))
        raise ConfigurationError(f"the queries read each other: {cycle}", hint="break the cycle").at(
            job=job.name, **job.location("source", "query").details()
        )
    upstream = upstream_jobs(job, project, registry) if job.source.query is not None else ()
    redactor = Redactor()
    find = _Resolver(job, project, registry, redactor)
    return JobPlan(
        job=job,
        root=project.root,
        reader=find.resolve("source", "reader"),
        writer=find.resolve("target", "writer"),
        contract=_contract(job, project.root, locate),
        upstream=tuple(
            UpstreamTarget(part.name, _bind(part, project, registry, locate, (*below, job.name)))
            for name in upstream
            for part in project.parts(name)
        ),
        connections=project.config.connections,
        redactor=redactor,
    )


def _contract(job: JobConfig, root: Path, locate: bool) -> Contract | None:
    incremental = job.source.incremental
    if (
        job.columns is None
        and job.contract is None
        and (incremental is None or incremental.null_cursor != "quarantine")
    ):
        return None  # and nothing of contracts is imported for the run
    from dativo_assets.contract import load_contract

    return load_contract(job, root, locate=locate)


@dataclass(frozen=True)
class _Resolver:
    """Finds the plugins that a job names."""

    job: JobConfig
    project: Project
    registry: Registry
    redactor: Redactor

    def resolve(self, side: str, kind: Kind) -> PluginRef:
        """Raises: ConfigurationError: for a plugin that is not there, or that the project may not use, at the job's line."""
        section = getattr(self.job, side)
        try:
            ref = self._found(section, kind)
            self._check(ref)
        except ConfigurationError as error:
            error.at(job=self.job.name, **self.job.location(side, kind).details())
            raise
        if section.isolation is None and not ref.takes_standard_error:
            return ref
        from dativo_assets.isolation.ref import IsolatedRef
        from dativo_assets.isolation.settings import Isolation

        settings = Isolation.of(section, self.project.root, self.job.timeout_s)
        return ref if settings is None else IsolatedRef.of(ref, settings, self.redactor)

    def _found(self, section: Any, kind: Kind) -> PluginRef:
        reference: str = getattr(section, kind)
        if section.isolation is None or section.isolation.mode != "env":
            return self.registry.resolve(kind, reference)
        from dativo_assets.isolation.environment import environment_ref

        return environment_ref(kind, reference, (self.project.root / section.isolation.environment).resolve())

    def _check(self, ref: PluginRef) -> None:
        if self.project.locked or self.project.config.plugins is not None:
            from dativo_assets.trust.policy import Policy

            Policy.of(self.project).check(ref)
