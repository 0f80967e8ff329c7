"""What the verbs that use an index of plugins share."""

from __future__ import annotations

from pathlib import Path

import click
from dativo_plugin_sdk import ConfigurationError

from dativo_assets.config import find_project, load_config
from dativo_assets.index.catalog import Index, is_url, read_index
from dativo_assets.index.packages import NAME, package_index

index_option = click.option(
    "--index",
    metavar="WHERE",
    help="A folder or URL that holds an index.json, or pypi: uv's or pip's own index. Default: `plugins.index` of dativo.yaml.",
)
target_option = click.option(
    "--target", metavar="DIR", help="Where wheels go, to be put on PYTHONPATH. Default: this environment."
)


def project_folder(project: str | None) -> Path:
    """The project's folder: that of a verb's option, or of the command's."""
    return find_project(explicit=project or (click.get_current_context().obj or {}).get("project"))


def index_of(root: Path, given: str | None) -> Index:
    """The index that was named, or the project's. Raises: ConfigurationError: when there is none."""
    plugins = None if given else load_config(root).plugins
    where = given or (None if plugins is None else plugins.index)
    if where is None:
        raise ConfigurationError(
            "no index of plugins is named",
            hint="write `plugins: {index: URL or folder}` in dativo.yaml, or --index; pypi is one",
        )
    if where == NAME:
        return package_index()
    return read_index(where if is_url(where) else str(root / where))
