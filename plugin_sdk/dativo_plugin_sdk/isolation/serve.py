"""The child's side: each call of the host comes on a channel of its own, and has a thread of its own."""

from __future__ import annotations

import base64
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

from dativo_plugin_sdk.arrow import as_schema, batches_of, iterate
from dativo_plugin_sdk.errors import DativoError, PluginError
from dativo_plugin_sdk.models import Incremental, ReadPlan, ReadRequest, SourceConfig, Split, Upstream
from dativo_plugin_sdk.native import left_out
from dativo_plugin_sdk.partition_rows import PartitionRange, PartitionSelection
from dativo_plugin_sdk.reader import BaseReader
from dativo_plugin_sdk.rows import Rows

from .wire import ERROR, RESULT, Channel, Closed, Garbled, read_schema, schema_bytes

_MAX_BATCH_ROWS = 1 << 20


@dataclass(frozen=True)
class Loaded:
    """A plugin that was imported. about: JSON of it: version, options_schema. factory: as `lift_reader` makes it."""

    target: Any
    factory: Callable[..., Any]
    about: Mapping[str, Any]


def serve(
    control: socket.socket, load: Callable[[], Loaded], translate: Callable[[BaseException], DativoError]
) -> NoReturn:
    """Serve the host's calls until it goes away. control: brings a socket for each call.

    load: imports the plugin; what it raises is what every call answers. translate: whatever was raised as one of the tree.
    """
    child: _Child | DativoError
    try:
        child = _Child(load())
    except (Exception, SystemExit) as error:
        child = translate(error)
    while True:
        _, handles, _, _ = socket.recv_fds(control, 1, 1)
        if not handles:
            os._exit(0)  # whatever thread of the plugin is still there
        channel = Channel(socket.socket(fileno=handles[0]))
        threading.Thread(target=_answer, args=(child, channel, translate), daemon=True).start()


def _answer(child: _Child | DativoError, channel: Channel, translate: Callable[[BaseException], DativoError]) -> None:
    try:
        _, call = channel.receive()
        try:
            if isinstance(child, DativoError):
                raise child
            result = child.read(channel, call) if call["method"] == "read" else child.call(call["method"], call)
        except Closed:
            raise
        except (Exception, SystemExit) as error:
            channel.send(ERROR, translate(error).to_dict())
        else:
            channel.send(RESULT, result)
    except Closed:
        pass  # the host does not want it any more
    finally:
        channel.close()


class _Child:
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

    def read(self, channel: Channel, given: Mapping[str, Any]) -> dict[str, Any]:
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


# -- control as JSON ---------------------------------------------------------------------------------------------------


def source_config(value: Mapping[str, Any]) -> SourceConfig:
    """A SourceConfig of the JSON that it makes of itself."""
    incremental = value.get("incremental")
    upstream = {name: Upstream.model_validate(item) for name, item in value.get("upstream", {}).items()}
    more = {"incremental": incremental and Incremental.model_validate(incremental), "upstream": upstream}
    return SourceConfig.model_validate({**value, **more})


def request_to_dict(request: ReadRequest) -> dict[str, Any]:
    """A ReadRequest as JSON, its schema as the text of an IPC stream."""
    value = {key: item for key, item in vars(request).items() if key not in ("schema", "partition")}
    value["schema"] = _schema_text(request.schema)
    value["partition"] = None if request.partition is None else asdict(request.partition)
    return json.loads(json.dumps(value, default=dict))  # type: ignore[no-any-return]


def read_request(value: Mapping[str, Any]) -> ReadRequest:
    """A ReadRequest of the JSON that `request_to_dict` makes."""
    part = value["partition"]
    if part is not None:
        ranges = tuple(PartitionRange(**{**item, "values": tuple(item["values"])}) for item in part["ranges"])
        part = PartitionSelection(ranges, part["keys"], part["definition"])
    columns = None if value["columns"] is None else tuple(value["columns"])
    return ReadRequest(**{**value, "schema": _schema(value["schema"]), "partition": part, "columns": columns})


def plan_to_dict(plan: ReadPlan) -> dict[str, Any]:
    """A ReadPlan as JSON, its schema as the text of an IPC stream."""
    return {
        "splits": [split.to_dict() for split in plan.splits],
        "schema": _schema_text(plan.schema),
        "cursor": plan.cursor,
        "applied": sorted(plan.applied),
        "notes": list(plan.notes),
        "unchanged": plan.unchanged,
        "schema_text": None if plan.schema_text is None else dict(plan.schema_text),
        "guessed": plan.guessed,
    }


def read_plan(value: Mapping[str, Any]) -> ReadPlan:
    """A ReadPlan of the JSON that `plan_to_dict` makes. Raises: Garbled."""
    try:
        return ReadPlan(
            splits=tuple(Split.from_dict(split) for split in value["splits"]),
            schema=_schema(value["schema"]),
            cursor=value["cursor"],
            applied=frozenset(value["applied"]),
            notes=tuple(map(str, value["notes"])),
            unchanged=bool(value["unchanged"]),
            schema_text=value["schema_text"],
            guessed=bool(value["guessed"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Garbled(f"sent what is no plan: {error!r}") from error


def _schema_text(schema: Any) -> str | None:
    return None if schema is None else base64.b64encode(schema_bytes(as_schema(schema))).decode()


def _schema(text: str | None) -> Any:
    return None if text is None else read_schema(base64.b64decode(text))
