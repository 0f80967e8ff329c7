"""The options of `rust_parquet`."""

from __future__ import annotations

from typing import Literal

from dativo_plugin_sdk.options import Options, ParquetDirectoryOptions
from pydantic import Field


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
