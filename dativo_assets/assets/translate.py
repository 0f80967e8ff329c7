"""From a job's words to Dagster's: keys, kinds, tags, metadata. The only module that knows both vocabularies."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.metadata import CodeReferencesMetadataValue, LocalFileCodeReference
from dagster._core.definitions.utils import DISALLOWED_NAMES

from dativo_assets.config import JobConfig, plain
from dativo_assets.config.masking import MASK, is_secret_name, mask_line
from dativo_assets.contract import Column, Contract
from dativo_assets.lineage import plugin_kinds

from .schedule import automation_condition, freshness_policy, partitions_definition

DEFAULT_GROUP = "default"
_MAX_LINE_CHARACTERS = 90
_MAX_KINDS = 3  # Dagster refuses more
_RESERVED_TAG_PREFIX = "dagster/"
_CLEAN = re.compile(r"[A-Za-z0-9]+(_[A-Za-z0-9]+)*")
_SAFE = re.compile(r"[A-Za-z_][\w./-]*")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off"})
_SHOWN_LEFT_OUT = frozenset({"description", "columns", "owners", "tags", "group", "metadata", "version", "credentials"})
_DURATIONS = frozenset({"poll", "timeout", "delay", "max_delay", "fail_after", "warn_after", "within", "lookback"})


def asset_key(name: str, group: str = DEFAULT_GROUP, stream: str | None = None) -> dg.AssetKey:
    """The key of a job's asset: its group's path, then its name, then its stream; no group where it is the default one."""
    path = [name] if group == DEFAULT_GROUP else [*group.split("/"), name]
    return dg.AssetKey(path if stream is None else [*path, stream])


def external_key(text: str) -> dg.AssetKey:
    """The key of another code location's asset, from `its/key`."""
    return dg.AssetKey(text.split("/"))


def op_name(key: dg.AssetKey) -> str:
    """A name for the asset's op: `nyc__flights`; with a hash where another key could make the same name."""
    name = "__".join(re.sub(r"[^A-Za-z0-9_]", "_", part) for part in key.path)
    if all(_CLEAN.fullmatch(part) for part in key.path) and name not in DISALLOWED_NAMES:
        return name
    return f"{name}_{hashlib.sha256(repr(key.path).encode()).hexdigest()[:8]}"


def kinds(job: JobConfig) -> set[str]:
    """At most three: where rows come from, where they land, and what moves them."""
    source, target = plugin_kinds(job.source.reader), plugin_kinds(job.target.writer)
    wanted = dict.fromkeys((source[0], target[0], *source[1:], *target[1:]))
    return set(list(wanted)[:_MAX_KINDS])


@dataclass(frozen=True)
class AssetData:
    """What the spec of a job's asset is made from.

    deps: every asset it reads or waits for. upstream: those that depends_on or its query name.
    """

    job: JobConfig
    key: dg.AssetKey
    contract: Contract | None = None
    deps: Sequence[dg.AssetKey] = ()
    upstream: Sequence[dg.AssetKey] = ()


def asset_spec(data: AssetData) -> dg.AssetSpec:
    """The spec of a job's asset."""
    job, contract = data.job, data.contract
    return dg.AssetSpec(
        key=data.key,
        deps=data.deps,
        description=description(job, contract),
        group_name=job.group,
        owners=list(job.owners),
        tags=tags(job),
        kinds=kinds(job),
        code_version=code_version(job),
        metadata=definition_metadata(job, contract),
        freshness_policy=freshness_policy(job.freshness),
        automation_condition=automation_condition(job, data.upstream) if job.enabled else None,
        partitions_def=partitions_definition(job.partitions, partitions_name(data)),
    )


def partitions_name(data: AssetData) -> str:
    """What Dagster calls dynamic partitions. Keys of assets are an instance's, and so are such names: the asset's key then, so
    that jobs of one name, in other groups or projects, have partitions of their own. Streams share those of their job.
    """
    job = data.job
    return (data.key if job.stream is None else asset_key(job.job_name, job.group)).to_user_string()


def tags(job: JobConfig) -> dict[str, str]:
    """The job's own tags, then the storage kind."""
    own = {key: value for key, value in job.tags.items() if not key.startswith(_RESERVED_TAG_PREFIX)}
    return {**own, "dagster/storage_kind": plugin_kinds(job.target.writer)[0]}


def code_version(job: JobConfig) -> str:
    """The job's version and its digest: an edited job shows as changed."""
    return f"{job.version}-{job.digest[:8]}"


def pool(job: JobConfig) -> str | None:
    """The pool that limits a job's runs: its source's connection by name, else its target's."""
    for connection in (job.source.connection, job.target.connection):
        if isinstance(connection, str):
            return re.sub(r"[^A-Za-z0-9_\-/]", "_", connection)
    return None


def definition_metadata(job: JobConfig, contract: Contract | None) -> dict[str, Any]:
    """What is known before a run: where the table is, its declared columns, the file that says so."""
    found: dict[str, Any] = {"dagster/table_name": table_name(job)}
    uri = target_uri(job)
    if uri is not None:
        found["dagster/uri"] = uri
    if contract is not None and contract.columns:
        found["dagster/column_schema"] = column_schema({}, contract, cursor_field(job))
    found.update({key: value for key, value in job.metadata.items() if not key.startswith(_RESERVED_TAG_PREFIX)})
    if job.path is not None:
        found["dagster/code_references"] = code_reference(job.path)
    return found


def code_reference(path: Path, line: int = 1) -> CodeReferencesMetadataValue:
    """The link "Open NAME in editor"."""
    return CodeReferencesMetadataValue(
        code_references=[LocalFileCodeReference(file_path=str(path), line_number=line, label=path.name)]
    )


