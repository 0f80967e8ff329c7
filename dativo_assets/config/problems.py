"""A pydantic error as configuration errors that name the key, its place, and the nearest key there is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from dativo_assets.errors import ConfigurationError, ConfigurationErrors

from .fields import Problem, one_of
from .masking import is_secret_name
from .models import JobConfig
from .origin import Origin, Steps
from .words import nearest

_KINDS = {
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
}
_BRANCHES = frozenset(("str", "dict[str,any]", "text", "stream"))
# Options that built-in plugins share, for a person who wrote one beside `options` instead of under it.
_SOURCE_OPTIONS = frozenset(
    re.findall(
        r"\w+",
        "delimiter quote_char escape_char header column_names encoding null_values true_values false_values comment "
        "skip_rows trim bad_lines infer_types infer_rows compression",
    )
)
_TARGET_OPTIONS = frozenset(
    re.findall(r"\w+", "compression compression_level row_group_rows row_group_bytes page_bytes dictionary statistics")
)


def invalid(
    error: ValidationError, model: type[BaseModel], origin: Origin, *prefix: str | int, job: str | None = None
) -> ConfigurationError:
    """What is wrong in the keys below `prefix`, each mistake an error of its own.

    error: raised by `model.model_validate(value)`, where value stands at `prefix` in the file (a plugin's options at
    `"target", "options"`).
    """
    found = []
    seen: set[tuple[Any, ...]] = set()
    for item in error.errors(include_url=False):
        path = (*prefix, *_known_steps(item["loc"]))
        mark = (path, item["type"])
        if mark not in seen:
            seen.add(mark)
            found.append(_one(item, path, model, origin, len(prefix), job))
    return ConfigurationErrors.of(found)


def problem(
    message: str, origin: Origin, *path: str | int, hint: str | None = None, job: str | None = None, key: bool = True
) -> ConfigurationError:
    """A configuration error at the place of a key, or with key=False of its value."""
    error = ConfigurationError(message, details=origin.location(*path, key=key).details(), hint=hint)
    error.at(job=job)
    return error


def keys_of(model: type[BaseModel]) -> list[str]:
    """The keys of a model as YAML writes them."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _known_steps(loc: tuple[int | str, ...]) -> Steps:
    """A pydantic location without the steps that only pydantic knows: `[key]` of a mapping, branches of a union."""
    return tuple(step for step in loc if not (isinstance(step, str) and (step == "[key]" or step in _BRANCHES)))


def _one(
    item: Any, path: Steps, model: type[BaseModel], origin: Origin, depth: int, job: str | None
) -> ConfigurationError:
    kind: str = item["type"]
    section = _section(model, path[depth:-1])
    name = _dotted(path)
    if kind == "extra_forbidden":
        return _unknown(path, section, origin, job)
    if kind == "missing":
        return _missing(path, section, origin, job)
    context = item.get("ctx") or {}
    cause = context.get("error")
    if isinstance(cause, Problem):
        target = (*path, *cause.path)
        said = str(cause)
        message = f"{name}: {said}" if path else said
        if said.startswith("must ") and path:
            message = f"`{name}` {said}"
        at_value = not cause.path and not said.startswith(("a ", "the "))
        return problem(message, origin, *target, hint=cause.hint, job=job, key=not at_value)
    if kind == "literal_error":
        return _literal(item, path, section, name, origin, job)
    said = _KINDS.get(kind) or item["msg"][0].lower() + item["msg"][1:]
    found = "" if is_secret_name(str(path[-1]) if path else "") else _found(item.get("input"))
    hint = "write `true` or `false`" if kind == "bool_type" else None
    return problem(f"`{name}` {said}{found}", origin, *path, hint=hint, job=job, key=False)


def _found(value: Any) -> str:
    words = {type(None): "nothing", dict: "a mapping", list: "a list", tuple: "a list"}
    if type(value) in words:
        return f", found {words[type(value)]}"
    if isinstance(value, bool):
        return f", found {str(value).lower()}"
    if isinstance(value, (int, float)):
        return f", found {value}"
    return f", found the text {value[:60]!r}" if isinstance(value, str) else ""


