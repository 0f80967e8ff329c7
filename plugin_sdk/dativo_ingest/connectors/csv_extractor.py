"""CSV files as batches of rows, read by the built-in reader."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import dativo_plugin_sdk as sdk
from dativo_plugin_sdk import ReadRequest, SchemaMismatchError

from dativo_ingest.config import SourceConfig

_BATCH_ROWS = 1000
_SIZES = ("batch_size", "chunk_size", "native")


class CSVExtractor:
    """Reads the files of a source. Options of `engine` are those of the reader `csv`, and batch_size."""

    def __init__(self, source_config: SourceConfig) -> None:
        self.source_config = source_config
        engine = (source_config.engine or {}).get("options") or {}
        self._options: dict[str, Any] = {**engine, **(engine.get("native") or {})}

    def extract(self, state_manager: Any = None) -> Iterator[list[dict[str, Any]]]:
        """Batches of `batch_size` rows; the last may be shorter."""
        rows = self._rows()
        size = int(self._options.get("batch_size") or self._options.get("chunk_size") or _BATCH_ROWS)
        while batch := list(islice(rows, size)):
            yield batch

    def _rows(self) -> Iterator[dict[str, Any]]:
        """A value outside the type that its column had so far changes it for the rows that follow."""
        from dativo_assets.readers.csv import CsvReader

        files = self.source_config.files or []
        source = sdk.SourceConfig(
            reader="csv",
            files=tuple(str(item.get("path") or item["file"]) for item in files),
            credentials=self.source_config.credentials or {},
            connection=self.source_config.connection or {},
            options={key: value for key, value in self._options.items() if key not in _SIZES},
        )
        widen: dict[str, str] = {}
        given = 0
        while True:
            reader = CsvReader(source)
            rows = (
                row
                for split in reader.plan(ReadRequest(widen=widen)).splits
                for batch in reader.read(split)
                for row in batch.to_pylist()
            )
            try:
                for row in islice(rows, given, None):
                    given += 1
                    yield row
                return
            except SchemaMismatchError as error:
                widen[error.column] = error.widen_to
            finally:
                reader.close()
