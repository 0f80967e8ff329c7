"""What is asked and answered, as JSON; an Arrow schema in it is the text of an IPC stream."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from dativo_plugin_sdk.arrow import as_schema
from dativo_plugin_sdk.models import (
    Checkpoint,
    Commit,
    Committable,
    Incremental,
    MaintainReport,
    ReadPlan,
    ReadRequest,
    Snapshot,
    SourceConfig,
    Split,
    Upstream,
    WriteRequest,
    WriteTask,
)
from dativo_plugin_sdk.partition_rows import PartitionRange, PartitionSelection

from .wire import Garbled, read_schema, schema_bytes

T = TypeVar("T")


def source_config(value: Mapping[str, Any]) -> SourceConfig:
    """A SourceConfig of the JSON that it makes of itself."""
    incremental = value.get("incremental")
    upstream = {name: Upstream.model_validate(item) for name, item in value.get("upstream", {}).items()}
    more = {"incremental": incremental and Incremental.model_validate(incremental), "upstream": upstream}
    return SourceConfig.model_validate({**value, **more})


def request_to_dict(request: ReadRequest) -> dict[str, Any]:
    """A ReadRequest as JSON, its schema as the text of an IPC stream."""
    return _request_to_dict(request, "partition")


def read_request(value: Mapping[str, Any]) -> ReadRequest:
    """A ReadRequest of the JSON that `request_to_dict` makes."""
    more = {"schema": _schema(value["schema"]), "partition": _selection(value["partition"])}
    columns = None if value["columns"] is None else tuple(value["columns"])
    return ReadRequest(**{**value, **more, "columns": columns})


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
    return _made(
        "plan",
        lambda: ReadPlan(
            splits=tuple(Split.from_dict(split) for split in value["splits"]),
            schema=_schema(value["schema"]),
            cursor=value["cursor"],
            applied=frozenset(value["applied"]),
            notes=tuple(map(str, value["notes"])),
            unchanged=bool(value["unchanged"]),
            schema_text=value["schema_text"],
            guessed=bool(value["guessed"]),
        ),
    )


def write_request_to_dict(request: WriteRequest) -> dict[str, Any]:
    """A WriteRequest as JSON."""
    return _request_to_dict(request, "replaces")


def write_request(value: Mapping[str, Any]) -> WriteRequest:
    """A WriteRequest of the JSON that `write_request_to_dict` makes."""
    more = {"schema": _schema(value["schema"]), "replaces": _selection(value["replaces"])}
    return WriteRequest(**{**value, **more, "keys": tuple(value["keys"]), "partition_by": tuple(value["partition_by"])})


def task_to_dict(task: WriteTask) -> dict[str, Any]:
    """A WriteTask as JSON."""
    return {"index": task.index, "kind": task.kind, "schema": _schema_text(task.schema)}


def write_task(value: Mapping[str, Any]) -> WriteTask:
    """A WriteTask of the JSON that `task_to_dict` makes."""
    return WriteTask(value["index"], value["kind"], _schema(value["schema"]))


def committables(value: Any) -> list[Committable]:
    """Committables of their JSON. Raises: Garbled."""
    return [_made("committable", lambda item=item: Committable(**item)) for item in value]  # type: ignore[misc]


def checkpoints(value: Any) -> list[Checkpoint]:
    """Checkpoints of their JSON. Raises: Garbled."""
    return [_made("checkpoint", lambda item=item: Checkpoint.from_dict(item)) for item in value]  # type: ignore[misc]


def commit(value: Any) -> Commit | None:
    """A Commit of its JSON. Raises: Garbled."""
    return None if value is None else _made("commit", lambda: Commit.model_validate(value))


def snapshot(value: Any) -> Snapshot | None:
    """A Snapshot of its JSON. Raises: Garbled."""
    if value is None:
        return None
    return _made("snapshot", lambda: Snapshot(**{**value, "files": tuple(map(str, value["files"]))}))


def maintain_report(value: Any) -> MaintainReport:
    """A MaintainReport of its JSON. Raises: Garbled."""
    return _made(
        "report", lambda: MaintainReport(**{**value, "commit": commit(value["commit"]), "notes": tuple(value["notes"])})
    )


def _made(what: str, make: Callable[[], T]) -> T:
    try:
        return make()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Garbled(f"sent what is no {what}: {error!r}") from error


def _request_to_dict(request: ReadRequest | WriteRequest, selection: str) -> dict[str, Any]:
    value = {key: item for key, item in vars(request).items() if key not in ("schema", selection)}
    part = getattr(request, selection)
    value.update({"schema": _schema_text(request.schema), selection: None if part is None else asdict(part)})
    return json.loads(json.dumps(value, default=dict))  # type: ignore[no-any-return]


def _selection(value: Mapping[str, Any] | None) -> PartitionSelection | None:
    if value is None:
        return None
    ranges = tuple(PartitionRange(**{**item, "values": tuple(item["values"])}) for item in value["ranges"])
    return PartitionSelection(ranges, value["keys"], value["definition"])


def _schema_text(schema: Any) -> str | None:
    return None if schema is None else base64.b64encode(schema_bytes(as_schema(schema))).decode()


def _schema(text: str | None) -> Any:
    return None if text is None else read_schema(base64.b64decode(text))
