"""Lifts plugins of levels 1 and 2, and native classes, to the level-3 interface that the pipeline knows."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .arrow import batches_of
from .directory_writer import DirectoryWriter
from .errors import ConfigurationError, PluginError
from .models import AssetDefinition, Commit, Committable, SourceConfig, TargetConfig, WriteRequest, WriteTask
from .native import NativeReader, NativeWriter, is_native
from .posix import fsync
from .reader import BaseReader
from .version import check_api_version
from .writer import BaseWriter, SplitWriter


def lift_reader(plugin: Any, name: str) -> Callable[[SourceConfig], BaseReader]:
    """A factory of level-3 readers from what a reference named.

    Raises: PluginError: when it is no reader.
    """
    if isinstance(plugin, type) and issubclass(plugin, BaseReader):
        check_api_version(name, plugin.api_version)
        return plugin.at
    if is_native(plugin, "reader"):
        return lambda config: NativeReader(config, plugin)
    raise _no_plugin(plugin, name, "BaseReader")


def lift_writer(plugin: Any, name: str) -> Callable[[AssetDefinition, TargetConfig], BaseWriter]:
    """A factory of level-3 writers from what a reference named.

    Raises: PluginError: when it is no writer.
    """
    if isinstance(plugin, type) and issubclass(plugin, BaseWriter):
        check_api_version(name, plugin.api_version)
        if plugin.open is not BaseWriter.open:
            return plugin.at
        return lambda asset, target: StagedWriter(asset, target, plugin)
    if is_native(plugin, "file_format"):
        return lambda asset, target: NativeWriter(asset, target, plugin)
    raise _no_plugin(plugin, name, "BaseWriter")


def _no_plugin(plugin: Any, name: str, base: str) -> PluginError:
    what = plugin.__name__ if isinstance(plugin, type) else type(plugin).__name__
    return PluginError(
        f"plugin {name} is {what}, which must inherit from {base}",
        hint=f"class {what}({base}): ...",
    )


class StagedWriter(DirectoryWriter):
    """A level-1 or level-2 writer: the files it leaves under `output_base` land with the one-rename commit."""

    def __init__(
        self, asset_definition: AssetDefinition, target_config: TargetConfig, plugin: type[BaseWriter]
    ) -> None:
        self.Options = plugin.Options  # type: ignore[misc]
        super().__init__(asset_definition, target_config)
        self._plugin_class = plugin
        self._plugin: BaseWriter | None = None
        self.extension = ""  # type: ignore[misc]
        self.quarantines = False  # type: ignore[misc]
        self.writes_empty = False  # type: ignore[misc]
        self.resumes = False  # type: ignore[misc]

    def check_connection(self) -> Any:
        return self._plugin_class.staged(self.asset_definition, self.target_config, "").check_connection()

    def open(self, request: WriteRequest) -> None:
        super().open(request)
        self._plugin = self._plugin_class.staged(self.asset_definition, self.target_config, str(self.table.staging))

    def writer(self, task: WriteTask) -> SplitWriter:
        assert self._plugin is not None, "open() comes first"
        if task.kind != "data":
            raise ConfigurationError(
                f"writer {self.target_config.writer} can't quarantine rows", hint="use on_violation: fail or warn"
            )
        return _StagedSplitWriter(self._plugin, task)

    def commit(self, committables: Sequence[Committable], commit: Commit) -> Commit:
        assert self._plugin is not None, "open() comes first"
        told = [dict(item.payload) for item in committables if item.kind == "data" and item.payload]
        if "state" not in commit.details:  # a cursor that a person sets is none of the plugin's business
            self._plugin.commit_files(told)
        staging = self.table.staging
        files = sorted(
            str(Path(folder, name).relative_to(staging)) for folder, _, names in os.walk(staging) for name in names
        )
        for name in files:
            fsync(staging / name)
        written = sum((staging / name).stat().st_size for name in files)
        return self.table.commit(commit.model_copy(update={"files": tuple(files), "bytes_written": written}))


class _StagedSplitWriter(SplitWriter):
    def __init__(self, plugin: BaseWriter, task: WriteTask) -> None:
        self._plugin = plugin
        self._rows_in = 0
        self._counter = task.index * 1_000_000  # file_counter is unique over workers
        self._arrow = type(plugin).write is not BaseWriter.write
        self._files: list[dict[str, Any]] = []

    def write(self, batch: Any) -> None:
        if self._arrow:
            told = self._plugin.write(batch)
        else:
            (record_batch,) = batches_of(batch)
            told = self._plugin.write_batch(record_batch.to_pylist(), self._counter)
        self._counter += 1
        self._rows_in += batch.num_rows
        if told is not None:
            answer: Any = told
            if not isinstance(answer, list) or not all(isinstance(item, dict) for item in answer):
                raise PluginError(
                    f"writer {type(self._plugin).__name__} returned {type(told).__name__} for a batch",
                    hint="return a list of {path, size_bytes, record_count}",
                )
            self._files.extend(told)

    def finish(self) -> Sequence[Committable]:
        committables = [Committable(payload=item, bytes=int(item.get("size_bytes") or 0)) for item in self._files]
        return [Committable(rows=self._rows_in, payload={}), *committables]
