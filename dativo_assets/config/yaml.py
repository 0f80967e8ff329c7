"""YAML 1.2 (core schema) as plain values that know their place: `no` is text, `010` is ten, a key stands once.

PyYAML's parser gives the events (libyaml where it was built with it); what a scalar means is decided here.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml as pyyaml

from dativo_assets.errors import ConfigurationError, Location

from .masking import mask_line

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_ALIASES = 1_000
MAX_EXPANDED_NODES = 100_000
_MAX_DIGITS = 1_000

if pyyaml.__with_libyaml__:
    from yaml.cyaml import CParser as _Parser  # type: ignore[attr-defined]
else:
    from yaml.parser import Parser
    from yaml.reader import Reader
    from yaml.scanner import Scanner

    class _Parser(Reader, Scanner, Parser):  # type: ignore[no-redef]
        """PyYAML's own parser, for a PyYAML built without libyaml."""

        def __init__(self, stream: str) -> None:
            Reader.__init__(self, stream)
            Scanner.__init__(self)
            Parser.__init__(self)


_LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_CONSTANTS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **{sign + word: float(sign + "inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_NUMBER_START = frozenset("+-.0123456789")
_CORE = "tag:yaml.org,2002:"


@dataclass(slots=True)
class Mark:
    """Where a value stands: line and column from 0. raw: a scalar as written. items: children, with a key's mark."""

    line: int
    column: int
    length: int = 1
    raw: str | None = None
    items: Any = None


@dataclass
class Document:
    """A parsed file. value: plain dicts (keys are text, as written), lists, str, int, float, bool, None."""

    file: str
    text: str = field(repr=False)
    value: Any = field(default=None, repr=False)
    marks: Mark | None = field(default=None, repr=False)

    def compact(self) -> Document:
        """The same with its text alone, parsed again when a place is asked for: thousands of jobs stay small."""
        return Document(self.file, self.text)

    @property
    def root(self) -> Mark:
        """The place of the whole value, and in it those of all others."""
        if self.marks is None:
            self.marks = _Builder(self.file, self.text).build()[1]
        return self.marks

    def location(self, *path: str | int, key: bool = True) -> Location | None:
        """The place of the key (or, with key=False, of the value) at a path; None when the file has none there."""
        mark: Mark = self.root
        key_mark: Mark | None = None
        for step in path:
            items = mark.items
            if isinstance(items, dict) and step in items:
                key_mark, mark = items[step]
            elif isinstance(items, list) and isinstance(step, int) and 0 <= step < len(items):
                key_mark, mark = None, items[step]
            else:
                return None
        shown = key_mark if key and key_mark is not None else mark
        return self._location(shown.line, shown.column, shown.length)

    def raw(self, *path: str | int) -> str | None:
        """A scalar as written in the file (`1.10`), None where there is none."""
        mark: Mark = self.root
        for step in path:
            items = mark.items
            if isinstance(items, dict) and step in items:
                mark = items[step][1]
            elif isinstance(items, list) and isinstance(step, int) and 0 <= step < len(items):
                mark = items[step]
            else:
                return None
        return mark.raw

    def _location(self, line: int, column: int, length: int) -> Location:
        lines = _LINE_BREAK.split(self.text)
        source_line = mask_line(lines[line], column) if line < len(lines) else ""
        return Location(self.file, line + 1, column + 1, source_line, length)


def load_file(path: Path, *, shown: str | None = None) -> Document:
    """The document in a file. shown: the name that errors call the file by.

    Raises: ConfigurationError: when the file can't be read or is no YAML that this module takes.
    """
    name = shown or str(path)
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # a path with a NUL is a ValueError
        raise ConfigurationError(
            f"can't read {name}: {getattr(error, 'strerror', None) or error}",
            details={"file": name},
            hint=_file_hint(error),
        ) from error
    return loads(data, file=name)


def _file_hint(error: OSError | ValueError) -> str | None:
    if isinstance(error, FileNotFoundError):
        return "check the path; it is relative to the current folder or the project's"
    if isinstance(error, IsADirectoryError):
        return "a job is a file, not a folder"
    return None


def loads(data: bytes | str, *, file: str = "<text>") -> Document:
    """The document in a text.

    Raises: ConfigurationError: with file, line, column and the offending line in its details.
    """
    size_bytes = len(data)
    if size_bytes > MAX_BYTES:
        raise ConfigurationError(
            f"{file} is larger than {MAX_BYTES >> 20} MB", details={"file": file}, hint="a job file is a page of text"
        )
    if isinstance(data, bytes):
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ConfigurationError(
                f"{file} is not UTF-8: byte {data[error.start]:#04x} at offset {error.start}",
                details={"file": file, "line": data.count(b"\n", 0, error.start) + 1, "byte": error.start},
                hint="save the file as UTF-8",
            ) from error
    else:
        text = data
    text = text.removeprefix("\ufeff")
    builder = _Builder(file, text)
    try:
        value, mark = builder.build()
    except pyyaml.reader.ReaderError as error:
        raise builder.unreadable(error) from error
    except pyyaml.MarkedYAMLError as error:
        raise builder.malformed(error) from error
    return Document(file, text, value, mark)


class _Open:
    """A collection whose end has not been seen."""

    __slots__ = ("anchor", "height", "key", "key_mark", "mark", "size_before", "value")

    def __init__(self, value: Any, mark: Mark, anchor: str | None, size_before: int) -> None:
        self.value, self.mark, self.anchor, self.size_before = value, mark, anchor, size_before
        self.key: str | None = None
        self.key_mark: Mark | None = None
        self.height = 1


class _Builder:
    """Events to values, without recursion, counting what aliases would expand to."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text
        self.stack: list[_Open] = []
        self.anchors: dict[str, tuple[Any, Mark, int, int]] = {}
        self.size = 0
        self.aliases = 0
        self.result: tuple[Any, Mark] | None = None

    def build(self) -> tuple[Any, Mark]:
        next_event: Callable[[], Any] = _Parser(self.text).get_event
        documents = 0
        while (event := next_event()) is not None:
            kind = type(event)
            if kind is pyyaml.ScalarEvent:
                mark = Mark(event.start_mark.line, event.start_mark.column, 1, event.value)
                if event.end_mark.line == mark.line:
                    mark.length = max(1, event.end_mark.column - mark.column)
                if self.stack and self.stack[-1].key is None and self.stack[-1].mark.items.__class__ is dict:
                    self._key(event, mark)
                else:
                    self._add(self._scalar(event, mark), mark, event.anchor)
            elif kind is pyyaml.MappingStartEvent or kind is pyyaml.SequenceStartEvent:
                self._open(event, {} if kind is pyyaml.MappingStartEvent else [])
            elif kind is pyyaml.MappingEndEvent or kind is pyyaml.SequenceEndEvent:
                closed = self.stack.pop()
                self._attach(closed.value, closed.mark, closed.height)
                if closed.anchor is not None:
                    size = self.size - closed.size_before
                    self.anchors[closed.anchor] = (closed.value, closed.mark, size, closed.height)
            elif kind is pyyaml.AliasEvent:
                self._alias(event)
            elif kind is pyyaml.DocumentStartEvent:
                documents += 1
                if documents > 1:
                    raise self.error("a second document in one file", event.start_mark, "one file holds one job")
        return self.result or (None, Mark(0, 0))

    def _open(self, event: Any, value: Any) -> None:
        if event.tag is not None and event.tag not in (_CORE + "map", _CORE + "seq"):
            raise self._tagged(event)
        if len(self.stack) >= MAX_DEPTH:
            raise self.error(f"nested deeper than {MAX_DEPTH} levels", event.start_mark, None)
        if self.stack and self.stack[-1].key is None and isinstance(self.stack[-1].value, dict):
            raise self.error("a key must be text, not a list or a mapping", event.start_mark, None)
        mark = Mark(event.start_mark.line, event.start_mark.column, 1, None, value.__class__())
        self.stack.append(_Open(value, mark, event.anchor, self.size))
        self.size += 1

    def _key(self, event: Any, mark: Mark) -> None:
        top = self.stack[-1]
        if event.tag is not None and event.tag != _CORE + "str":
            raise self._tagged(event)
        key: str = event.value
        plain = event.implicit[0]
        if plain and key == "<<":
            raise self.error(
                "merge keys (`<<`) are not part of YAML 1.2",
                event.start_mark,
                "write the keys out, or share them through `defaults` in dativo.yaml",
            )
        if plain and key == "":
            raise self.error("a key is missing before `:`", event.start_mark, None)
        if key in top.value:
            first = top.mark.items[key][0]
            raise self.error(
                f"duplicate key `{key}`: first written at {self.file}:{first.line + 1}:{first.column + 1}",
                event.start_mark,
                "keep one of the two",
                mark.length,
            )
        top.key, top.key_mark = key, mark
        if event.anchor is not None:
            self.anchors[event.anchor] = (key, mark, 1, 0)

    def _add(self, value: Any, mark: Mark, anchor: str | None) -> None:
        self.size += 1
        self._attach(value, mark)
        if anchor is not None:
            self.anchors[anchor] = (value, mark, 1, 0)

    def _attach(self, value: Any, mark: Mark, height: int = 0) -> None:
        if not self.stack:
            self.result = (value, mark)
            return
        top = self.stack[-1]
        if height >= top.height:
            top.height = height + 1
        if top.mark.items.__class__ is dict:
            top.value[top.key] = value
            top.mark.items[top.key] = (top.key_mark, mark)
            top.key = None
        else:
            top.value.append(value)
            top.mark.items.append(mark)

    def _alias(self, event: Any) -> None:
        if any(item.anchor == event.anchor for item in self.stack):
            raise self.error(f"alias `*{event.anchor}` stands inside of what it names", event.start_mark, None)
        if event.anchor not in self.anchors:
            raise self.error(f"alias `*{event.anchor}` names no anchor", event.start_mark, None)
        value, mark, size, height = self.anchors[event.anchor]
        self.aliases += 1
        self.size += size
        if self.aliases > MAX_ALIASES or self.size > MAX_EXPANDED_NODES:
            raise self.error(
                "aliases expand to too much", event.start_mark, "share values through `defaults` in dativo.yaml"
            )
        if len(self.stack) + height > MAX_DEPTH:
            raise self.error(f"nested deeper than {MAX_DEPTH} levels", event.start_mark, None)
        if self.stack and isinstance(self.stack[-1].value, dict) and self.stack[-1].key is None:
            raise self.error("an alias can't be a key", event.start_mark, None)
        self._attach(value, mark, height)

    def _scalar(self, event: Any, mark: Mark) -> Any:
        text: str = event.value
        if event.tag is not None:
            return self._tagged_scalar(event)
        if not event.implicit[0]:
            return text
        return self._plain(event, text)

    def _plain(self, event: Any, text: str) -> Any:
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if text[0] not in _NUMBER_START:
            return text
        if len(text) > _MAX_DIGITS and _FLOAT.fullmatch(text):
            raise self.error(f"a number of {len(text)} characters", event.start_mark, "quote it if it is text")
        if _INTEGER.fullmatch(text):
            return int(text)
        if text[0] == "0" and re.fullmatch(r"0o[0-7]+|0x[0-9a-fA-F]+", text):
            return int(text, 0)
        return float(text) if _FLOAT.fullmatch(text) else text

    def _tagged_scalar(self, event: Any) -> Any:
        if event.tag in ("!", _CORE + "str"):
            return event.value
        names: dict[str, tuple[type, ...]] = {
            "int": (int,),
            "float": (float, int),
            "bool": (bool,),
            "null": (type(None),),
        }
        wanted = names.get(event.tag.removeprefix(_CORE)) if event.tag.startswith(_CORE) else None
        if wanted is None:
            raise self._tagged(event)
        value = self._plain(event, event.value)
        if type(value) not in wanted:
            raise self.error(f"`{event.value}` is no {event.tag.removeprefix(_CORE)}", event.start_mark, None)
        return float(value) if float in wanted else value

    def _tagged(self, event: Any) -> ConfigurationError:
        tag = event.tag.replace(_CORE, "!!")
        return self.error(f"the tag `{tag}` is not allowed", event.start_mark, "write a plain value; quote it as text")

    def error(self, message: str, mark: Any, hint: str | None, length: int = 1) -> ConfigurationError:
        lines = self.text.count("\n") + 1
        where = Document(self.file, self.text)._location(min(mark.line, lines), mark.column, length)
        return ConfigurationError(message, details=where.details(), hint=hint)

    def malformed(self, error: pyyaml.MarkedYAMLError) -> ConfigurationError:
        """What the parser says, at the place it means."""
        mark = error.problem_mark or error.context_mark
        problem = error.problem or str(error)
        hint = None
        message = f"not valid YAML: {problem}"
        if error.context:
            message += f" ({error.context}"
            message += f" from line {error.context_mark.line + 1})" if error.context_mark is not None else ")"
        if mark is None:
            return ConfigurationError(message, details={"file": self.file})
        lines = _LINE_BREAK.split(self.text)
        line = lines[mark.line] if mark.line < len(lines) else ""
        if not line.strip() and error.context_mark is not None:
            # The text ended inside of something: what was opened says more than the empty end.
            return self.error(message, error.context_mark, "close what is opened here")
        if "\t" in line[: mark.column + 1]:
            hint = "indent with spaces; YAML allows no tab there"
        elif line[mark.column : mark.column + 1] in ("@", "`", "%", "*", "&", "{", "["):
            hint = "quote the value"
        elif "mapping values are not allowed" in problem:
            hint = "quote a value that holds `: `, or check the indentation"
        return self.error(message, mark, hint)

    def unreadable(self, error: pyyaml.reader.ReaderError) -> ConfigurationError:
        """A character that YAML allows nowhere. libyaml counts bytes, PyYAML characters."""
        offset = int(error.position)
        if pyyaml.__with_libyaml__:
            offset = len(self.text.encode()[:offset].decode("utf-8", "ignore"))
        starts = [0, *(match.end() for match in _LINE_BREAK.finditer(self.text))]
        line = bisect_right(starts, offset) - 1
        code = error.character if isinstance(error.character, int) else ord(str(error.character)[0])
        document = Document(self.file, self.text)
        where = document._location(line, offset - starts[line], 1)
        shown = {**where.details(), "source_line": (where.source_line or "").replace("\0", "\ufffd")}
        return ConfigurationError(
            f"the character U+{code:04X} is not allowed in YAML", details=shown, hint="remove it, or write an escape"
        )
