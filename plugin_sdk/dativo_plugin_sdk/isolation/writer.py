"""The calls that a host makes of a writer."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from dativo_plugin_sdk.errors import PluginError
from dativo_plugin_sdk.models import AssetDefinition, Checkpoint, Commit, MaintainRequest, Snapshot, TargetConfig
from dativo_plugin_sdk.writer import BaseWriter, SplitWriter

from .control import committables, write_request, write_task
from .loaded import Loaded
from .wire import BATCH, Channel

# What the host's writer says of itself in place of the plugin's class.
_SAID = ("modes", "quarantines", "writes_empty", "replaces_partitions", "needs_path", "resumes")


class WriterCalls:
    """A loaded plugin and the writer made of it."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._writer: BaseWriter | None = None
        self._splits: dict[int, SplitWriter] = {}
        self._lock = threading.Lock()

    def call(self, method: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """A call's answer, {"value": JSON, "notes": the writer's}."""
        value = getattr(self, f"_{method}")(given)
        return {"value": value, "notes": [] if self._writer is None else list(map(str, self._writer.notes))}

    def stream(self, channel: Channel, given: Mapping[str, Any]) -> dict[str, Any]:
        """Write the batches that come on the channel until the host says `finish` or `abort`; what a finish left."""
        split = self._opened.writer(write_task(given["task"]))
        with self._lock:
            self._splits[given["id"]] = split
        try:
            while True:
                kind, value = channel.receive()
                if kind == BATCH:
                    split.write(value)
                elif value["method"] == "finish":
                    return {"value": [asdict(item) for item in split.finish()]}
                else:
                    split.abort()
                    return {"value": []}
        finally:
            with self._lock:
                del self._splits[given["id"]]

    @property
    def _opened(self) -> BaseWriter:
        if self._writer is None:
            raise PluginError("the plugin's process was asked before it had a writer")
        return self._writer

    # -- what the host asks ----------------------------------------------------------------------------------------

    def _about(self, given: Mapping[str, Any]) -> Any:
        return dict(self._loaded.about)

    def _options_schema(self, given: Mapping[str, Any]) -> Any:
        return self._loaded.options_schema()

    def _make(self, given: Mapping[str, Any]) -> Any:
        asset = AssetDefinition.model_validate(given["asset"])
        self._writer = self._loaded.factory(asset, TargetConfig.model_validate(given["config"]))
        found = {name: getattr(self._writer, name) for name in _SAID}
        return {
            name: sorted(value) if isinstance(value, (set, frozenset)) else bool(value) for name, value in found.items()
        }

    def _check_connection(self, given: Mapping[str, Any]) -> Any:
        return self._opened.check_connection().to_dict()

    def _last_commit(self, given: Mapping[str, Any]) -> Any:
        return _dumped(self._opened.last_commit())

    def _history(self, given: Mapping[str, Any]) -> Any:
        return [_dumped(item) for item in self._opened.history()]

    def _commit_of(self, given: Mapping[str, Any]) -> Any:
        return _dumped(self._opened.commit_of(given["run_id"]))

    def _commit_of_file(self, given: Mapping[str, Any]) -> Any:
        return _dumped(self._opened.commit_of_file(given["path"]))

    def _open(self, given: Mapping[str, Any]) -> Any:
        self._opened.open(write_request(given["request"]))

    def _finished(self, given: Mapping[str, Any]) -> Any:
        return [item.to_dict() for item in self._opened.finished(frozenset(given["splits"]))]

    def _checkpoint(self, given: Mapping[str, Any]) -> Any:
        self._opened.checkpoint(Checkpoint.from_dict(given["checkpoint"]))

    def _suspend(self, given: Mapping[str, Any]) -> Any:
        self._opened.suspend()

    def _commit(self, given: Mapping[str, Any]) -> Any:
        return _dumped(self._opened.commit(committables(given["committables"]), Commit.model_validate(given["commit"])))

    def _abort(self, given: Mapping[str, Any]) -> Any:
        self._opened.abort()

    def _cancel(self, given: Mapping[str, Any]) -> Any:
        with self._lock:
            splits = list(self._splits.values())
        for split in splits:
            split.cancel()
        self._opened.cancel()

    def _snapshot(self, given: Mapping[str, Any]) -> Any:
        return _as_dict(self._opened.snapshot())

    def _summary(self, given: Mapping[str, Any]) -> Any:
        return _as_dict(self._opened.summary(Commit.model_validate(given["commit"])))

    def _store_connection(self, given: Mapping[str, Any]) -> Any:
        return self._opened.store_connection()

    def _files_back_to(self, given: Mapping[str, Any]) -> Any:
        return list(self._opened.files_back_to(lambda commit: commit.seq == given["seq"]))

    def _maintain(self, given: Mapping[str, Any]) -> Any:
        found = self._opened.maintain(MaintainRequest(**given["request"]))
        return {**vars(found), "commit": _dumped(found.commit)}

    def _close(self, given: Mapping[str, Any]) -> Any:
        if self._writer is not None:
            self._writer.close()


def _dumped(commit: Commit | None) -> Any:
    return None if commit is None else commit.model_dump()


def _as_dict(table: Snapshot | None) -> Any:
    return None if table is None else {**vars(table), "schema_text": dict(table.schema_text)}
