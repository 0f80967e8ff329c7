"""The child of an isolated plugin of this environment: it has the platform's registry and its words for errors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from dativo_plugin_sdk.isolation.loaded import Loaded
from dativo_plugin_sdk.isolation.main import serve_host

from dativo_assets.errors import to_dativo_error
from dativo_assets.registry import PluginRef


def main() -> NoReturn:
    """Serve the plugin that the host names."""
    serve_host(_load, lambda error, plugin: to_dativo_error(error, plugin=plugin))


def _load(about: Mapping[str, Any]) -> Loaded:
    plugin = PluginRef(**{**about, "path": about["path"] and Path(about["path"])}).load()
    told = {
        "version": plugin.version,
        "api_version": plugin.api_version,
        "options_schema": plugin.options_schema(),
    }
    return Loaded(about["kind"], plugin.target, plugin.factory, told)
