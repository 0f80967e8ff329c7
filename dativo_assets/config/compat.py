"""Job files of the earlier `dativo_ingest`, as the keys of today: the one place that knows the older spellings.

Nothing is guessed from a value's content; where two spellings are given, today's wins. What has no meaning any more is left
out, with a note. Positions lead to the line that the user wrote.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dativo_assets.errors import ConfigurationError

from .origin import Layer, Steps
from .yaml import Document, load_file

_TOP = frozenset(
    (
        "tenant_id",
        "environment",
        "source_connector",
        "source_connector_path",
        "target_connector",
        "target_connector_path",
        "asset",
        "asset_path",
        "schema_validation_mode",
        "retry_config",
        "logging",
        "plugins",
    )
)
_SOURCE = frozenset(("custom_reader", "type", "engine", "sheets", "rate_limits", "dsn"))
_TARGET = frozenset(
    ("custom_writer", "type", "engine", "branch", "warehouse", "file_format", "partitioning", "parquet_target_size_mb")
)
_ENTRY = frozenset(("file", "id"))
_STRATEGIES = {
    "incremental": ("append", None),
    "created": ("append", "created"),
    "updated_at": ("updated_at", "updated_at"),
    "updated_after": ("updated_at", "updated_at"),
    "spreadsheet_modified_time": ("file_modified_time", None),
}
_RETRY = {
    "initial_delay_seconds": "delay",
    "retry_delay_seconds": "delay",
    "delay_seconds": "delay",
    "max_delay_seconds": "max_delay",
}
_OBJECT_STORES = ("s3", "minio")
# The pipeline sizes batches and files itself; a built-in plugin has no such option any more.
_SIZES = ("batch_size", "chunk_size", "parquet_target_size_mb")
_CONTAINER = "/app/"


@dataclass
class Translated:
    """A job in the keys of today. layers: the files its keys come from, the one that wins first. notes: for a person."""

    value: dict[str, Any]
    layers: tuple[Layer, ...]
    notes: tuple[str, ...] = ()


def translated(document: Document, root: Path) -> Translated:
    """The job of a file in the keys of today; a job that uses them already is not touched.

    Raises: ConfigurationError: when a connector file that the job names can't be read.
    """
    value: dict[str, Any] = document.value
    if not _is_older(value):
        return Translated(value, (Layer(document),))
    return _Translation(document, root).run()


def _is_older(value: dict[str, Any]) -> bool:
    if not _TOP.isdisjoint(value):
        return True
    source, target = value.get("source"), value.get("target")
    if isinstance(target, dict) and not _TARGET.isdisjoint(target):
        return True
    if not isinstance(source, dict):
        return False
    if not _SOURCE.isdisjoint(source):
        return True
    if any(isinstance(item, dict) and not _ENTRY.isdisjoint(item) for item in _items(source.get("files"))):
        return True
    incremental = source.get("incremental")
    return isinstance(incremental, dict) and (
        "lookback_days" in incremental
        or "state_path" in incremental
        or str(incremental.get("strategy")) in _STRATEGIES.keys() - {"updated_at"}
    )


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _richer(source: dict[str, Any]) -> dict[str, Any]:
    """The files, tables and incremental of a source that say more than their counterparts of today."""
    found: dict[str, Any] = {}
    for key, name in (("files", "path"), ("tables", "name")):
        items = [dict(item) for item in _items(source.get(key)) if isinstance(item, dict)]
        if any(item.keys() - {name} for item in items):
            found[key] = items
    incremental = _mapping(source.get("incremental"))
    told = "state_path" in incremental or str(incremental.get("strategy")) in _STRATEGIES.keys() - {"updated_at"}
    return {**found, "incremental": incremental} if told else found


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}


@dataclass
class _Translation:
    """One job's. `moved` maps a path of today to the path that the user wrote."""

    document: Document
    root: Path
    moved: dict[Steps, Steps] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    connectors: list[Layer] = field(default_factory=list)

    def run(self) -> Translated:
        job = dict(self.document.value)
        metadata = _mapping(job.get("metadata"))
        for key in ("tenant_id", "environment", "asset"):
            if key in job:
                metadata.setdefault(key, job.pop(key))
                self.moved[("metadata", key)] = (key,)
        if metadata:
            job["metadata"] = metadata
        self._rename(job, (), "asset_path", "contract")
        if "contract" in job:
            job["contract"] = self._local(job["contract"])
        mode = job.pop("schema_validation_mode", None)
        if mode is not None and "on_violation" not in job:
            job["on_violation"] = "fail" if mode == "strict" else mode
            self.moved[("on_violation",)] = ("schema_validation_mode",)
        self._retry(job)
        for key in ("logging", "plugins"):
            if job.pop(key, None) is not None:
                self.notes.append(f"`{key}` is left out: it is no part of a job any more")
        for side in ("source", "target"):
            connector = self._connector(job, side)
            if isinstance(job.get(side), dict) or connector:
                section = _mapping(job.get(side))
                job[side] = self._source(section, connector) if side == "source" else self._target(section, connector)
        self._lookback(job)
        layers = (Layer(self.document, (), self.moved), *self.connectors)
        return Translated(job, layers, tuple(self.notes))

    def _lookback(self, job: dict[str, Any]) -> None:
        """Rows read again are compared with the table's, which only a built-in writer's can be."""
        incremental = _mapping(_mapping(job.get("source")).get("incremental"))
        if ":" in str(_mapping(job.get("target")).get("writer")) and incremental.pop("lookback", None):
            job["source"]["incremental"] = incremental
            self.notes.append("`lookback_days` is left to the reader: the rows in this target can't be compared")

    def _wrote(self, today: Steps, written: Steps) -> None:
        self.moved[today] = written

    def _rename(self, holder: dict[str, Any], path: Steps, old: str, new: str) -> None:
        if old in holder:
            value = holder.pop(old)
            if new not in holder:
                holder[new] = value
                self._wrote((*path, new), (*path, old))

    def _local(self, value: Any) -> Any:
        """A path from inside a container as the project's own, where it is absent there and present here."""
        if not isinstance(value, str) or not value.startswith(_CONTAINER):
            return value
        path, colon, symbol = value.rpartition(":") if ":" in value else (value, "", "")
        local = path.removeprefix(_CONTAINER)
        if Path(path).exists() or not (self.root / local).exists():
            return value
        self.notes.append(f"{path} is not there; {local} of the project is used")
        return f"{local}{colon}{symbol}"

    def _retry(self, job: dict[str, Any]) -> None:
        old = job.pop("retry_config", None)
        if not isinstance(old, dict) or "retry" in job:
            return
        retry: dict[str, Any] = {}
        for key, value in old.items():
            new = str(_RETRY.get(key, key))
            taken = value
            if key == "max_retries" and isinstance(value, int):
                new, taken = "max_attempts", value + 1
            elif key == "backoff_multiplier":
                new, taken = "backoff", "exponential" if value != 1 else "none"
            elif key.startswith("retryable_"):
                self.notes.append(f"`retry_config.{key}` is left out: each error says itself whether a retry may help")
                continue
            retry[new] = taken
            self.moved[("retry", new)] = ("retry_config", key)
        job["retry"] = retry
        self.moved[("retry",)] = ("retry_config",)

    def _connector(self, job: dict[str, Any], side: str) -> dict[str, Any]:
        """The keys that a connector file gives to a source or target."""
        job.pop(f"{side}_connector", None)
        key = f"{side}_connector_path"
        name = self._local(job.pop(key, None))
        if not isinstance(name, str):
            return {}
        try:
            document = load_file(self.root / name, shown=name)
        except ConfigurationError as error:
            place = self.document.location(key, key=False)
            if "line" not in error.details and place is not None:
                error.details.update(place.details())
            raise
        found = _mapping(document.value)
        moved: dict[Steps, Steps] = {(side,): ()}
        plugin = "reader" if side == "source" else "writer"
        result: dict[str, Any] = {}
        for old, new in (
            ("type", plugin),
            ("credentials", "credentials"),
            ("connection_template", "connection"),
            ("incremental", "incremental"),
            ("rate_limits", "rate_limits"),
        ):
            if found.get(old) is not None and not (side == "target" and new in ("incremental", "rate_limits")):
                result[new] = found[old]
                moved[(side, new)] = (old,)
        engine = {"engine": found.get("default_engine")}
        of_the_job, self.moved = self.moved, {}
        self._engine(engine, (side,))
        moved.update({new: ("default_engine", *old[2:]) for new, old in self.moved.items()})
        self.moved = of_the_job
        if "options" in engine:
            result["options"] = engine["options"]
        self.connectors.append(Layer(document.compact(), (), moved, only_moved=True))
        return result

    def _engine(self, section: dict[str, Any], path: Steps) -> None:
        """`engine: {options: ...}`, also with a level `native`, becomes `options`."""
        inner, place = section.pop("engine", None), (*path, "engine")
        options: dict[str, Any] = {}
        for key in ("native", "options", "native"):
            if isinstance(inner, dict) and isinstance(inner.get(key), dict):
                inner, place = inner[key], (*place, key)
                options = inner
        if options:
            section["options"] = {**options, **_mapping(section.get("options"))}
            for key in options:
                self._wrote((*path, "options", key), (*place, key))

    def _sizes(self, section: dict[str, Any], plugin: Any) -> None:
        options = section.get("options")
        if ":" in str(plugin) or not isinstance(options, dict):
            return
        section["options"] = {key: value for key, value in options.items() if key not in _SIZES}
        self.notes += [f"`{key}` is left out: sizes follow the data" for key in _SIZES if key in options]

    def _merge(self, section: dict[str, Any], connector: dict[str, Any]) -> dict[str, Any]:
        result = dict(connector)
        for key, value in section.items():
            below = result.get(key)
            result[key] = {**below, **value} if isinstance(below, dict) and isinstance(value, dict) else value
        return result

    def _as_written(self, section: dict[str, Any], path: Steps, plugin: Any, kept: dict[str, Any]) -> None:
        """What today's keys say less of, for a plugin that was written for the older ones."""
        kept = {key: value for key, value in kept.items() if value is not None}
        if ":" in str(plugin) and kept:
            section["options"] = {**kept, **_mapping(section.get("options"))}
            self.moved.update({(*path, "options", key): (*path, key) for key in kept})

    def _into_options(self, section: dict[str, Any], path: Steps, key: str) -> None:
        if section.get(key) is not None:
            section["options"] = {key: section[key], **_mapping(section.get("options"))}
            self._wrote((*path, "options", key), (*path, key))
        section.pop(key, None)

    def _source(self, own: dict[str, Any], connector: dict[str, Any]) -> dict[str, Any]:
        path = ("source",)
        kind = own.get("type") if "custom_reader" in own else None
        self._rename(own, path, "custom_reader", "reader")
        self._rename(own, path, "type", "reader")
        self._engine(own, path)
        source = self._merge(own, connector)
        if "reader" in source:
            source["reader"] = self._local(source["reader"])
        self._into_options(source, path, "rate_limits")
        self._sizes(source, source.get("reader"))
        if "dsn" in source:
            source["connection"] = {"dsn": source.pop("dsn"), **_mapping(source.get("connection"))}
            self.moved[("source", "connection", "dsn")] = ("source", "dsn")
        source.pop("description", None)
        self._as_written(source, path, source.get("reader"), {"type": kind, **_richer(source)})
        self._streams(source)
        self._incremental(source)
        return source

    def _streams(self, source: dict[str, Any]) -> None:
        """Files, tables and sheets written as mappings, in the keys of today's streams."""
        for index, item in enumerate(items := list(_items(source.get("files")))):
            if isinstance(item, dict):
                place: Steps = ("source", "files", index)
                self._wrote(place, (*place, "path" if "path" in item else "file"))
                for key in item:
                    self._wrote((*place, key), (*place, key))
                items[index] = item = {key: value for key, value in item.items() if key != "id"}
                self._rename(item, place, "file", "path")
                item["path"] = self._local(item.get("path"))
            else:
                items[index] = self._local(item)
        if items:
            source["files"] = items
        elif "files" in source:
            source["files"] = self._local(source["files"])
        self._sheets(source)
        if not isinstance(source.get("incremental"), dict):
            for item in _items(source.get("tables")):
                if isinstance(item, dict):
                    item.pop("cursor_field", None)

    def _sheets(self, source: dict[str, Any]) -> None:
        """Sheets that say which object they are become its streams; the reader finds them among its options."""
        sheets = source.get("sheets")
        named = [item for item in _items(sheets) if isinstance(item, dict) and isinstance(item.get("object"), str)]
        if named and named == sheets and not source.get("objects"):
            source["objects"] = [{"name": item["object"], "options": {"sheets": [item]}} for item in named]
            self._wrote(("source", "objects"), ("source", "sheets"))
            del source["sheets"]
        self._into_options(source, ("source",), "sheets")

    def _incremental(self, source: dict[str, Any]) -> None:
        if not isinstance(source.get("incremental"), dict):
            return
        path = ("source", "incremental")
        streams = [item for key in ("tables", "files") for item in _items(source.get(key)) if isinstance(item, dict)]
        cursor_field = next((item["cursor_field"] for item in streams if item.get("cursor_field")), None)
        incremental = dict(source["incremental"])
        incremental.pop("state_path", None)
        for key in ("strategy", "cursor_field", "lookback_days"):
            self._rename(incremental, path, f"{key}_default", key)
        if "lookback_days" in incremental:
            days = incremental.pop("lookback_days")
            incremental.setdefault("lookback", f"{days}d" if isinstance(days, (int, float)) else days)
            self._wrote((*path, "lookback"), (*path, "lookback_days"))
        strategy = incremental.get("strategy")
        if strategy == "incremental" and not (incremental.get("cursor_field") or cursor_field) and source.get("files"):
            incremental["strategy"] = "file_modified_time"
        elif isinstance(strategy, str) and strategy in _STRATEGIES:
            incremental["strategy"], usual = _STRATEGIES[strategy]
            if cursor_field is None and usual is not None:
                incremental.setdefault("cursor_field", usual)
        source["incremental"] = incremental

    def _target(self, own: dict[str, Any], connector: dict[str, Any]) -> dict[str, Any]:
        path = ("target",)
        given = own.get("type") if "custom_writer" in own else None
        self._rename(own, path, "custom_writer", "writer")
        kind = own.pop("type", None) or (connector.get("writer") if "writer" not in own else None)
        if "writer" not in own and kind is not None:
            own["writer"] = kind
            self.moved[("target", "writer")] = ("target", "type")
        self._rename(own, path, "partitioning", "partition_by")
        self._engine(own, path)
        target = self._merge(own, connector)
        writer = self._local(target.get("writer"))
        if writer is not None:
            target["writer"] = writer
        for key in ("branch", "warehouse", "parquet_target_size_mb"):
            self._into_options(target, path, key)
        self._sizes(target, writer)
        self._as_written(target, path, writer, {"type": given})
        file_format = target.pop("file_format", None)
        if writer in _OBJECT_STORES:
            target["writer"] = file_format or "parquet"
            self._store(target, str(writer))
        elif file_format is not None and ":" in str(writer):
            target["options"] = {"file_format": file_format, **_mapping(target.get("options"))}
        if writer is not None and "path" not in target and "table" not in target:
            target["path"] = "warehouse/{name}"
        return target

    def _store(self, target: dict[str, Any], kind: str) -> None:
        """A bucket and a prefix, flat or below the store's own key, become a URI."""
        connection = _mapping(target.get("connection"))
        inner = next((connection.pop(name) for name in (kind, *_OBJECT_STORES) if name in connection), None)
        connection.update(_mapping(inner))
        bucket, prefix = connection.pop("bucket", None), connection.pop("prefix", None)
        if bucket and "path" not in target:
            # A prefix held the tables of many jobs; each gets a folder of its own below it.
            target["path"] = "/".join(("s3:/", str(bucket).strip("/"), *_parts(prefix), "{name}"))
        target["connection"] = connection


def _parts(prefix: Any) -> tuple[str, ...]:
    return tuple(part for part in str(prefix or "").split("/") if part)
