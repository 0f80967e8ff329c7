"""Streams: the tables, objects or groups of files that one job loads, each into a table of its own.

streams_of(source)            {stream: what of the source it is}; one entry, or none, for a job of one table
narrowed(source, part)        the source as the reader of that stream sees it
placed(target, name, stream)  the target of that stream
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, GetJsonSchemaHandler, Strict, Tag
from pydantic_core import CoreSchema

from .entries import plain
from .fields import Frozen, Path, Problem, Text, Texts

if TYPE_CHECKING:
    from .models import Source, Target

PLACEHOLDER = "{stream}"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
_DATABASE_FILES = frozenset((".db", ".db3", ".ddb", ".duckdb", ".sqlite", ".sqlite3"))
_NAME_HINT = "a stream's name is letters, digits, `_` and `-`: write one as `object`"


def _stream_name(value: str) -> str:
    if _NAME.fullmatch(value) is None or len(value) > 128:
        raise Problem(f"{value[:200]!r} is no name of a stream", _NAME_HINT)
    return value


StreamName = Annotated[str, Strict(), AfterValidator(_stream_name)]


class Stream(Frozen):
    """What a stream has of its own; the rest is as the job says."""

    object: StreamName | None = Field(
        None, description="The stream's name, and {stream} under target. Default: the last part of its own name."
    )
    cursor_field: Text | None = Field(None, description="Its column whose values only grow.")
    keys: Texts = Field((), description="The columns that identify its rows, for merge.")
    contract: Path | None = Field(None, description="The path of its contract.")
    options: dict[str, Any] = Field(
        default_factory=dict, repr=False, description="Options of the reader for it alone, over those of the source."
    )


class NamedStream(Stream):
    """A table or an object with what it has of its own."""

    name: Path = Field(description="The table's or object's name in the source.")


class FilesStream(Stream):
    """Files with what they have of their own; entries of one `object` are one stream."""

    path: Texts = Field(description="Paths, globs or URIs: one or a list.")


def _kind(value: Any) -> str:
    return "text" if isinstance(value, str) else "stream"


def _entries(value: Any) -> Any:
    if isinstance(value, (str, Mapping)):
        return (value,)
    if not isinstance(value, (list, tuple)):
        raise Problem("must be a text or a list of texts")
    return value


class _OneOrMany:
    """For editors: one text stands for a list of one."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, handler(schema)]}


_Text = Annotated[Path, Tag("text")]
_Named = Annotated[_Text | Annotated[NamedStream, Tag("stream")], Discriminator(_kind)]
_Files = Annotated[_Text | Annotated[FilesStream, Tag("stream")], Discriminator(_kind)]
NamedStreams = Annotated[tuple[_Named, ...], BeforeValidator(_entries), _OneOrMany()]
FilesStreams = Annotated[tuple[_Files, ...], BeforeValidator(_entries), _OneOrMany()]


@dataclass(frozen=True)
class Part:
    """What of a source is one stream. key: tables, objects or files. names: under that key. index: of its first entry."""

    key: str
    index: int
    names: tuple[str, ...]
    own: Stream


def streams_of(source: Source) -> dict[str, Part]:
    """The streams by name: of the tables, else of the objects, else of the groups of files. Plain files are one table.

    Raises: Problem: for two of one name, and for one without a name that a path can have.
    """
    for key in ("tables", "objects"):
        if entries := getattr(source, key):
            found: dict[str, Part] = {}
            for index, entry in enumerate(entries):
                own = NamedStream.model_validate({"name": entry}) if isinstance(entry, str) else entry
                name = _named(own, key, index, many=len(entries) > 1)
                if name in found:
                    raise Problem(
                        f"two streams are named `{name}`", "give one of them another `object`", "source", key, index
                    )
                found[name] = Part(key, index, (own.name,), own)
            return found
    return _groups(source)


def _named(own: NamedStream, key: str, index: int, *, many: bool) -> str:
    name = own.object or own.name.rpartition(".")[2]
    if many and _NAME.fullmatch(name) is None:
        raise Problem(f"{name[:200]!r} is no name of a stream", _NAME_HINT, "source", key, index)
    return name


def _groups(source: Source) -> dict[str, Part]:
    entries = [
        FilesStream.model_validate({"path": entry}) if isinstance(entry, str) else entry for entry in source.files
    ]
    named = list(dict.fromkeys(entry.object for entry in entries if entry.object is not None))
    if len(named) < 2:  # all of it is one table, whatever it is called
        if all(isinstance(entry, str) for entry in source.files):
            return {}
        first = next(entry for entry in entries if named == [] or entry.object is not None)
        return {first.object or "": Part("files", 0, plain(entries), first)}
    groups: dict[str, Part] = {}
    for index, entry in enumerate(entries):
        if entry.object is None:
            hint = "write {path: ..., object: orders}: the entries of one object are one table"
            raise Problem(
                "the other files say which `object` they are, and these don't", hint, "source", "files", index
            )
        before = groups.get(entry.object, Part("files", index, (), entry))
        groups[entry.object] = replace(before, names=(*before.names, *entry.path))
    return groups


def narrowed(source: Source, part: Part) -> Source:
    """The source as the reader of one stream sees it: that table, object or group of files alone."""
    own = part.own
    change: dict[str, Any] = {part.key: part.names}
    if part.key != "objects" and own.object is not None:
        change["objects"] = (own.object,)
    if own.options:
        change["options"] = {**source.options, **own.options}
    if own.cursor_field is not None and source.incremental is not None:
        change["incremental"] = source.incremental.model_copy(update={"cursor_field": own.cursor_field})
    return source.model_copy(update=change)


def placed(target: Target, name: str, stream: str) -> Target:
    """The target of one stream of a job. Where neither path nor table says `{stream}`, the stream is the last part of both
    the folder and the table's name; a database's file stays the same for all.
    """
    change = {
        key: text.replace(PLACEHOLDER, stream)
        for key in ("path", "table", "catalog")
        if (text := getattr(target, key)) is not None
    }
    if not names_streams(target):
        if target.table is not None:
            change["table"] = f"{target.table}_{stream}"
        elif target.path is None or PurePosixPath(target.path).suffix in _DATABASE_FILES:
            change["table"] = f"{name}_{stream}"
        else:
            change["path"] = f"{target.path.rstrip('/')}/{stream}"
    return target.model_copy(update=change)


def names_streams(target: Target) -> bool:
    """Whether the target says itself where each stream lands."""
    return PLACEHOLDER in f"{target.path} {target.table}"
