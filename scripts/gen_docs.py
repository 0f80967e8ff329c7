"""Writes docs/reference from the models and the commands themselves; `--check` only says whether it is up to date."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel

from dativo_assets.cli.app import cli as dativo
from dativo_assets.config.incremental import Incremental
from dativo_assets.config.isolation import Isolation
from dativo_assets.config.models import (
    Column,
    JobConfig,
    Metrics,
    OpenLineage,
    ProjectConfig,
    Source,
    Target,
)
from dativo_assets.config.plugins import Plugins
from dativo_assets.config.streams import FilesStream, NamedStream
from dativo_assets.config.timing import (
    Alerts,
    DynamicPartitions,
    FilePartitions,
    FilesTrigger,
    Freshness,
    Partitions,
    ProbeTrigger,
    Retry,
    StaticPartitions,
    TimePartitions,
    Trigger,
    VolumeAlert,
)
from dativo_assets.registry import Registry

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
MADE = "<!-- Made by `make docs`; a test says when it is out of date. -->\n"
SECTIONS: tuple[tuple[str, str, type[BaseModel]], ...] = (
    ("A job", "", JobConfig),
    ("source", "", Source),
    ("source.tables, source.objects", "", NamedStream),
    ("source.files", "", FilesStream),
    ("source.incremental", "", Incremental),
    ("source.isolation, target.isolation", "", Isolation),
    ("target", "", Target),
    ("schema", "A list of columns, each with:", Column),
    ("trigger", "", Trigger),
    ("trigger.files", "", FilesTrigger),
    ("trigger.probe", "", ProbeTrigger),
    ("partitions", "", Partitions),
    ("partitions.hourly, .daily, .weekly, .monthly", "", TimePartitions),
    ("partitions.static", "", StaticPartitions),
    ("partitions.dynamic", "", DynamicPartitions),
    ("partitions.files", "", FilePartitions),
    ("retry", "", Retry),
    ("freshness", "", Freshness),
    ("alerts", "", Alerts),
    ("alerts.volume", "", VolumeAlert),
    ("The project: dativo.yaml", "", ProjectConfig),
    ("dativo.yaml: plugins", "", Plugins),
    ("dativo.yaml: metrics", "", Metrics),
    ("openlineage", "", OpenLineage),
)
BUILT_IN = {"reader": ("csv", "json", "parquet", "sql"), "writer": ("parquet", "csv", "jsonl")}


def job_reference() -> str:
    """docs/reference/job.md."""
    lines = [
        "# Job reference",
        MADE,
        "Every key of a job file and of `dativo.yaml`. A key that is not here is an error, with the nearest known key as a",
        "hint. `dativo schema` prints the same as JSON Schema for editors. Durations are `30s`, `5m`, `24h`, `7d`.",
        "`${NAME}` and `${NAME:-default}` are read from the environment when a run starts, never before.",
        "",
    ]
    for title, lead, model in SECTIONS:
        lines += [f"## {title}", ""]
        lines += [lead or _first_line(model), ""]
        lines += [*_table(model), ""]
    lines += ["## Options of the built-in plugins", ""]
    lines += [
        "`source.options` and `target.options` belong to the plugin. `dativo plugins` lists what is installed.",
        "",
    ]
    registry = Registry(FOLDER)
    for kind, names in BUILT_IN.items():
        for name in names:
            options = registry.resolve(kind, name).load().options  # type: ignore[arg-type]
            fields = list(_rows(options)) if options is not None else []
            lines += [f"### {kind} `{name}`", ""]
            lines += [*_table(options), ""] if fields else ["It has no options.", ""]
    return "\n".join(lines).rstrip() + "\n"


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def _table(model: type[BaseModel]) -> Iterator[str]:
    yield "| key | value | default | |"
    yield "|---|---|---|---|"
    for row in _rows(model):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def _rows(model: type[BaseModel]) -> Iterator[tuple[str, str, str, str]]:
    schema = model.model_json_schema(by_alias=True)
    if "$ref" in schema:  # a model that holds itself
        schema = {**schema, **schema["$defs"][str(schema["$ref"]).rsplit("/", 1)[-1]]}
    required = set(schema.get("required", ()))
    for key, field in schema.get("properties", {}).items():
        yield f"`{key}`", _kind(field, schema.get("$defs", {})), _default(key, field, required), _sentence(field)


def _sentence(field: Mapping[str, Any]) -> str:
    return " ".join(str(field.get("description", "")).split())


def _default(key: str, field: Mapping[str, Any], required: set[str]) -> str:
    if key in required:
        return "" if "Default:" in _sentence(field) else "required"
    value = field.get("default")
    if value is None or value in ([], {}, ""):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if _is_duration(field):
        return f"`{value:g}s`"
    return f"`{value}`"


def _is_duration(field: Mapping[str, Any]) -> bool:
    return "30s" in field.get("examples", ())


def _kind(field: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    """A JSON Schema as a few words."""
    if _is_duration(field):
        return "duration"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if "$ref" in field:
        target = known.get(str(field["$ref"]).rsplit("/", 1)[-1], {})
        return _kind(target, known) if "enum" in target else "mapping"
    for key in ("anyOf", "allOf", "oneOf"):
        if key in field:
            words = [_kind(part, known) for part in field[key] if part.get("type") != "null"]
            return " or ".join(dict.fromkeys(words))
    kind = field.get("type", "any")
    if isinstance(kind, list):
        return " or ".join(_word(name) for name in kind if name != "null")
    if kind == "array":
        inner = _kind(field["items"], known) if isinstance(field.get("items"), Mapping) else "any"
        return f"list of {inner}"
    return _word(kind)


def _word(kind: str) -> str:
    return {
        "string": "text",
        "object": "mapping",
        "array": "list",
        "boolean": "true or false",
        "integer": "number",
    }.get(kind, kind)


def cli_reference() -> str:
    """docs/reference/cli.md."""
    lines = ["# Command reference", MADE]
    context = click.Context(dativo, info_name="dativo", **dativo.context_settings)
    lines += ["```text", _help(dativo, context), "```", ""]
    for name in dativo.list_commands(context):
        lines += list(_command(dativo.get_command(context, name), context, name))
    return "\n".join(lines).rstrip() + "\n"


def _command(command: click.Command | None, parent: click.Context, name: str) -> Iterator[str]:
    if command is None or command.hidden:
        return
    context = click.Context(command, info_name=name, parent=parent, **command.context_settings)
    yield from (f"## {context.command_path}", "", "```text", _help(command, context), "```", "")
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            yield from _command(command.get_command(context, inner), context, inner)


def _help(command: click.Command, context: click.Context) -> str:
    context.terminal_width = context.max_content_width = 110
    return "\n".join(line.rstrip() for line in command.get_help(context).splitlines())


def pages() -> dict[Path, str]:
    """Every page and its text."""
    return {FOLDER / "job.md": job_reference(), FOLDER / "cli.md": cli_reference()}


def main(arguments: list[str]) -> int:
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text() != text]
    if "--check" in arguments:
        for path in stale:
            print(f"out of date: {path.name}\nhint: make docs")
        return 1 if stale else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in pages().items():
        path.write_text(text)
    print(f"docs/reference: {len(stale)} of {len(pages())} pages changed")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
