"""A job that can't be used, as an asset that shows why."""

import re
from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from dativo_assets.config import BrokenJob, ProjectConfig
from dativo_assets.errors import ConfigurationErrors, DativoError, render

from .metadata import error_metadata
from .translate import DEFAULT_GROUP, code_reference

_GROUP = re.compile(r"^group:[ \t]*[\"']?([A-Za-z0-9_]+(?:/[A-Za-z0-9_]+)*)[\"']?[ \t]*(?:#.*)?$", re.MULTILINE)
_GROUP_NAME = re.compile(r"[A-Za-z0-9_]+(/[A-Za-z0-9_]+)*")


def broken_spec(
    key: dg.AssetKey, group: str, error: DativoError, path: Path | None, deps: Sequence[dg.AssetKey]
) -> dg.AssetSpec:
    """The spec: the error's message is the first line of the description, its whole text stands below."""
    first = error.errors[0] if isinstance(error, ConfigurationErrors) and error.errors else error
    text = render(error)
    line = first.details.get("line")
    metadata = error_metadata(first, text)
    if path is not None:
        metadata["dagster/code_references"] = code_reference(path, line if isinstance(line, int) else 1)
    return dg.AssetSpec(
        key=key,
        deps=deps,
        group_name=group,
        description=f"Broken: {first.message}\n\n```\n{text}\n```",
        tags={"dativo/broken": ""},
        metadata=metadata,
    )


def group_of(item: BrokenJob, config: ProjectConfig) -> str:
    """The group that the job would be in, as far as its file can be read."""
    try:
        found = _GROUP.search(item.path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        found = None
    if found is not None:
        return found[1]
    default = config.defaults.get("group")
    return default if isinstance(default, str) and _GROUP_NAME.fullmatch(default) else DEFAULT_GROUP
