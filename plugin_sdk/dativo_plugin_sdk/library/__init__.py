"""Plugins in shared libraries: `path/lib.so:symbol`, in whatever language, over the functions of dativo_plugin.h.

`python -m dativo_plugin_sdk.library` prints the folder of that header.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from ctypes import CDLL
from pathlib import Path
from typing import Any

from dativo_plugin_sdk.options import DirectoryOptions, Options

from .abi import FORMAT, READER
from .load import Library, load, open_library
from .options import options_model
from .reader import LibraryReader
from .writer import LibraryFormat, LibraryWriter

__all__ = [
    "LibraryFormat",
    "LibraryReader",
    "LibraryWriter",
    "header_folder",
    "import_library",
    "load_library",
    "open_library",
]

_MODES = ("append", "overwrite", "merge")
# Libraries made for dativo_ingest export these beside the symbol that a job names; rows cross there as JSON.
_JSON_SYMBOLS: Mapping[str, tuple[str, str]] = {
    "reader": ("extract_batch", "free_reader"),
    "writer": ("write_batch", "free_writer"),
}
_JSON_BRIDGE = "dativo_ingest.rust_plugin_bridge"


def header_folder() -> Path:
    """Where dativo_plugin.h lies."""
    return Path(__file__).resolve().parents[1] / "include"


def import_library(kind: str, path: str, symbol: str, reference: str) -> type[Any]:
    """The class of a file's reader or writer, whichever symbols it has. Raises: PluginError: as `open_library` and
    `load_library`.
    """
    library = open_library(path, reference)
    if all(hasattr(library, name) for name in _JSON_SYMBOLS[kind]):
        make = getattr(importlib.import_module(_JSON_BRIDGE), f"create_rust_{kind}_wrapper")
        return make(path, symbol)  # type: ignore[no-any-return]
    return load_library(kind, library, symbol, reference)


def load_library(kind: str, library: CDLL, symbol: str, reference: str) -> type[Any]:
    """The class of a library's reader or writer. kind: "reader" or "writer". reference: as a job names it.

    Raises: PluginError: when the library is not what the header says, before anything of it is used.
    """
    plugin = load(library, symbol, kind, reference)
    bases: dict[int, type[Any]] = {READER: LibraryReader, FORMAT: LibraryFormat}
    base = bases.get(plugin.kind, LibraryWriter)
    options: type[Options] = DirectoryOptions if plugin.kind == FORMAT else Options
    schema = plugin.about.get("options_schema", {})
    try:
        model = options_model(symbol, schema if isinstance(schema, dict) else {"properties": schema}, options)
    except ValueError as error:
        raise plugin.broken(f"its options_schema can't be used: {error}") from None
    body = {"library": plugin, "Options": model, "__version__": plugin.version, "api_version": plugin.api_version}
    return type(symbol, (base,), {**body, **_attributes(plugin)})


def _attributes(library: Library) -> dict[str, Any]:
    """What `about` says of a writer, as a writer's class says it."""
    about = library.about
    if library.kind == READER:
        return {}
    if library.kind == FORMAT:
        return {"extension": about["extension"]}
    modes = about.get("modes", _MODES[:2])
    if not isinstance(modes, list | tuple) or not modes or not all(mode in _MODES for mode in modes):
        raise library.broken(f"its modes are {modes!r}, not some of {', '.join(_MODES)}")
    flags = {name: about.get(name) is True for name in ("quarantines", "needs_path")}
    return {"modes": frozenset(modes), **flags}