def table_name(job: JobConfig) -> str:
    """`catalog.schema.table` where the target names a table, else `group.name`."""
    if job.target.table is not None:
        return ".".join(part for part in (job.target.catalog, job.target.table) if part)
    return job.name if job.group == DEFAULT_GROUP else f"{job.group.replace('/', '.')}.{job.name}"


def target_uri(job: JobConfig) -> str | None:
    """Where the table is: an URI as written, or an absolute path. References to secrets stay references."""
    path = job.target.path
    if path is None:
        return None
    if "://" in path or "${" in path:
        return mask_line(path)
    return str(job.root / path)


def cursor_field(job: JobConfig) -> str | None:
    """The column that tells what is new."""
    incremental = job.source.incremental
    return None if incremental is None else incremental.cursor_field


def column_schema(
    schema_text: Mapping[str, str], contract: Contract | None, cursor: str | None, said: Mapping[str, str] | None = None
) -> dg.TableSchema:
    """A table's columns with what the contract says of each. schema_text: {name: type}; empty: those the contract declares.

    said: {column: tag}, what the source says of its own.
    """
    declared = {column.name: column for column in contract.columns} if contract is not None else {}
    types = schema_text or {name: column.type for name, column in declared.items()}
    key = contract.primary_key if contract is not None else ()
    source = {name: {_tag(tag): ""} for name, tag in (said or {}).items()}
    return dg.TableSchema(
        [_column(name, type_, declared.get(name), key, cursor, source.get(name, {})) for name, type_ in types.items()]
    )


def _tag(text: str) -> str:
    return re.sub(r"[^\w.-]", "_", text)[:60]


def _column(
    name: str, type_: str, declared: Column | None, key: tuple[str, ...], cursor: str | None, said: Mapping[str, str]
) -> dg.TableColumn:
    tags = dict(said)
    if name in key:
        tags["pk"] = ""
    if name == cursor:
        tags["cursor"] = ""
    if declared is None:
        return dg.TableColumn(name, type_, tags=tags)
    if declared.classification:
        tags[_tag(declared.classification)] = ""
    must = declared.constraints
    other = [
        text
        for value, text in (
            (must.min, f">= {must.min}"),
            (must.exclusive_min, f"> {must.exclusive_min}"),
            (must.max, f"<= {must.max}"),
            (must.exclusive_max, f"< {must.exclusive_max}"),
            (must.pattern, f"~ {must.pattern}"),
            (must.min_length, f"length >= {must.min_length}"),
            (must.max_length, f"length <= {must.max_length}"),
        )
        if value is not None
    ]
    if must.accepted_values:
        shown = ", ".join(str(value) for value in must.accepted_values[:8])
        other.append(f"in ({shown}{', ...' if len(must.accepted_values) > 8 else ''})")
    return dg.TableColumn(
        name,
        type_,
        description=declared.description,
        constraints=dg.TableColumnConstraints(
            nullable=not (declared.required or name in key), unique=declared.unique or key == (name,), other=other
        ),
        tags=tags,
    )


def description(job: JobConfig, contract: Contract | None) -> str:
    """A plain first line, the rest of the job's own words, then the job as YAML without anything that may be a secret."""
    own = (job.description or (contract.description if contract else None) or "").strip()
    if not own:
        own = f"{_what(job)} into {job.target.path or job.target.table or job.target.writer} ({job.target.mode})"
        own = mask_line(own)
    return f"{own}\n\n```yaml\n{job_yaml(job)}\n```"


def _what(job: JobConfig) -> str:
    source = job.source
    named = plain(source.files or source.tables or source.objects)
    if named:
        return f"Loads {named[0]}{f' and {len(named) - 1} more' if len(named) > 1 else ''}"
    return f"Loads the query {source.query}" if source.query and len(source.query) < 80 else f"Loads by {source.reader}"


def job_yaml(job: JobConfig) -> str:
    """The job's main keys, one a line. A connection shows as its name alone; literal secrets are masked."""
    lines = [f"name: {job.name}"]
    for key in type(job).model_fields:
        value = getattr(job, key)
        if key in _SHOWN_LEFT_OUT or key == "name" or key not in job.model_fields_set:
            continue
        if hasattr(value, "model_dump"):
            value = _section(value)
        name = type(job).model_fields[key].alias or key
        line = f"{name}: {_flow(value, name)}"
        if len(line) > _MAX_LINE_CHARACTERS and isinstance(value, dict):
            lines.append(f"{name}:")
            lines += [f"  {key}: {_flow(inner, key)}" for key, inner in value.items() if inner not in (None, (), {})]
        else:
            lines.append(line)
    return "\n".join(lines)


def _section(value: Any) -> dict[str, Any]:
    dumped = value.model_dump(by_alias=True, exclude_unset=True)
    connection = dumped.get("connection")
    if connection is not None and not isinstance(connection, str):
        dumped["connection"] = MASK
    if "credentials" in dumped:
        dumped["credentials"] = MASK
    return dict(dumped)


def _flow(value: Any, key: str = "") -> str:
    if isinstance(value, dict):
        shown = (f"{name}: {_flow(inner, name)}" for name, inner in value.items() if inner not in (None, (), {}))
        return "{" + ", ".join(shown) + "}"
    if is_secret_name(key) and not (isinstance(value, str) and re.fullmatch(r"\$\{\w+\}", value)):
        return MASK
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_flow(inner) for inner in value) + "]"
    if isinstance(value, str):
        text = mask_line(value)
        return text if _SAFE.fullmatch(text) and text.lower() not in _WORDS else json.dumps(text, ensure_ascii=False)
    if key in _DURATIONS and isinstance(value, float):
        return _duration(value)
    return json.dumps(value, default=str)


def _duration(seconds: float) -> str:
    """`7d`, `90s`: in the largest unit that divides it."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"
