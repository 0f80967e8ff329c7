"""A job and a project as a person writes them: frozen models whose keys are the keys of the YAML.

A model is made from YAML keys (`Source.model_validate({"reader": "csv", "files": "a.csv"})`); where the Python name
differs, the YAML key is its alias: `job.columns` is `schema`, `job.timeout_s` is `timeout` in seconds. Secrets stay
`${NAME}` in here.

    job.parts: a job for each of its streams; (job,) where it has none. part.name is `job.stream`
    job.name, .job_name, .stream, .description, .group, .depends_on, .upstream, .external_upstream
    job.owners, .tags, .metadata, .version, .enabled
    job.source: Source(reader, files, tables, objects, query, connection, credentials, options, incremental)
    job.target: Target(writer, path, table, catalog, mode, keys, partition_by, connection, credentials, options)
    job.contract (path) or job.columns (inline `schema`); job.on_violation, .evolve, .freshness
    job.target.mode and .keys are those in force, defaults filled in; job.incremental: the SDK's Incremental
    job.trigger, .partitions, .retry, .timeout_s
    job.path, .root: where it was read from; job.location("target", "options", "compression") -> Location
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from dativo_plugin_sdk.models import Incremental as SdkIncremental
from dativo_plugin_sdk.models import Mode
from pydantic import BeforeValidator, Field, PrivateAttr, WithJsonSchema, field_validator, model_validator

from dativo_assets.errors import Location

from .fields import (
    Connection,
    Duration,
    Flag,
    Frozen,
    GroupName,
    JobName,
    Owner,
    Path,
    Problem,
    Regex,
    ScalarList,
    ScalarValue,
    TagKey,
    TagValue,
    Text,
    Texts,
    TypeName,
    Whole,
)
from .incremental import Incremental
from .isolation import IsolationKey
from .origin import Located
from .plugins import Plugins
from .streams import PLACEHOLDER, FilesStreams, NamedStreams, Part, names_streams, narrowed, placed, streams_of
from .timing import Alerts, Freshness, Partitions, Retry, Trigger, check_by_file
from .upstream import external_upstream, upstream


class Source(Frozen):
    """Where rows come from."""

    reader: Path = Field(
        description="The reader: an installed plugin's name, path.py:Class, lib.so:symbol, or package.module:Class."
    )
    files: FilesStreams = Field(
        (),
        description="Paths, globs or URIs, relative to the project's folder: one or a list; - is what is piped in. Entries "
        "{path, object} make a stream of each object.",
    )
    tables: NamedStreams = Field(
        (), description="Tables of a database: one, or a list of names or {name, object, ...}, each a stream."
    )
    objects: NamedStreams = Field(
        (), description="Objects of an API, such as customers: one, or a list of names or {name, ...}, each a stream."
    )
    query: Path | None = Field(None, description="SQL text, or the path of a file that ends in .sql.")
    connection: Connection = Field(
        None, repr=False, description="The name of a connection in dativo.yaml, or its keys written out here."
    )
    credentials: dict[str, Any] = Field(
        default_factory=dict, repr=False, description='What the reader logs in with; write secrets as "${NAME}".'
    )
    options: dict[str, Any] = Field(default_factory=dict, repr=False, description="The reader's own options.")
    isolation: IsolationKey = Field(
        None, description="Where the reader runs: none (in the run's process), process, or a mapping with its limits."
    )
    incremental: Incremental | None = Field(None, description="How a run finds what is new; without it, all is read.")


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


class Target(Frozen):
    """Where rows land."""

    writer: Path = Field(
        description="The writer: an installed plugin's name, path.py:Class, lib.so:symbol, or package.module:Class."
    )
    path: Path | None = Field(
        None,
        description="A folder, file or URI, relative to the project's folder; {name} and {group} stand for the job's, {stream} "
        "for the name of each stream.",
    )
    table: Path | None = Field(
        None, description="The table in a database or catalog; {name}, {group} and {stream} work here too."
    )
    catalog: Path | None = Field(
        None,
        description="The catalog that holds the table: the name of a connection in dativo.yaml.",
    )
    mode: Mode = Field(
        "append",
        description="append adds rows, overwrite replaces the table, merge replaces rows with equal keys. Default: "
        "overwrite for a job that reads everything each time, else append (merge for updated_at with keys), so that "
        "running a job twice never doubles a table.",
        json_schema_extra=_without_default,
    )
    keys: Texts = Field(
        (), description="The columns that identify a row, for merge; default: the schema's primary key."
    )
    partition_by: Texts = Field((), description="The columns that the table is divided by.")
    connection: Connection = Field(
        None, repr=False, description="The name of a connection in dativo.yaml, or its keys written out here."
    )
    credentials: dict[str, Any] = Field(
        default_factory=dict, repr=False, description='What the writer logs in with; write secrets as "${NAME}".'
    )
    options: dict[str, Any] = Field(default_factory=dict, repr=False, description="The writer's own options.")
    isolation: IsolationKey = Field(
        None, description="Where the writer runs: none (in the run's process), process, or a mapping with its limits."
    )


class Column(Frozen):
    """A column of an inline schema, with the rules its values keep."""

    name: Path = Field(description="The column's name.")
    type: TypeName = Field(
        "string", description="Its type: string, int64, decimal(10, 2), timestamp[us, UTC], list<string>, ..."
    )
    required: Flag = Field(False, description="No value may be null.")
    unique: Flag = Field(False, description="No two rows hold the same value.")
    primary_key: Flag = Field(
        False, description="The column is part of what identifies a row: required, and unique together."
    )
    min: ScalarValue = Field(None, description="The least value allowed; dates and timestamps as ISO text.")
    max: ScalarValue = Field(None, description="The greatest value allowed.")
    exclusive_min: ScalarValue = Field(None, description="Every value is greater than this.")
    exclusive_max: ScalarValue = Field(None, description="Every value is less than this.")
    pattern: Regex | None = Field(
        None, description="A regular expression that every value contains; anchor it with ^ and $."
    )
    accepted_values: ScalarList | None = Field(None, description="The only values allowed.")
    min_length: Whole | None = Field(None, ge=0, description="The least number of characters of a text.")
    max_length: Whole | None = Field(None, ge=0, description="The greatest number of characters of a text.")
    description: Text | None = Field(None, description="What the column holds.")
    classification: Text | None = Field(
        None, description="How sensitive it is, such as pii; marks the column in the catalog."
    )
    tags: dict[str, Text] = Field(default_factory=dict, description="Labels of the column in the catalog.")

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Column:
        for low, high in (("min", "max"), ("min_length", "max_length")):
            least, most = getattr(self, low), getattr(self, high)
            numbers = isinstance(least, (int, float)) and isinstance(most, (int, float))
            if numbers and least > most:
                raise Problem(f"`{low}` {least} is greater than `{high}` {most}", None, low)
        return self


class JobConfig(Located):
    """A job is an asset: a source, a target, and what the rows between them must be."""

    name: JobName = Field(description="The job's and the asset's name. Default: the file's name without .yaml.")
    description: Text | None = Field(None, description="What the asset is, for people; the first line is plain text.")
    group: GroupName = Field("default", description="The group that the asset is shown in.")
    depends_on: Texts = Field(
        (),
        description="Jobs that this one reads or waits for. An asset of another code location is external:its/key, or just "
        "its key when that holds a slash.",
    )
    source: Source = Field(description="Where rows come from.")
    target: Target = Field(description="Where rows land.")
    contract: Path | None = Field(None, description="The path of an Open Data Contract Standard file.")
    columns: tuple[Column, ...] | None = Field(None, alias="schema", description="The columns, written out here.")
    on_violation: Literal["fail", "warn", "quarantine"] = Field(
        "fail",
        description="Rows that break a rule: nothing lands, they land and are counted, or they land beside the table.",
    )
    evolve: Literal["none", "add_columns", "widen"] = Field(
        "none", description="How the table's schema may follow the source's."
    )
    trigger: Trigger | None = Field(None, description="What starts a run by itself.")
    partitions: Partitions | None = Field(None, description="How the asset is divided.")
    retry: Retry = Field(
        default_factory=lambda: Retry.model_validate({}), description="What happens after a transient failure."
    )
    timeout_s: Duration = Field(
        3600.0, alias="timeout", gt=0, description="The longest wait for one call of a plugin, such as 30m."
    )
    preview: bool = Field(
        True,
        description="Whether Dagster shows a few rows of each run and a profile of its columns, personal data masked.",
    )
    freshness: Freshness | None = Field(
        None, description="How old the asset may grow: 24h, {fail_after, warn_after} or {cron, within}."
    )
    alerts: Alerts | None = Field(None, description="What is told by asset checks of its own: {failure, lag, volume}.")
    owners: tuple[Owner, ...] = Field((), description="team:NAME or e-mail addresses.")
    tags: dict[TagKey, TagValue] = Field(default_factory=dict, description="Labels of the asset.")
    metadata: dict[str, ScalarValue] = Field(
        default_factory=dict, description="Anything else worth showing with the asset."
    )
    version: Text = Field("1.0", description="The version of the job's definition.")
    enabled: Flag = Field(True, description="false keeps the asset and switches its trigger off.")

    _streams: tuple[tuple[str, Part], ...] = PrivateAttr(())
    _stream: str | None = PrivateAttr(None)

    @field_validator("columns", mode="after")
    @classmethod
    def _columns_once(cls, columns: tuple[Column, ...] | None) -> tuple[Column, ...] | None:
        seen: dict[str, int] = {}
        for index, column in enumerate(columns or ()):
            if column.name in seen:
                raise Problem(f"the column `{column.name}` is declared twice", "keep one of the two", index, "name")
            seen[column.name] = index
        return columns

    @model_validator(mode="after")
    def _consistent(self) -> JobConfig:
        if self.contract is not None and self.columns is not None:
            raise Problem("a job takes `contract` or `schema`, not both", "keep one of the two", "schema")
        if self.name in self.depends_on:
            raise Problem("the job depends on itself", "remove it from depends_on", "depends_on")
        found = streams_of(self.source)
        if self.is_by_file:
            check_by_file(self, streams=len(found) > 1 or names_streams(self.target))
        if len(found) > 1 or names_streams(self.target):
            self._split(found)
            return self
        for part in found.values():
            object.__setattr__(self, "source", narrowed(self.source, part))
            self._own(part)
        self._settle()
        return self

    def _split(self, found: dict[str, Part]) -> None:
        """The job has streams. Raises: Problem: for what is wrong with one of them."""
        if not found or "" in found:
            raise Problem(
                f"the target says {PLACEHOLDER}, and the source names no stream",
                "name `tables`, `objects` or files with an `object`",
                "target",
                "path" if PLACEHOLDER in (self.target.path or "") else "table",
            )
        self._streams = tuple(found.items())
        for name in found:
            if f"{self.name}.{name}" in self.depends_on:
                raise Problem("the job depends on itself", "remove it from depends_on", "depends_on")
        assert self.parts

    def _own(self, part: Part) -> None:
        """Take what a stream says for itself, where this job is that stream's."""
        if part.own.contract is not None:
            if self.columns is not None:
                raise Problem("a job takes `contract` or `schema`, not both", "keep one of the two", "schema")
            object.__setattr__(self, "contract", part.own.contract)
        if part.own.keys:
            object.__setattr__(self, "target", self.target.model_copy(update={"keys": part.own.keys}))

    def _settle(self) -> None:
        """What is in force stands where everybody looks; the model is not yet in anybody's hands."""
        incremental = self.source.incremental
        if (
            incremental is not None
            and incremental.cursor_field is None
            and incremental.strategy in ("append", "updated_at")
        ):
            raise Problem(
                f"source.incremental: the strategy {incremental.strategy} needs `cursor_field`",
                "name the column whose values only grow",
                "source",
                "incremental",
            )
        keys = self.target.keys or tuple(column.name for column in self.columns or () if column.primary_key)
        mode = self.target.mode if "mode" in self.target.model_fields_set else self._default_mode(keys)
        if mode == "merge" and not keys:
            raise Problem(
                "mode merge needs `keys`", "name the columns that identify a row: keys: [id]", "target", "mode"
            )
        if (mode, keys) != (self.target.mode, self.target.keys):
            object.__setattr__(self, "target", self.target.model_copy(update={"mode": mode, "keys": keys}))

    @property
    def parts(self) -> tuple[JobConfig, ...]:
        """The jobs that runs are made of, one a stream, named `job.stream`; this one alone where it has no streams."""
        return tuple(self._part(*item) for item in self._streams) or (self,)

    def _part(self, stream: str, part: Part) -> JobConfig:
        change: dict[str, Any] = {
            "name": f"{self.name}.{stream}",
            "source": narrowed(self.source, part),
            "target": placed(self.target, self.name, stream),
        }
        if self.contract is not None:
            change["contract"] = self.contract.replace(PLACEHOLDER, stream)
        found = self.model_copy(update=change)
        found._streams, found._stream = (), stream
        found._own(part)
        found._settle()
        return found

    @property
    def stream(self) -> str | None:
        """The stream that this job loads, where it is one of several of `job_name`."""
        return self._stream

    @property
    def job_name(self) -> str:
        """The name that the file gives: that of a stream's job, without the stream."""
        return self.name if self._stream is None else self.name.removesuffix(f".{self._stream}")

    def _default_mode(self, keys: tuple[str, ...]) -> Mode:
        if self.is_by_file:
            return "append"
        strategy = self.source.incremental.strategy if self.source.incremental else "full_refresh"
        if strategy in ("full_refresh", "snapshot"):
            return "overwrite"
        return "merge" if strategy == "updated_at" and keys else "append"

    @property
    def is_by_file(self) -> bool:
        """Whether each file of the source is a partition."""
        return self.partitions is not None and self.partitions.files is not None

    @property
    def incremental(self) -> SdkIncremental | None:
        """How a run finds what is new, as the SDK says it; None for a job that reads everything."""
        return self.source.incremental.to_sdk() if self.source.incremental else None

    @property
    def upstream(self) -> tuple[str, ...]:
        """The jobs of this project in depends_on."""
        return upstream(self.depends_on)

    @property
    def external_upstream(self) -> tuple[str, ...]:
        """The keys (`shop/orders`) of assets of other code locations in depends_on."""
        return external_upstream(self.depends_on)

    @property
    def digest(self) -> str:
        """Changes with any of its values."""
        return hashlib.sha256(self.model_dump_json(by_alias=True).encode()).hexdigest()

    @property
    def checked_options(self) -> Mapping[str, Any]:
        """What is known of the options of its plugins without asking their models: nothing."""
        return {}

    def column_places(self) -> tuple[Location, ...]:
        """Where each column of the inline schema stands; the file is parsed once for them all."""
        origin = self.origin.opened()
        return tuple(origin.location("schema", index) for index in range(len(self.columns or ())))


