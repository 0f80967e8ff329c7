"""What `tables`, `objects` and `files` of a source hold, as texts. Imports nothing: so does a run of a job that is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .streams import FilesStream, NamedStream


def plain(entries: Sequence[str | NamedStream | FilesStream]) -> tuple[str, ...]:
    """The names or paths of entries; those of one stream are texts already."""
    texts: list[str] = []
    for entry in entries:
        if isinstance(entry, str):
            texts.append(entry)
        else:
            texts += entry.path if hasattr(entry, "path") else (entry.name,)
    return tuple(texts)
