"""Contract files: an Open Data Contract Standard file, or an older asset file."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from dativo_assets.config.yaml import MAX_BYTES, loads
from dativo_assets.errors import ConfigurationError

from .asset_file import is_asset_file, read_asset_file
from .model import Contract
from .node import Node
from .odcs import is_odcs, read_odcs

if TYPE_CHECKING:
    from dativo_assets.config import JobConfig


def read_contract(job: JobConfig, reference: str, root: Path) -> Contract:
    """The contract in a file. reference: `path`, or `path#name` of one of its tables. Raises: ConfigurationError."""
    name, _, table = reference.partition("#")
    path = root / name
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise ConfigurationError(
            f"no contract file {name}" if missing else f"can't read contract file {name}: {error.strerror or error}",
            details={"job": job.name, **job.location("contract", key=False).details()},
            hint="the path is relative to the project's folder",
        ) from error
    digest = hashlib.sha256(data).digest()
    return _parsed(_Digested(digest, data), name, table or None, job.name)


class _Digested:
    """A file's bytes, told apart by their digest, so that the cache keeps no second copy of a file that did not change."""

    def __init__(self, digest: bytes, data: bytes) -> None:
        self.digest, self.data = digest, data

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Digested) and self.digest == other.digest


@functools.lru_cache(maxsize=4096)
def _parsed(file: _Digested, shown: str, table: str | None, job: str) -> Contract:
    document = loads(file.data, file=shown)
    node = Node(document, document.value)
    if document.value is None:
        raise node.error(f"{shown} is empty", "write an Open Data Contract Standard file, or `schema:` in the job")
    node.mapping()
    if is_odcs(node):
        return read_odcs(node, table, job)
    if is_asset_file(node):
        return read_asset_file(node)
    raise node.error(
        f"{shown} is no contract",
        "an Open Data Contract Standard file has `kind: DataContract`, `apiVersion` and `schema`",
    )
