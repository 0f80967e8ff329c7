"""Catalogs of Iceberg tables: one that a connection names, or the project's own, which is one SQLite file."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyiceberg.catalog
from pyiceberg.catalog import Catalog as IcebergCatalog

from ._lake_table import secrets_of

_FILE = "catalog.db"
_OWN = "dativo_assets.writers._iceberg_sqlite.OwnCatalog"


class Catalog:
    """A catalog that is opened when it is asked. properties: pyiceberg's; folder: of the project's own."""

    def __init__(self, name: str, properties: Mapping[str, Any], folder: Path | None) -> None:
        self.name, self._folder = name, folder
        self.secrets = secrets_of(properties)
        self._properties = {key: _text(value) for key, value in properties.items() if value is not None}
        self._open: IcebergCatalog | None = None
        self._guard = threading.Lock()

    @property
    def place(self) -> str:
        """Where it is, for a person."""
        return str(self._folder) if self._folder is not None else self.name

    def exists(self) -> bool:
        """Whether there is one to ask; asking must not make one."""
        return self._folder is None or (self._folder / _FILE).exists()

    def get(self) -> IcebergCatalog:
        """The open catalog; the project's own is made where it is not there."""
        with self._guard:
            if self._open is None:
                self._open = self._made()
            return self._open

    def _made(self) -> IcebergCatalog:
        if self._folder is None:
            return pyiceberg.catalog.load_catalog(self.name, **self._properties)
        self._folder.mkdir(parents=True, exist_ok=True)
        own = {
            "py-catalog-impl": _OWN,
            "uri": f"sqlite:///{self._folder / _FILE}",
            "warehouse": f"file://{self._folder}",
        }
        try:
            return pyiceberg.catalog.load_catalog(self.name, **own)
        except Exception:  # another process made its tables between this one's look and its try
            return pyiceberg.catalog.load_catalog(self.name, **own)

    def close(self) -> None:
        """Let go of its connections."""
        with self._guard:
            opened, self._open = self._open, None
        if opened is not None:
            opened.close()


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
