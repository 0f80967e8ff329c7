"""The calls that a host makes of a reader."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

from dativo_plugin_sdk.arrow import as_schema, batches_of, iterate
from dativo_plugin_sdk.errors import PluginError
from dativo_plugin_sdk.models import ReadPlan, ReadRequest, Split
from dativo_plugin_sdk.native import left_out
from dativo_plugin_sdk.reader import BaseReader
from dativo_plugin_sdk.rows import Rows

from .control import plan_to_dict, read_request, source_config
from .loaded import Loaded
from .wire import Channel

_MAX_BATCH_ROWS = 1 << 20


class ReaderCalls:
    """A loaded plugin and the reader made of it."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._reader: BaseReader | None = None
        self._request = ReadRequest()
        self._passes = False
        self._schema: Any = None
        self._lock = threading.Lock()

    def call(self, method: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """A call's answer, {"value": JSON, "notes": those the reader has made since the last}."""
        value = getattr(self, f"_{method}")(given)
        return {"value": value, "notes": self._notes()}

    def stream(self, channel: Channel, given: Mapping[str, Any]) -> dict[str, Any]:
        """Send the batches of a split; the answer is {"bad_rows": rows that were left out, "notes": ...}."""
        found = self._opened.read(Split.from_dict(given["split"]))
        for batch in self._batches(found):
            for part in self._sliced(batch):
                channel.send_batch(part)
        return {"bad_rows": left_out(found), "notes": self._notes()}

    @property
    def _opened(self) -> BaseReader:
        if self._reader is None:
            raise PluginError("the plugin's process was asked before it had a reader")
        return self._reader

    def _notes(self) -> list[str]:
        if self._reader is None:
            return []
        with self._lock:
            notes, self._reader.notes[:] = list(map(str, self._reader.notes)), []
        return notes

    def _batches(self, found: Any) -> Iterator[Any]:
        """As the pipeline would make them of what `read` gave, in the schema that the first split to come fixed."""
        if self._passes:
            yield from batches_of(found)
            return
        with self._lock:
            rows = Rows(self._request.schema, self._request.widen, self._schema)
        for item in iterate(found):
            for batch in rows.convert(item):
                with self._lock:
                    self._schema = batch.schema if self._schema is None else self._schema
                yield batch

    def _sliced(self, batch: Any) -> Iterator[Any]:
        size = self._request.batch_bytes
        parts = max(1, -(-batch.nbytes // size), -(-batch.num_rows // _MAX_BATCH_ROWS))
        step = max(1, -(-batch.num_rows // parts))
        for start in range(0, max(batch.num_rows, 1), step):
            yield batch if parts == 1 else batch.slice(start, step)

    # -- what the host asks ----------------------------------------------------------------------------------------

    def _about(self, given: Mapping[str, Any]) -> Any:
        return dict(self._loaded.about)

    def _options_schema(self, given: Mapping[str, Any]) -> Any:
        return self._loaded.options_schema()

    def _query_tables(self, given: Mapping[str, Any]) -> Any:
        return sorted(getattr(self._loaded.target, "query_tables", lambda _: ())(given["query"]))

    def _column_lineage(self, given: Mapping[str, Any]) -> Any:
        declare = getattr(self._loaded.target, "column_lineage", None)
        return {} if declare is None else dict(declare(source_config(given["config"])))

    def _open(self, given: Mapping[str, Any]) -> Any:
        self._reader = self._loaded.factory(source_config(given["config"]))

    def _check_connection(self, given: Mapping[str, Any]) -> Any:
        return self._opened.check_connection().to_dict()

    def _discover(self, given: Mapping[str, Any]) -> Any:
        return self._opened.discover().to_dict()

    def _probe(self, given: Mapping[str, Any]) -> Any:
        return self._opened.probe(given["cursor"])

    def _new_files(self, given: Mapping[str, Any]) -> Any:
        return dict(self._opened.new_files(given["cursor"]))

    def _partition_values(self, given: Mapping[str, Any]) -> Any:
        found = self._opened.partition_values(given["column"])
        return None if found is None else dict(found)

    def _estimate(self, given: Mapping[str, Any]) -> Any:
        return self._opened.get_total_records_estimate()

    def _column_tags(self, given: Mapping[str, Any]) -> Any:
        return dict(self._opened.column_tags())

    def _plan(self, given: Mapping[str, Any]) -> Any:
        self._request = read_request(given["request"])
        plan = self._opened.plan(self._request)
        if not isinstance(plan, ReadPlan):
            raise TypeError(f"plan() returned {type(plan).__name__}, not ReadPlan")
        self._passes = plan.schema_text is not None
        self._schema = None if plan.schema is None else as_schema(plan.schema)
        return plan_to_dict(plan)

    def _cancel(self, given: Mapping[str, Any]) -> Any:
        self._opened.cancel()

    def _close(self, given: Mapping[str, Any]) -> Any:
        if self._reader is not None:
            self._reader.close()
