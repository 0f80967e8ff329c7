"""A library's file format, and a library's own writer, as level-3 writers."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Sequence
from ctypes import byref
from typing import Any, ClassVar

from dativo_plugin_sdk.arrow import as_schema, pyarrow
from dativo_plugin_sdk.deferred import options_dict
from dativo_plugin_sdk.directory_writer import DirectoryWriter
from dativo_plugin_sdk.errors import PluginError
from dativo_plugin_sdk.models import (
    AssetDefinition,
    Commit,
    Committable,
    ConnectionTestResult,
    Snapshot,
    TargetConfig,
    WriteRequest,
    WriteTask,
)
from dativo_plugin_sdk.native import write_context
from dativo_plugin_sdk.options import DirectoryOptions
from dativo_plugin_sdk.writer import BaseWriter, SplitWriter

from .abi import ArrowArray
from .load import Library, Owned, is_count
from .reader import checked
from .stream import exported

_HOSTS_OWN = frozenset(DirectoryOptions.model_fields)


class _Rows:
    """Where batches of one schema go: a sink or a split writer of the library."""

    def __init__(self, library: Library, made: Owned, schema: Any) -> None:
        self._library, self._schema = library, as_schema(schema)
        self._made: Owned | None = made

    @property
    def _pointer(self) -> int:
        if self._made is None:
            raise PluginError(f"plugin {self._library.name}: this was finished or given up already")
        return self._made.pointer

    def write(self, batch: Any) -> None:
        pa = pyarrow()
        rows = batch if isinstance(batch, pa.RecordBatch) else pa.record_batch(batch)
        if not rows.schema.equals(self._schema):
            raise PluginError(f"a batch has other columns than {self._library.name} was made for: {rows.schema}")
        array = ArrowArray()
        rows._export_to_c(ctypes.addressof(array))
        try:
            self._library.call("write", self._pointer, byref(array))
        finally:
            if array.release:
                array.release(byref(array))

    def abort(self) -> None:
        self._made = None


class _Sink(_Rows):
    """A library's sink as a FileSink. path: of its file."""

    def __init__(self, library: Library, made: Owned, schema: Any, path: str) -> None:
        super().__init__(library, made, schema)
        self._path = path

    @property
    def bytes_written(self) -> int | None:
        """The file's size so far; None where the library doesn't tell."""
        if not self._library.has("bytes_written"):
            return None
        return int(self._library.functions["bytes_written"](self._pointer))

    def finish(self) -> dict[str, Any]:
        info: dict[str, Any] = self._library.answer("finish", dict, self._pointer)
        self._made = None
        if not is_count(info.get("rows")):
            raise self._library.broken(f"finish told rows {info.get('rows')!r}, not how many there are")
        if not os.path.isfile(self._path):
            raise self._library.broken("finish succeeded and left no file")
        return info

    def cancel(self) -> None:
        if self._library.has("cancel") and self._made is not None:
            self._library.functions["cancel"](self._made.pointer)


class LibraryFormat(DirectoryWriter):
    """Files of a library's format in a local directory. A subclass gives `library`, `Options` and `extension`."""

    library: ClassVar[Library]

    @classmethod
    def describe(cls) -> str:
        return json.dumps(cls.library.about)

    def open_file(self, path: str, schema: Any) -> _Sink:
        options = {name: value for name, value in options_dict(self.options).items() if name not in _HOSTS_OWN}
        told = json.dumps(options).encode(), write_context(self).encode()
        with exported(schema) as lent:
            sink = self.library.make("create", "close", path.encode(), lent, *told)
        return _Sink(self.library, sink, schema, path)


class _Split(_Rows, SplitWriter):
    """A library's split writer."""

    def finish(self) -> Sequence[Committable]:
        found = self._library.answer("finish", list, self._pointer)
        self._made = None
        try:
            items = [Committable(**one) for one in found]
        except TypeError as error:
            raise self._library.broken(f"finish answered what is no committable: {error}") from None
        for one in items:
            counted = is_count(one.rows) and is_count(one.bytes)
            if one.kind not in ("data", "quarantine") or not counted or not isinstance(one.payload, dict):
                raise self._library.broken(f"finish answered what is no committable: {one}")
        return items


class LibraryWriter(BaseWriter):
    """A library's writer that does its own commit. A subclass gives `library`, `Options` and what `about` says."""

    library: ClassVar[Library]

    def __init__(self, asset_definition: AssetDefinition, target_config: TargetConfig, output_base: str = "") -> None:
        super().__init__(asset_definition, target_config, output_base)
        self.library.secrets.keep(target_config.credentials, target_config.connection)
        target = target_config.model_copy(update={"options": options_dict(self.options), "checked_options": None})
        config = json.dumps({"asset": asset_definition.model_dump(), "target": target.model_dump()})
        self._writer = self.library.make("create", "close", config.encode())

    @classmethod
    def describe(cls) -> str:
        return json.dumps(cls.library.about)

    def check_connection(self) -> ConnectionTestResult:
        return checked(self.library, self._writer.pointer) or super().check_connection()

    def _commit(self, value: Any) -> Commit:
        try:
            return Commit.model_validate(value)
        except (TypeError, ValueError) as error:
            raise self.library.broken(f"it keeps a commit that is none: {error}") from None

    def last_commit(self) -> Commit | None:
        found = self.library.answer("last_commit", (dict, type(None)), self._writer.pointer)
        return None if found is None else self._commit(found)

    def history(self) -> Sequence[Commit]:
        if not self.library.has("history"):
            return super().history()
        return tuple(self._commit(one) for one in self.library.answer("history", list, self._writer.pointer))

    def open(self, request: WriteRequest) -> None:
        names = ("job", "run_id", "base_seq", "mode", "stream", "keys", "partition_by", "parallelism", "memory_bytes")
        told = {name: getattr(request, name) for name in (*names, "cursor_field", "full_refresh")}
        with exported(request.schema) as schema:
            self.library.call("open", self._writer.pointer, json.dumps(told).encode(), schema)

    def writer(self, task: WriteTask) -> SplitWriter:
        told = json.dumps({"index": task.index, "kind": task.kind}).encode()
        with exported(task.schema) as schema:
            make = self.library.make
            split = make("split", "split_close", self._writer.pointer, told, schema, holds=self._writer)
        return _Split(self.library, split, task.schema)

    def commit(self, committables: Sequence[Committable], commit: Commit) -> Commit:
        staged = json.dumps([vars(one) for one in committables]).encode()
        told = json.dumps(commit.model_dump()).encode()
        return self._commit(self.library.answer("commit", dict, self._writer.pointer, staged, told))

    def abort(self) -> None:
        self.library.functions["abort"](self._writer.pointer)

    def snapshot(self) -> Snapshot | None:
        if not self.library.has("snapshot"):
            return None
        found = self.library.answer("snapshot", (dict, type(None)), self._writer.pointer)
        if found is None:
            return None
        files = found.get("files") or []
        counted = is_count(found.get("seq")) and all(is_count(found.get(name) or 0) for name in ("rows", "bytes"))
        texts = [found.get("uri"), found.get("format"), *files] if isinstance(files, list) else [None]
        if not counted or not all(isinstance(text, str) for text in texts):
            raise self.library.broken("snapshot answered what is none: seq, uri, format or files")
        try:
            return Snapshot(**{**found, "files": tuple(files)})
        except TypeError as error:
            raise self.library.broken(f"snapshot answered what is none: {error}") from None

    def cancel(self) -> None:
        if self.library.has("cancel"):
            self.library.functions["cancel"](self._writer.pointer)
