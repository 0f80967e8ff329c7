"""Parquet files in a local directory, committed by one rename."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from dativo_plugin_sdk import FileSink, ParquetDirectoryOptions, ParquetDirectoryWriter, ValidationError
from dativo_plugin_sdk.arrow import as_schema
from pydantic import Field

_MAX = 2**31 - 1


class ParquetOptions(ParquetDirectoryOptions):
    """How Parquet files are written."""

    compression: Literal["zstd", "snappy", "lz4", "gzip", "none"] = Field("zstd", description="codec of the pages")
    compression_level: int | None = Field(
        None, ge=-131_072, le=22, description="of zstd and gzip; default: the codec's own"
    )
    row_group_rows: int = Field(131_072, ge=1, le=_MAX, description="rows of one row group")
    row_group_bytes: int = Field(
        128 << 20, ge=1, le=1 << 40, description="in-memory bytes at which a row group ends early"
    )
    page_bytes: int = Field(1 << 20, ge=1024, le=_MAX, description="uncompressed bytes of one data page")
    dictionary: bool = Field(True, description="encode repeated values by dictionary")
    statistics: bool = Field(True, description="minimum, maximum and null count of each column chunk")
    page_index: bool = Field(True, description="the same of each page, for readers that skip pages")


class ParquetWriter(ParquetDirectoryWriter):
    """Writes Parquet, one file a worker (or a worker and partition)."""

    Options = ParquetOptions

    def open_file(self, path: str, schema: Any) -> FileSink:
        return _ParquetSink(path, as_schema(schema), self.options)


class _ParquetSink:
    """One Parquet file. Holds the batches of at most one row group."""

    def __init__(self, path: str, schema: pa.Schema, options: ParquetOptions) -> None:
        self._path = path
        self._options = options
        self._schema = schema
        self._held: list[pa.RecordBatch] = []
        self._held_rows = self._held_bytes = self._rows = 0
        leveled = options.compression in ("zstd", "gzip")
        try:
            self._file = pq.ParquetWriter(
                path,
                schema,
                compression=options.compression,
                compression_level=options.compression_level if leveled else None,
                use_dictionary=options.dictionary,
                write_statistics=options.statistics,
                write_page_index=options.page_index and options.statistics,
                data_page_size=options.page_bytes,
            )
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
            raise ValidationError(
                f"Parquet can't hold this schema: {error}", hint="cast the column in the contract's schema"
            ) from error

    def write(self, batch: Any) -> None:
        batch = pa.record_batch(batch)
        while batch.num_rows:
            part = batch.slice(0, self._options.row_group_rows - self._held_rows)
            batch = batch.slice(part.num_rows)
            self._held.append(part)
            self._held_rows += part.num_rows
            self._held_bytes += part.nbytes
            full = self._held_rows >= self._options.row_group_rows or self._held_bytes >= self._options.row_group_bytes
            if full:
                self._flush()

    def _flush(self) -> None:
        if self._held:
            table = pa.Table.from_batches(self._held, self._schema)
            self._file.write_table(table, row_group_size=self._held_rows)
            self._rows += self._held_rows
            self._held, self._held_rows, self._held_bytes = [], 0, 0

    def finish(self) -> dict[str, Any]:
        self._flush()
        self._file.close()
        return {"rows": self._rows, "bytes": os.path.getsize(self._path)}

    def abort(self) -> None:
        self._held = []
        with suppress(OSError, pa.ArrowException):
            self._file.close()
        with suppress(FileNotFoundError):
            os.unlink(self._path)
