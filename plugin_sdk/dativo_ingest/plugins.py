"""The base classes of older plugins, and the loader of references."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import dativo_plugin_sdk as sdk
from dativo_plugin_sdk import API_VERSION, ConfigurationError, ConnectionTestResult, DiscoveryResult, PluginError
from dativo_plugin_sdk.deferred import deferred
from dativo_plugin_sdk.options import Options

from .config import AssetDefinition, SourceConfig, TargetConfig

PLUGIN_SDK_VERSION = f"{API_VERSION}.0.0"

__all__ = [
    "PLUGIN_SDK_VERSION",
    "BaseReader",
    "BaseWriter",
    "ConnectionTestResult",
    "DiscoveryResult",
    "PluginLoader",
]

_LIBRARIES = (".so", ".dylib", ".dll")


class BaseReader(sdk.BaseReader):
    """A reader of level 1 that is constructed with an older SourceConfig."""

    Options: ClassVar[type[Options]] = deferred("dativo_ingest.options:AnyOptions")
    source_config: SourceConfig  # type: ignore[assignment]

    def __init__(self, source_config: SourceConfig) -> None:
        super().__init__(source_config)  # type: ignore[arg-type]

    @classmethod
    def at(cls, source_config: sdk.SourceConfig) -> BaseReader:
        return cls(SourceConfig.of(source_config))

    def extract(self, state_manager: Any = None) -> Iterator[list[dict[str, Any]]]:
        """Yield lists of dicts."""
        return super().extract(state_manager)

    def extract_metadata(self) -> dict[str, Any]:
        """What the source says of itself: {"tags": {column: tag}}."""
        return {"tags": self.get_source_tags()}

    def get_source_tags(self) -> dict[str, str]:
        """The source's tags: {column: tag}."""
        return {}

    def column_tags(self) -> Mapping[str, str]:
        tags = self.extract_metadata().get("tags")
        return tags if isinstance(tags, Mapping) else {}


class BaseWriter(sdk.BaseWriter):
    """A writer of level 1 that is constructed with an older AssetDefinition and TargetConfig."""

    Options: ClassVar[type[Options]] = deferred("dativo_ingest.options:AnyOptions")
    asset_definition: AssetDefinition  # type: ignore[assignment]
    target_config: TargetConfig  # type: ignore[assignment]

    def __init__(self, asset_definition: AssetDefinition, target_config: TargetConfig, output_base: str = "") -> None:
        super().__init__(asset_definition, target_config, output_base)  # type: ignore[arg-type]

    @classmethod
    def staged(
        cls, asset_definition: sdk.AssetDefinition, target_config: sdk.TargetConfig, output_base: str
    ) -> BaseWriter:
        return cls(AssetDefinition.of(asset_definition), TargetConfig.of(target_config), output_base)


class PluginLoader:
    """Classes by reference: path.py:Class, package.module:Class, or lib.so:symbol."""

    @classmethod
    def load_reader(cls, reference: str) -> type[sdk.BaseReader]:
        """The class of a reader.

        Raises: ValueError: for a reference of another form, and where nothing of that name is there. PluginError: when it
        is no reader, or can't be imported.
        """
        if cls._detect_plugin_type(reference) == "rust":
            from .rust_plugin_bridge import create_rust_reader_wrapper

            return create_rust_reader_wrapper(*_library(reference))
        found: type[sdk.BaseReader] = _loaded("reader", reference)
        return found

    @classmethod
    def load_writer(cls, reference: str) -> type[sdk.BaseWriter]:
        """The class of a writer; errors as `load_reader`."""
        if cls._detect_plugin_type(reference) == "rust":
            from .rust_plugin_bridge import create_rust_writer_wrapper

            return create_rust_writer_wrapper(*_library(reference))
        found: type[sdk.BaseWriter] = _loaded("writer", reference)
        return found

    @staticmethod
    def _detect_plugin_type(reference: str) -> Literal["python", "rust"]:
        path = reference.rpartition(":")[0] or reference
        return "rust" if path.endswith(_LIBRARIES) else "python"


def _library(reference: str) -> tuple[str, str]:
    path, _, symbol = reference.rpartition(":")
    if not path or not symbol:
        raise ValueError(f"plugin reference {reference!r} must be in format path:symbol")
    if not Path(path).is_file():
        raise ValueError(f"plugin library {path} was not found")
    return path, symbol


def _loaded(kind: Literal["reader", "writer"], reference: str) -> Any:
    # The registry is the platform's, which a plugin's author need not have installed.
    from dativo_assets.registry import Registry

    if ":" not in reference:
        raise ValueError(f"plugin reference {reference!r} must be in format path.py:Class or package.module:Class")
    try:
        return Registry(Path.cwd()).resolve(kind, reference).load().target
    except ConfigurationError as error:
        raise ValueError(str(error)) from error
    except PluginError as error:
        if error.error_code == "PLUGIN_NOT_FOUND":
            raise ValueError(str(error)) from error
        raise
