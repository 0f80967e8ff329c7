"""An Iceberg table, in a catalog of the job's or in one of the project's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from dativo_plugin_sdk import AssetDefinition, ConfigurationError, Options, PluginError, TargetConfig
from pydantic import Field

from ._lake import LakeWriter
from ._lake_files import LakeOptions
from ._lake_table import LakeStore

_STORE_KEYS = {
    "s3.endpoint": "endpoint",
    "s3.region": "region",
    "s3.access-key-id": "access_key_id",
    "s3.secret-access-key": "secret_access_key",
    "s3.session-token": "session_token",
}
"""A catalog's properties as object_store names them."""


class IcebergOptions(LakeOptions):
    """What the writer iceberg takes."""

    warehouse: str = Field(
        "warehouse/iceberg",
        description="without target.catalog: the folder of the project's own catalog and its tables",
    )


class IcebergWriter(LakeWriter):
    """Writes the table `target.table` of a catalog, divided by `partition_by`: columns, or day(ts), bucket(16, id), ...

    A commit is one transaction: files, a snapshot whose summary has the record, and the job's newest record among the
    table's properties.
    """

    Options: ClassVar[type[Options]] = IcebergOptions

    def __init__(self, asset_definition: AssetDefinition, target_config: TargetConfig, output_base: str = "") -> None:
        self._catalog: Any = None
        super().__init__(asset_definition, target_config, output_base)

    def store(self, suffix: str) -> LakeStore:
        try:
            from ._iceberg_catalog import Catalog
            from ._iceberg_store import IcebergStore
        except ImportError as error:
            raise PluginError("writer iceberg needs pyiceberg", hint="pip install 'dativo-assets[iceberg]'") from error
        config = self.target_config
        if self._catalog is None:
            properties = {**config.connection, **config.credentials}
            if config.catalog and not properties:
                raise ConfigurationError(
                    f"no connection named `{config.catalog}` for target.catalog",
                    hint="declare it under `connections` in dativo.yaml: {type: rest, uri: ...}",
                )
            folder = None if properties else Path(config.root).absolute() / self.options.warehouse
            self._catalog = Catalog(config.catalog or "dativo", properties, folder)
        name = (config.table or self.asset_definition.name) + suffix
        identifier = tuple(name.split(".")) if "." in name else ("default", name)
        if not all(identifier):
            raise ConfigurationError(f"target.table {name!r} has an empty part", hint="table: namespace.table")
        return IcebergStore(self._catalog, identifier, config.partition_by if not suffix else ())

    def store_connection(self) -> dict[str, Any]:
        given = super().store_connection()
        return {key: given[name] for name, key in _STORE_KEYS.items() if name in given}

    def close(self) -> None:
        super().close()
        self._catalog.close()
