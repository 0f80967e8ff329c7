"""Parquet files written natively: the writer `rust_parquet`."""

from __future__ import annotations

import json
from importlib import import_module
from typing import TYPE_CHECKING, Any

from dativo_plugin_sdk import (
    AssetDefinition,
    ConfigurationError,
    MaintainReport,
    MaintainRequest,
    ParquetDirectoryWriter,
    TargetConfig,
)
from dativo_plugin_sdk.deferred import deferred, options_dict
from dativo_plugin_sdk.native import NativeSink, describe, write_context

from ._native import Sink

if TYPE_CHECKING:
    from .options import RustParquetOptions, SortKey

__all__ = ["RustParquetOptions", "RustParquetWriter", "SortKey"]


class RustParquetWriter(ParquetDirectoryWriter):
    """Parquet files in a local directory, committed by one rename."""

    Options = deferred("dativo_rust_parquet.options:RustParquetOptions")

    def __init__(self, asset_definition: AssetDefinition, target_config: TargetConfig, output_base: str = "") -> None:
        super().__init__(asset_definition, target_config, output_base)
        if target_config.mode == "merge" and self.options.sorted_by:
            raise ConfigurationError("a merge keeps no order of rows", hint="remove target.options.sorted_by")

    def compact(self, request: MaintainRequest) -> MaintainReport:
        if self.options.sorted_by:
            return MaintainReport(notes=("files stay as they are: each has the order of sorted_by",))
        return super().compact(request)

    def open_file(self, path: str, schema: Any) -> NativeSink:
        known = describe(Sink)["options_schema"]["properties"]
        options = json.dumps({name: value for name, value in options_dict(self.options).items() if name in known})
        context = write_context(self)
        return NativeSink(self.target_config.writer, lambda: Sink(path, schema, options, context))


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(".options", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
