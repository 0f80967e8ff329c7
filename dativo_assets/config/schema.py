"""JSON Schema of job and project files, for editors: every key completes, a plugin's own options too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from .models import JobConfig, ProjectConfig

PluginOptions = Mapping[str, Mapping[str, Any]]
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(
    plugin_options: Mapping[Literal["reader", "writer"], PluginOptions] | None = None,
    *,
    of: Literal["job", "project"] = "job",
) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a job file or of dativo.yaml.

    plugin_options: for "reader" and "writer", the JSON Schema of each plugin's options by the plugin's name; it holds for
    `options` where that plugin is named.
    """
    schema = _job(plugin_options or {}) if of == "job" else _project(plugin_options or {})
    return {"$schema": DIALECT, **schema}


def _job(plugin_options: Mapping[Any, PluginOptions]) -> dict[str, Any]:
    schema = JobConfig.model_json_schema(by_alias=True)
    # A file without a name takes its own; source or target may come from the project's defaults.
    schema.pop("required", None)
    for name, field in JobConfig.model_fields.items():
        schema["properties"][field.alias or name].setdefault("description", field.description)
    definitions: dict[str, Any] = schema["$defs"]
    for section, kind in (("Source", "reader"), ("Target", "writer")):
        model = definitions[section]
        model.pop("required", None)
        options = plugin_options.get(kind, {})
        if not options:
            continue
        model["properties"][kind]["examples"] = sorted(options)
        rules = []
        for name, own in sorted(options.items()):
            key = f"{kind}.{name}"
            definitions[key] = _embedded(own, key)
            rules.append(
                {
                    "if": {"properties": {kind: {"const": name}}, "required": [kind]},
                    "then": {"properties": {"options": {"$ref": f"#/$defs/{_pointer(key)}"}}},
                }
            )
        model["allOf"] = rules
    for model in definitions.values():
        _nullable(model)
    _nullable(schema)
    return schema


def _project(plugin_options: Mapping[Any, PluginOptions]) -> dict[str, Any]:
    schema = ProjectConfig.model_json_schema(by_alias=True)
    job = _job(plugin_options)
    schema["$defs"] = {**schema.get("$defs", {}), **job.pop("$defs"), "Defaults": job}
    description = schema["properties"]["defaults"].get("description")
    job["properties"].pop("name", None)
    schema["properties"]["defaults"] = {"$ref": "#/$defs/Defaults", "description": description}
    return schema


def _embedded(schema: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A plugin's schema as a definition of ours: its own references lead into itself."""
    found: dict[str, Any] = _moved(dict(schema), f"#/$defs/{_pointer(key)}")
    found.pop("$schema", None)
    return found


def _moved(value: Any, base: str) -> Any:
    if isinstance(value, Mapping):
        return {
            name: f"{base}{inner[1:]}" if name == "$ref" and str(inner).startswith("#") else _moved(inner, base)
            for name, inner in value.items()
        }
    return [_moved(inner, base) for inner in value] if isinstance(value, list) else value


def _pointer(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1").replace("%", "%25").replace(" ", "%20").replace("#", "%23")


def _nullable(model: dict[str, Any]) -> None:
    """A default of null says nothing to a person, and a key left empty is none."""
    for part in _properties(model):
        if part.get("default", ...) is None:
            del part["default"]


def _properties(model: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for part in model.get("properties", {}).values():
        if isinstance(part, dict):
            yield part
