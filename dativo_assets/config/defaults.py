"""The project's defaults under a job's own keys."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationError

from .models import JobConfig
from .origin import Layer, Origin
from .problems import invalid, problem

# A job that gives one of these means it whole: a schedule and a file trigger together would be refused.
_WHOLE = ("trigger", "partitions", "freshness", "schema")
# What belongs to a plugin means nothing to another one.
_OF_THE_PLUGIN = {"source": "reader", "target": "writer"}
_PLUGIN_KEYS = ("options", "connection", "credentials")
_EMPTY_IS_ABSENT = frozenset({(), ("source",), ("target",)})
_PLACEHOLDER = re.compile(r"(?<!\$)\{(name|group)\}")
_WITH_PLACEHOLDERS = ("path", "table", "catalog")


def with_defaults(own: dict[str, Any], defaults: dict[str, Any], name: str) -> dict[str, Any]:
    """A job's keys over the defaults, its name filled in and {name}, {group} replaced under target; a new mapping.

    A key of the job, its source or its target that is written and left empty is not there: nor is its default.
    """
    base = dict(defaults)
    if "contract" in own:
        base.pop("schema", None)
    if "schema" in own:
        base.pop("contract", None)
    for section, plugin in _OF_THE_PLUGIN.items():
        mine, theirs = own.get(section), base.get(section)
        if (
            isinstance(mine, dict)
            and isinstance(theirs, dict)
            and plugin in mine
            and mine[plugin] != theirs.get(plugin)
        ):
            base[section] = {key: value for key, value in theirs.items() if key not in _PLUGIN_KEYS}
    value = merged(base, own)
    value.setdefault("name", name)
    target = value.get("target")
    if isinstance(target, dict):
        words = {"name": str(value["name"]), "group": str(value.get("group", "default"))}
        for key in _WITH_PLACEHOLDERS:
            if isinstance(target.get(key), str):
                target[key] = _PLACEHOLDER.sub(lambda match: words[match[1]], target[key])
    return value


def merged(base: dict[str, Any], over: dict[str, Any], path: tuple[str, ...] = ()) -> dict[str, Any]:
    """Mappings merged at every level, `over` first; a list or a value of `over` replaces the one below."""
    empty_is_absent = path in _EMPTY_IS_ABSENT
    result = {key: _copy(value) for key, value in base.items()}
    for key, value in over.items():
        below = result.get(key)
        if value is None and empty_is_absent:
            result.pop(key, None)
        elif isinstance(value, dict) and (isinstance(below, dict) or not path) and not (not path and key in _WHOLE):
            result[key] = merged(below if isinstance(below, dict) else {}, value, (*path, key))
        else:
            result[key] = _copy(value)
    return result


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in value.items()}
    return [_copy(inner) for inner in value] if isinstance(value, list) else value


def check_defaults(defaults: dict[str, Any], origin: Origin) -> None:
    """Raises: ConfigurationError: for what no job could take. Keys that jobs have to add may be missing."""
    layer = Origin(
        origin.path, origin.root, origin.shown, tuple(Layer(item.document, ("defaults",)) for item in origin.layers)
    )
    if "name" in defaults:
        raise problem("`name` can't be a default", layer, "name", hint="each job has its own name")
    if not defaults:
        return
    try:
        JobConfig.model_validate({"name": "job", **defaults})
    except ValidationError as error:
        wrong = [item for item in error.errors() if not _may_stand(item)]
        if wrong:
            kept = ValidationError.from_exception_data(error.title, [_line(item) for item in wrong])
            raise invalid(kept, JobConfig, layer) from None


def _may_stand(item: Any) -> bool:
    """Whether a job may mend it: by a key of its own, or as a number that is taken as text."""
    number_as_text = item["type"] == "string_type" and type(item["input"]) in (int, float)
    return item["type"] == "missing" or not item["loc"] or number_as_text


def _line(item: Any) -> Any:
    return {key: item[key] for key in ("type", "loc", "input", "ctx") if key in item}