def _literal(
    item: Any, path: Steps, section: type[BaseModel] | None, name: str, origin: Origin, job: str | None
) -> ConfigurationError:
    allowed = _choices(section, path) or [item["ctx"]["expected"]]
    value = item.get("input")
    guess = nearest(value, allowed) if isinstance(value, str) else None
    return problem(
        f"`{name}` must be {one_of(allowed)}{_found(value)}",
        origin,
        *path,
        hint=f"did you mean `{guess}`?" if guess else None,
        job=job,
        key=False,
    )


def _choices(section: type[BaseModel] | None, path: Steps) -> list[str]:
    if section is None or not path:
        return []
    for name, field in section.model_fields.items():
        if (field.alias or name) == path[-1]:
            found: list[str] = []
            pending: list[Any] = [field.annotation]
            while pending:
                part = pending.pop()
                if isinstance(part, str):
                    found.append(part)
                else:
                    pending.extend(reversed(get_args(part)))
            return found
    return []


def _unknown(path: Steps, section: type[BaseModel] | None, origin: Origin, job: str | None) -> ConfigurationError:
    key = str(path[-1])
    where = f" in {_dotted(path[:-1])}" if len(path) > 1 else ""
    return problem(f"unknown key `{key}`{where}", origin, *path, hint=_unknown_hint(key, path[:-1], section), job=job)


def _unknown_hint(key: str, parent: Steps, section: type[BaseModel] | None) -> str | None:
    known = keys_of(section) if section is not None else []
    home = _home(key, parent)
    if home is not None:
        return f"`{key}` belongs under {home}"
    guess = nearest(key, known)
    if guess is not None:
        return f"did you mean `{guess}`?"
    if parent in (("source",), ("target",)):
        plugin = "reader" if parent == ("source",) else "writer"
        return f"a {plugin}'s own options belong under {parent[0]}.options"
    return f"known keys: {', '.join(known)}" if known else None


def _home(key: str, parent: Steps) -> str | None:
    """Where a key that is known elsewhere belongs; None for one that is known nowhere, or in two places."""
    homes = []
    for path, names in _sections().items():
        if key in names and path != parent:
            homes.append(_dotted(path) if path else "the top of the job")
    if len(homes) > 1 and parent:
        homes = [home for home in homes if home.split(".")[0] == str(parent[0])] or homes
    return one_of(homes) if 1 <= len(homes) <= 2 else None


def _sections() -> Mapping[Steps, Iterable[str]]:
    sections: dict[Steps, Iterable[str]] = {
        (): keys_of(JobConfig),
        ("source", "options"): _SOURCE_OPTIONS,
        ("target", "options"): _TARGET_OPTIONS,
    }
    for path in (("source",), ("target",), ("source", "incremental"), ("trigger",), ("retry",), ("freshness",)):
        section = _section(JobConfig, path)
        if section is not None:
            sections[path] = keys_of(section)
    return sections


def _missing(path: Steps, section: type[BaseModel] | None, origin: Origin, job: str | None) -> ConfigurationError:
    key = str(path[-1])
    parent = path[:-1]
    where = f"in {_dotted(parent)}" if parent else "in the job"
    hints = {
        ("source",): "say where rows come from: source: {reader: csv, files: data/*.csv}",
        ("target",): "say where rows land: target: {writer: parquet, path: warehouse/{name}}, in the job or under "
        "`defaults` in dativo.yaml",
        ("source", "reader"): "name one: reader: csv",
        ("target", "writer"): "name one: writer: parquet, here or under `defaults` in dativo.yaml",
    }
    hint = hints.get(tuple(map(str, path)))
    if hint is None and section is not None:
        hint = next(
            (field.description for name, field in section.model_fields.items() if (field.alias or name) == key), None
        )
    return problem(f"`{key}` is missing {where}", origin, *parent, hint=hint, job=job)


def _section(model: type[BaseModel], path: Steps) -> type[BaseModel] | None:
    """The model of the mapping at a path, None where the file is free there."""
    current: type[BaseModel] | None = model
    for step in path:
        if isinstance(step, int):
            continue
        if current is None:
            return None
        field = next((field for name, field in current.model_fields.items() if (field.alias or name) == step), None)
        current = _model_in(field.annotation) if field is not None else None
    return current


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in get_args(annotation):
        if (found := _model_in(part)) is not None:
            return found
    return None


def _dotted(path: Steps) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text
