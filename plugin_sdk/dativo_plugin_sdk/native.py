"""Native classes as level-3 plugins: control crosses as JSON, data as Arrow C streams, errors as JSON text.

A native reader is made of a SourceConfig in JSON and, where files are named by URI, an object with `open(uri)`, which
returns one with `size` and `read(start, end, ahead)`. It has `describe()`, `check()`, `discover()`,
`plan(request_json, schema)`, `read(split_json)`, `cancel()`; a native file format has `describe()` and a sink class's
`write`, `take_group`, `finish`, `abort`. Both are made by the Rust SDK's export macro.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

from .deferred import options_dict
from .directory_writer import DirectoryWriter, FileSink
from .errors import DativoError, PluginError, to_text, wrap_exception
from .file_news import InputFile
from .files import FileReader
from .models import (
    AssetDefinition,
    ConnectionTestResult,
    DiscoveryResult,
    ReadPlan,
    ReadRequest,
    SourceConfig,
    Split,
    TargetConfig,
)
from .reader import BaseReader
from .remote import RangeReader, is_remote
from .version import API_VERSION, ApiVersions, api_versions, check_api_version


@contextmanager
def native_errors(plugin: str) -> Iterator[None]:
    """Raise what a native call raised as an error of the tree."""
    try:
        yield
    except Exception as error:
        raise wrap_exception(error, PluginError, f"plugin {plugin}") from error


def describe(plugin: Any) -> dict[str, Any]:
    """What a native class says of itself; {} where it says nothing."""
    try:
        value = json.loads(plugin.describe())
    except (AttributeError, TypeError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def is_native(plugin: Any, kind: str) -> bool:
    """Whether a class is a native plugin of that kind ("reader", "file_format")."""
    return isinstance(plugin, type) and describe(plugin).get("kind") == kind


def api_version_of(plugin: Any) -> ApiVersions:
    """The versions of the plugin API that a plugin was made for, which were found to be some."""
    declared = getattr(plugin, "api_version", None) or describe(plugin).get("api_version") or API_VERSION
    return api_versions(declared)


def request_json(request: ReadRequest) -> str:
    """A ReadRequest as JSON; its schema crosses beside it, as Arrow."""
    return json.dumps(
        {
            "columns": request.columns,
            "widen": dict(request.widen),
            "cursor": request.cursor,
            "parallelism": request.parallelism,
            "memory_bytes": request.memory_bytes,
            "batch_bytes": request.batch_bytes,
            "limit": request.limit,
            "guess": request.guess,
        }
    )


def plan_of(text: str, schema: Any) -> ReadPlan:
    """A ReadPlan from what a native `plan` returned."""
    value = json.loads(text)
    return ReadPlan(
        splits=tuple(Split.from_dict(split) for split in value["splits"]),
        schema=schema,
        cursor=value.get("cursor"),
        applied=frozenset(value.get("applied") or ()),
        notes=tuple(value.get("notes") or ()),
        schema_text=value.get("schema_text"),
        guessed=bool(value.get("guessed", False)),
    )


def left_out(stream: Any) -> int:
    """How many rows a native stream, read to its end, counted as bad and left out."""
    metrics = getattr(stream, "metrics", None)
    return int(json.loads(metrics).get("bad_rows", 0)) if isinstance(metrics, str) else 0


class NativeReader(BaseReader):
    """A native reader class as a level-3 reader."""

    def __init__(self, source_config: SourceConfig, native: Any) -> None:
        super().__init__(source_config.model_copy(update={"options": {}}))
        self.source_config = source_config
        about = describe(native)
        self._name = str(about.get("name", native.__name__))
        self.__version__ = str(about.get("version", "1.0.0"))  # type: ignore[misc]
        check_api_version(self._name, about.get("api_version"))
        with native_errors(self._name):
            self._native = native(source_config.model_dump_json())

    def check_connection(self) -> ConnectionTestResult:
        with native_errors(self._name):
            return ConnectionTestResult(**json.loads(self._native.check()))

    def discover(self) -> DiscoveryResult:
        with native_errors(self._name):
            return DiscoveryResult(**json.loads(self._native.discover()))

    def plan(self, request: ReadRequest) -> ReadPlan:
        with native_errors(self._name):
            return plan_of(*self._native.plan(request_json(request), request.schema))

    def read(self, split: Split) -> Any:
        with native_errors(self._name):
            return self._native.read(json.dumps(split.to_dict()))

    def cancel(self) -> None:
        super().cancel()
        self._native.cancel()


@contextmanager
def _errors_as_text() -> Iterator[None]:
    """The way of an error into native code."""
    try:
        yield
    except DativoError as error:
        raise RuntimeError(to_text(error)) from error


class _Ranges:
    """A remote file as native code reads it."""

    def __init__(self, ranges: RangeReader) -> None:
        self._ranges = ranges
        self.size = ranges.size

    def read(self, start: int, end: int, ahead: int) -> bytes:
        with _errors_as_text():
            return self._ranges.read(start, end, ahead)


class _Files:
    """Remote files for native code."""

    def __init__(self, reader: FileReader) -> None:
        self._reader = reader

    def open(self, path: str) -> _Ranges:
        with _errors_as_text():
            return _Ranges(self._reader.open_ranges(path))


class NativeFileReader(FileReader):
    """Files chosen by FileReader, read by a native class. A subclass gives `native` and an Options model."""

    native: ClassVar[Any]

    def plan_files(self, files: tuple[InputFile, ...], request: ReadRequest) -> ReadPlan:
        config = self.source_config.model_copy(
            update={
                "files": tuple(file.path for file in files),
                "options": options_dict(self.options),
                "connection": {},
                "credentials": {},
            }
        )
        with native_errors(self.source_config.reader):
            elsewhere = (_Files(self),) if any(is_remote(file.path) for file in files) else ()
            self._reader = type(self).native(config.model_dump_json(), *elsewhere)
            plan = plan_of(*self._reader.plan(request_json(request), request.schema))
        states = repr(
            [(file.key, file.version) for file in files]
        )  # which of them a split is of, only the plugin knows
        version = hashlib.blake2b(states.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        return replace(plan, splits=tuple(replace(split, version=version) for split in plan.splits))

    def read(self, split: Split) -> Any:
        with native_errors(self.source_config.reader):
            return self._reader.read(json.dumps(split.to_dict()))

    def cancel(self) -> None:
        super().cancel()
        reader = getattr(self, "_reader", None)
        if reader is not None:
            reader.cancel()


def write_context(writer: DirectoryWriter) -> str:
    """What a native sink of this writer may use, as JSON."""
    return json.dumps({"parallelism": 1, "memory_bytes": writer.file_memory_bytes})


class NativeSink:
    """A native sink as a FileSink."""

    def __init__(self, plugin: str, make: Callable[[], Any]) -> None:
        self._plugin = plugin
        with native_errors(plugin):
            self._sink = make()

    def write(self, batch: Any) -> None:
        with native_errors(self._plugin):
            self._sink.write(batch)

    def take_group(self, source: str, group: int, places: Sequence[int], rows: Any) -> bool:
        """Add a row group of another file, its rows at `places` replaced; False where that can't be done."""
        with native_errors(self._plugin):
            return bool(self._sink.take_group(source, group, places, rows))

    @property
    def bytes_written(self) -> int:
        """The file's size so far, with what is encoded and not in it yet."""
        return int(self._sink.bytes_written)

    def finish(self) -> dict[str, Any]:
        with native_errors(self._plugin):
            value: dict[str, Any] = json.loads(self._sink.finish())
            return value

    def abort(self) -> None:
        self._sink.abort()

    def cancel(self) -> None:
        self._sink.cancel()


class NativeWriter(DirectoryWriter):
    """A native file format as a level-3 writer of a local directory."""

    def __init__(self, asset_definition: AssetDefinition, target_config: TargetConfig, native: Any) -> None:
        super().__init__(asset_definition, target_config.model_copy(update={"options": {}}))
        self.target_config = target_config
        about = describe(native)
        check_api_version(str(about.get("name", native.__name__)), about.get("api_version"))
        self.extension = str(about.get("extension", "bin"))  # type: ignore[misc]
        self._native = native

    def open_file(self, path: str, schema: Any) -> FileSink:
        options = json.dumps(dict(self.target_config.options))
        context = write_context(self)
        return NativeSink(self.target_config.writer, lambda: self._native(path, schema, options, context))
