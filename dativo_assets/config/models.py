"""A job and a project as a person writes them: frozen models whose keys are the keys of the YAML.

A model is made from YAML keys (`Source.model_validate({"reader": "csv", "files": "a.csv"})`); where the Python name
differs, the YAML key is its alias: `job.columns` is `schema`, `job.timeout_s` is `timeout` in seconds. Secrets stay
`${NAME}` in here.

    job.name, .description, .group, .depends_on, .upstream, .external_upstream
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
from dativo_plugin_sdk.models import Mode, Strategy
from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

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
from .origin import Located
from .timing import Alerts, Freshness, Partitions, Retry, Trigger
from .types import DURATION_HINT, seconds
from .upstream import external_upstream, upstream


class Incremental(Frozen):
    """How a run finds what is new since the last commit."""

    strategy: Strategy = Field(
        description="full_refresh reads everything; append and updated_at read past the last value of cursor_field; "
        "file and file_modified_time read new or changed files; snapshot reads again when the upstream has a new version."
    )
    cursor_field: Text | None = Field(None, description="The column whose values only grow.")
    lookback_s: float = Field(
        0,
        alias="lookback",
        description="How far before the last cursor to read again: a duration (1d, 3h), or a number in the "
        "cursor's own units.",
        json_schema_extra={"anyOf": [{"type": "string"}, {"type": "number"}]},
    )
    null_cursor: Literal["fail", "include", "quarantine"] = Field(
        "fail",
        description="What happens to rows whose cursor_field is null: include loads them, each once, quarantine sets them "
        "aside and needs `on_violation: quarantine`.",
    )
    changed: Literal["reread", "fail", "ignore"] = Field(
        "reread",
        description="file: what happens to a file that changed since it was read: it is read again whole, the run fails, or "
        "it is left out.",
    )
    compare: Literal["modified", "content"] = Field(
        "modified",
        description="file: what tells that a file changed: its time and size, or, where these differ, its content, which is "
        "read once more for that.",
    )

    @field_validator("lookback_s", mode="before")
    @classmethod
    def _lookback(cls, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise Problem("must be a duration or a number", DURATION_HINT)
        found = seconds(value) if isinstance(value, str) else float(value)
        if found is None or not found >= 0:
            raise Problem(f"`{value}` is no duration", DURATION_HINT)
        return found

    @model_validator(mode="after")
    def _needs_a_cursor(self) -> Incremental:
        if self.strategy in ("append", "updated_at") and self.cursor_field is None:
            raise Problem(
                f"the strategy {self.strategy} needs `cursor_field`", "name the column whose values only grow"
            )
        for key, default in (("changed", "reread"), ("compare", "modified")):
            if getattr(self, key) != default and self.strategy not in ("file", "file_modified_time"):
                raise Problem(f"`{key}` is about files, and the strategy is {self.strategy}", "use strategy: file", key)
        return self

    def to_sdk(self) -> SdkIncremental:
        """The same for a reader."""
        return SdkIncremental(
            strategy=self.strategy,
            cursor_field=self.cursor_field,
            lookback_s=self.lookback_s,
            null_cursor=self.null_cursor,
            changed=self.changed,
            compare=self.compare,
        )


class Source(Frozen):
    """Where rows come from."""

    reader: Path = Field(
        description="The reader: an installed plugin's name, path.py:Class, lib.so:symbol, or package.module:Class."
    )
    files: Texts = Field(
        (), description="Paths, globs or URIs, relative to the project's folder: one or a list; - is what is piped in."
    )
    tables: Texts = Field((), description="Tables of a database: one or a list.")
    objects: Texts = Field((), description="Objects of an API, such as customers: one or a list.")
    query: Path | None = Field(None, description="SQL text, or the path of a file that ends in .sql.")
    connection: Connection = Field(
        None, repr=False, description="The name of a connection in dativo.yaml, or its keys written out here."
    )
    credentials: dict[str, Any] = Field(
        default_factory=dict, repr=False, description='What the reader logs in with; write secrets as "${NAME}".'
    )
    options: dict[str, Any] = Field(default_factory=dict, repr=False, description="The reader's own options.")
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
        description="A folder, file or URI, relative to the project's folder; {name} and {group} stand for the job's.",
    )
    table: Path | None = Field(
        None, description="The table in a database or catalog; {name} and {group} work here too."
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
        keys = self.target.keys or tuple(column.name for column in self.columns or () if column.primary_key)
        mode = self.target.mode if "mode" in self.target.model_fields_set else self._default_mode(keys)
        if mode == "merge" and not keys:
            raise Problem(
                "mode merge needs `keys`", "name the columns that identify a row: keys: [id]", "target", "mode"
            )
        if self.name in self.depends_on:
            raise Problem("the job depends on itself", "remove it from depends_on", "depends_on")
        if (mode, keys) != (self.target.mode, self.target.keys):
            # What is in force stands where everybody looks; the model is not yet in anybody's hands.
            object.__setattr__(self, "target", self.target.model_copy(update={"mode": mode, "keys": keys}))
        return self

    def _default_mode(self, keys: tuple[str, ...]) -> Mode:
        strategy = self.source.incremental.strategy if self.source.incremental else "full_refresh"
        if strategy in ("full_refresh", "snapshot"):
            return "overwrite"
        return "merge" if strategy == "updated_at" and keys else "append"

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
    metrics: Metrics | None = Field(None, description="Where numbers of runs go. Default: nowhere.")
    openlineage: OpenLineage | None = Field(
        None, description="Where events of runs go. Default: nowhere. Needs the extra `openlineage`."
    )