def _globs(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class OpenLineage(Located):
    """Events of runs for a lineage service."""

    namespace: Text | None = Field(
        None, description="The namespace of the project's jobs. Default: the project's name."
    )
    transport: dict[str, Any] = Field(
        repr=False,
        description="Where events go, as the OpenLineage client takes it: {type: http, url: ...}, or {type: file, "
        "log_file_path: ..., append: true} with a path relative to the project's folder.",
    )


class Metrics(Frozen):
    """Numbers of runs for a monitor."""

    prometheus: Path = Field(
        description="A folder, relative to the project's, that holds a file a job in Prometheus' text format, for the "
        "textfile collector of node_exporter.",
    )


class ProjectConfig(Located):
    """dativo.yaml, at the project's root."""

    name: JobName | None = Field(None, description="The project's name. Default: its folder's.")
    description: Text | None = Field(None, description="What the project is, for people.")
    jobs: Annotated[tuple[Path, ...], BeforeValidator(_globs), WithJsonSchema({"type": ["string", "array"]})] = Field(
        ("jobs/**/*.yaml", "jobs/**/*.yml"), description="Globs of the job files, relative to this file."
    )
    defaults: dict[str, Any] = Field(
        default_factory=dict,
        repr=False,
        description="Keys of a job that hold for every job; a job's own keys win. {name} and {group} in strings under "
        "target stand for the job's.",
    )
    connections: dict[str, dict[str, Any]] = Field(
        default_factory=dict, repr=False, description='Connections by name; write secrets as "${NAME}".'
    )
    runner: Path | None = Field(
        None,
        description="A runner file of the earlier package, whose schedules run the jobs. Default: runner.yaml, if there.",
    )
    code_locations: Whole = Field(
        1,
        ge=1,
        le=256,
        description="Over how many code locations the jobs are shared out, by their groups, those without one by their "
        "names: `shard_1` to `shard_N` of dativo_assets.definitions.",
    )
    plugins: Plugins | None = Field(None, description="Which plugins jobs may use. Default: all that are found.")
    metrics: Metrics | None = Field(None, description="Where numbers of runs go. Default: nowhere.")
    openlineage: OpenLineage | None = Field(
        None, description="Where events of runs go. Default: nowhere. Needs the extra `openlineage`."
    )
