"""A Delta Lake table: a folder of this machine or of an object store, with its log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from dativo_plugin_sdk import ConfigurationError, PluginError

from ._lake import LakeWriter
from ._lake_table import LakeStore

_REFUSED = re.compile(r"[\\\[\]]|%[0-9A-Fa-f]{2}")
"""Parts of a path that don't survive being made a URL by it."""


class DeltaWriter(LakeWriter):
    """Writes the Delta table in the folder or URI `target.path`, divided by the columns of `partition_by`.

    A commit is one entry of the table's log, put where no other is. The record is in its commitInfo, with the newest
    records of other jobs that write the table; its sequence is also an application transaction, which checkpoints keep.
    """

    needs_path: ClassVar[bool] = True

    def store(self, suffix: str) -> LakeStore:
        try:
            from ._delta_store import DeltaStore
        except ImportError as error:
            raise PluginError(
                "writer delta needs deltalake and obstore", hint="pip install 'dativo-assets[delta]'"
            ) from error
        config = self.target_config
        if not config.path:
            raise ConfigurationError("writer delta needs target.path", hint="path: warehouse/{name}, or s3://bucket/x")
        remote = "://" in config.path and not config.path.startswith("file://")
        place = config.path.rstrip("/") + suffix
        if not remote:
            place = str((Path(config.root) / place.removeprefix("file://")).absolute())
            if _REFUSED.search(place):
                raise ConfigurationError(
                    f"target {place} has a name that deltalake takes for another one", hint=r"leave out \, [, ] and %20"
                )
        options = dict(_options({**config.connection, **config.credentials})) if remote else {}
        return DeltaStore(place, options, config.partition_by if not suffix else ())


def _options(given: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """A connection as object_store takes it."""
    for key, value in given.items():
        if value is not None:
            yield key, str(value).lower() if isinstance(value, bool) else str(value)
    if str(given.get("endpoint", given.get("aws_endpoint", ""))).startswith("http://"):
        yield "allow_http", "true"
