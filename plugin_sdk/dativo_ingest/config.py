"""What older plugins are constructed with, made of the SDK's configurations.

A job's words that have no key of today any more stand in `options` under their older names; what is left of the options are
those of `engine`. Paths come absolute: those plugins were written for one working folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dativo_plugin_sdk import models
from dativo_plugin_sdk.models import Model
from dativo_plugin_sdk.remote import is_remote

_PATHS = ("path", "file", "state_path")


@dataclass(frozen=True)
class SourceConfig(Model):
    """A job's source. Absent values are None."""

    type: str
    description: str | None = None
    credentials: dict[str, Any] | None = field(default=None, repr=False)
    objects: list[str] | None = None
    files: list[dict[str, Any]] | None = None
    sheets: list[dict[str, Any]] | None = None
    tables: list[dict[str, Any]] | None = None
    incremental: dict[str, Any] | None = None
    rate_limits: dict[str, Any] | None = None
    engine: dict[str, Any] | None = None
    dsn: str | None = field(default=None, repr=False)
    connection: dict[str, Any] | None = field(default=None, repr=False)
    custom_reader: str | None = None

    @property
    def reader(self) -> str:
        """The reader's reference, as the pipeline's errors name it."""
        return self.custom_reader or self.type

    @classmethod
    def of(cls, source: models.SourceConfig) -> SourceConfig:
        """The configuration of a reader as older ones know it."""
        given = dict(source.options)
        custom = source.reader if ":" in source.reader else None
        root = Path(source.root)
        files = _named(given.pop("files", ()), ("path", "file"), source.files)
        tables = _named(given.pop("tables", ()), ("name",), source.tables)
        incremental = given.pop("incremental", None) or _incremental(source.incremental)
        return cls(
            type=given.pop("type", "custom" if custom else source.reader),
            credentials=dict(source.credentials) or None,
            objects=list(source.objects) or None,
            files=[_located(item, root) for item in files] or None,
            sheets=given.pop("sheets", None),
            tables=tables or None,
            incremental=incremental and _located(incremental, root),
            rate_limits=given.pop("rate_limits", None),
            engine=_engine(given),
            dsn=source.connection.get("dsn"),
            connection=dict(source.connection) or None,
            custom_reader=custom,
        )


@dataclass(frozen=True)
class TargetConfig(Model):
    """A job's target. Absent values are None."""

    type: str
    catalog: str | None = None
    branch: str | None = None
    warehouse: str | None = None
    file_format: str | None = None
    partitioning: list[str] | None = None
    engine: dict[str, Any] | None = None
    connection: dict[str, Any] | None = field(default=None, repr=False)
    parquet_target_size_mb: int | None = None
    custom_writer: str | None = None

    @classmethod
    def of(cls, target: models.TargetConfig) -> TargetConfig:
        """The configuration of a writer as older ones know it."""
        given = dict(target.options)
        custom = target.writer if ":" in target.writer else None
        return cls(
            type=given.pop("type", "custom" if custom else target.writer),
            catalog=target.catalog,
            branch=given.pop("branch", None),
            warehouse=given.pop("warehouse", None),
            file_format=given.pop("file_format", None),
            partitioning=list(target.partition_by) or None,
            parquet_target_size_mb=given.pop("parquet_target_size_mb", None),
            engine=_engine(given),
            connection={**target.credentials, **target.connection} or None,
            custom_writer=custom,
        )


@dataclass(frozen=True)
class AssetDefinition(Model):
    """The asset that a writer writes. schema: a mapping a column: name, type, required, classification."""

    name: str
    version: str = "1.0"
    source_type: str | None = None
    object: str | None = None
    schema: list[dict[str, Any]] = field(default_factory=list)
    team: dict[str, Any] | None = None
    governance: dict[str, Any] | None = None
    compliance: dict[str, Any] | None = None
    finops: dict[str, Any] | None = None
    target: dict[str, Any] | None = None
    description: str | None = None

    @classmethod
    def of(cls, asset: models.AssetDefinition) -> AssetDefinition:
        """The definition of an asset as older writers know it."""
        return cls(asset.name, asset.version, schema=[dict(column) for column in asset.columns])


def _named(written: Sequence[Mapping[str, Any]], keys: tuple[str, ...], names: Sequence[str]) -> list[dict[str, Any]]:
    """What a job wrote of the files or tables of these names; of a job with several streams, those of one."""
    found = {str(item[key]).removeprefix("/app/"): item for item in written for key in keys if key in item}
    return [{**found.get(name.removeprefix("/app/"), {}), keys[0]: name} for name in names]


def _incremental(today: models.Incremental | None) -> dict[str, Any] | None:
    if today is None:
        return None
    found: dict[str, Any] = {"strategy": today.strategy}
    if today.cursor_field is not None:
        found["cursor_field"] = today.cursor_field
    if today.lookback_s:
        days = today.lookback_s / 86_400
        found["lookback_days"] = int(days) if days == int(days) else days
    return found


def _engine(options: dict[str, Any]) -> dict[str, Any] | None:
    """The options where older plugins look for them: of the engine, or one level below."""
    return {"options": {**options, "native": options}} if options else None


def _located(item: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """The mapping with its paths absolute; what is no file of the project, such as an identifier, stays as it is."""
    found = dict(item)
    for key in _PATHS:
        value = found.get(key)
        if isinstance(value, str) and not is_remote(value) and not os.path.isabs(value):
            there = root / value
            if key == "state_path" or there.exists():
                found[key] = str(there)
    return found
