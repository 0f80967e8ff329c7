"""What databases share that are one file: where it is, and where rows wait beside it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from dativo_plugin_sdk import ConfigurationError
from dativo_plugin_sdk.sql_writer import SqlWriter


class DatabaseFileWriter(SqlWriter):
    """Writes one table of the database in the file `target.path`."""

    needs_path: ClassVar[bool] = True
    suffix: ClassVar[str] = ""
    """How such a file's name ends, for a hint."""

    @property
    def path(self) -> Path:
        """The database's file."""
        if not self.target_config.path:
            raise ConfigurationError(
                f"writer {self.format} needs target.path", hint=f"path: warehouse/data{self.suffix}"
            )
        return Path(self.target_config.root) / self.target_config.path.removeprefix("file://")

    def place(self) -> str:
        return str(self.path)

    def staging_root(self) -> Path:
        return self.path.with_name(f".{self.path.name}.staging")

    def exists(self) -> bool:
        return self.path.exists()

    def made(self) -> Path:
        """The file, its folder made. Raises: ConfigurationError: where a folder has its name."""
        if self.path.is_dir():
            raise ConfigurationError(f"target {self.path} is a directory", hint="set target.path to a file")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return self.path
