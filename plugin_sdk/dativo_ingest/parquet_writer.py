"""Rows as Parquet files, written by the built-in writer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dativo_plugin_sdk as sdk
from dativo_plugin_sdk import WriteTask, parse_partitions
from dativo_plugin_sdk.arrow import parse_type, pyarrow
from dativo_plugin_sdk.directory_writer import DirectorySplitWriter
from dativo_plugin_sdk.rows import Rows

from .config import AssetDefinition, TargetConfig


class ParquetWriter:
    """Writes a file (or one a partition) for each batch, below `output_base`."""

    def __init__(self, asset_definition: AssetDefinition, target_config: TargetConfig, output_base: str) -> None:
        self.asset_definition = asset_definition
        self.target_config = target_config
        self.output_base = output_base
        columns = [(column["name"], parse_type(column.get("type", "string"))) for column in asset_definition.schema]
        self._rows = Rows(pyarrow().schema(columns)) if columns else Rows()

    def write_batch(self, records: list[dict[str, Any]], file_counter: int = 0) -> list[dict[str, Any]]:
        """The files: [{path, size_bytes, record_count}].

        Raises: SchemaMismatchError: for a value that doesn't fit its column.
        """
        from dativo_assets.writers.parquet import ParquetWriter as Writer

        asset = sdk.AssetDefinition(name=self.asset_definition.name)
        base = Path(self.output_base)
        writer = Writer(asset, sdk.TargetConfig(writer="parquet", path=str(base)))
        batches = list(self._rows.convert(records))
        task = WriteTask(file_counter, schema=self._rows.schema)
        split = DirectorySplitWriter(writer, base, task, parse_partitions(self.target_config.partitioning or ()))
        try:
            for batch in batches:
                split.write(batch)
            return [
                {"path": str(base / item.payload["file"]), "size_bytes": item.bytes, "record_count": item.rows}
                for item in split.finish()
            ]
        except BaseException:
            split.abort()
            raise
