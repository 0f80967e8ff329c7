"""Parquet files written natively: the writer `rust_parquet`."""

from __future__ import annotations

from typing import Any, Literal

from dativo_plugin_sdk import (
    AssetDefinition,
    ConfigurationError,
    MaintainReport,
    MaintainRequest,
    Options,
    ParquetDirectoryOptions,
    ParquetDirectoryWriter,
    TargetConfig,
)
from dativo_plugin_sdk.native import NativeSink, write_context
from pydantic import Field

from ._native import Sink

__all__ = ["RustParquetOptions", "RustParquetWriter", "SortKey"]


class SortKey(Options):
    """One column of the order that rows come in."""

    column: str = Field(description="the column's name")
    descending: bool = Field(False, description="large values first")
    nulls_first: bool = Field(False, description="nulls before all values")


class RustParquetOptions(ParquetDirectoryOptions):
    """How the Parquet files are made."""

    compression: Literal["zstd", "snappy", "lz4_raw", "gzip", "none"] = Field("zstd", description="codec of the pages")
    compression_level: int | None = Field(None, ge=0, le=22, description="zstd: 1 to 22; gzip: 0 to 9")
    row_group_rows: int = Field(122_880, ge=1, description="rows in a row group, at most")
    row_group_bytes: int = Field(32 << 20, ge=1, description="encoded bytes in a row group, about at most")
    page_bytes: int = Field(1 << 20, ge=1, description="bytes in a page before compression, about at most")
    page_rows: int = Field(20_000, ge=1, description="rows in a page, at most")
    dictionary_bytes: int = Field(64 << 10, ge=0, description="a column whose dictionary grows larger does without")
    statistics: Literal["none", "chunk", "page"] = Field("page", description="page: with a page index")
    bloom_filter: bool = Field(False, description="a bloom filter for every column")
    compatibility: Literal["modern", "legacy"] = Field("modern", description="legacy: pages that old readers know")
    metadata: dict[str, str] = Field(default_factory=dict, description="key-value pairs for the footer")
    sorted_by: tuple[SortKey, ...] = Field(
        (), description="the order that the rows have; checked, then told to readers"
    )


class RustParquetWriter(ParquetDirectoryWriter):
    """Parquet files in a local directory, committed by one rename."""

    Options = RustParquetOptions

    def __init__(self, asset_definition: AssetDefinition, target_config: TargetConfig, output_base: str = "") -> None:
        super().__init__(asset_definition, target_config, output_base)
        if target_config.mode == "merge" and self.options.sorted_by:
            raise ConfigurationError("a merge keeps no order of rows", hint="remove target.options.sorted_by")

    def compact(self, request: MaintainRequest) -> MaintainReport:
        if self.options.sorted_by:
            return MaintainReport(notes=("files stay as they are: each has the order of sorted_by",))
        return super().compact(request)

    def open_file(self, path: str, schema: Any) -> NativeSink:
        options = self.options.model_dump_json(exclude=set(ParquetDirectoryOptions.model_fields))
        context = write_context(self)
        return NativeSink(self.target_config.writer, lambda: Sink(path, schema, options, context))
