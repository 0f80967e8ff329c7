"""The project's own catalog of Iceberg tables, which parses a version's metadata once: a commit looks at it several times."""

from __future__ import annotations

from typing import Any

from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.table import Table


class OwnCatalog(SqlCatalog):
    """A catalog in SQLite. A file of metadata never changes, and its name is never given again."""

    def __init__(self, name: str, **properties: str) -> None:
        super().__init__(name, **properties)
        self._seen: dict[tuple[str, str], Table] = {}

    def _convert_orm_to_iceberg(self, orm_table: IcebergTables) -> Table:
        name = (orm_table.table_namespace, orm_table.table_name)
        seen = self._seen.get(name)
        if seen is None or seen.metadata_location != orm_table.metadata_location:
            seen = self._seen[name] = super()._convert_orm_to_iceberg(orm_table)
        found: Any = seen
        return Table(found._identifier, found.metadata, found.metadata_location, found.io, self)
