"""An older job as the text of the same job in the keys of today: `migrated(path, root, config)`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dativo_assets.errors import ConfigurationError

from .compat import translated
from .load import read_job
from .models import ProjectConfig
from .origin import Layer, Steps
from .yaml import Document, load_file, loads

_ORDER = ("name", "description", "group", "depends_on", "source", "target", "contract", "schema", "on_violation")
_LINE_CHARACTERS = 100
_COMMENT = re.compile(r"(?:^|\s)(#.*)$")


@dataclass(frozen=True)
class Migrated:
    """before, after: the file's text. notes: for a person."""

    before: str
    after: str
    notes: tuple[str, ...]


def migrated(path: Path, root: Path, config: ProjectConfig) -> Migrated:
    """The text of a job in the keys of today; its own where it has no others. What connector files say is written out.

    Raises: ConfigurationError: when the job is broken.
    """
    shown = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
    job = read_job(path, root, config)
    document = load_file(path, shown=shown)
    found = translated(document, root)
    if found.value is document.value:
        return Migrated(document.text, document.text, ())
    text = _Text(document, found.layers).of(found.value)
    again = read_job(path, root, config, text)
    if again.digest != job.digest:
        raise ConfigurationError(
            f"{shown} can't be written in the keys of today", hint="please report it, with the job"
        )
    return Migrated(document.text, text, found.notes)


@dataclass
class _Text:
    """Writes values out; a comment stays with the key or item beside or below it."""

    document: Document
    layers: tuple[Layer, ...]
    lines: list[str] = field(default_factory=list)
    told: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.source = self.document.text.splitlines()

    def of(self, job: dict[str, Any]) -> str:
        keys = sorted(job, key=lambda key: _ORDER.index(key) if key in _ORDER else len(_ORDER))
        self._mapping({key: job[key] for key in keys}, (), "")
        left = [line.strip() for index, line in enumerate(self.source) if self._is_comment(index)]
        return "\n".join([*left, *self.lines]) + "\n"

    def _mapping(self, value: dict[str, Any], path: Steps, indent: str) -> None:
        for key, item in value.items():
            self._entry(f"{indent}{_scalar(key)}:", item, (*path, key), indent)

    def _entry(self, start: str, value: Any, path: Steps, indent: str) -> None:
        above, beside = self._comments(path)
        self.lines += [f"{indent}{text}" for text in above]
        flow = self._flow(value, path)
        tail = f"  {beside}" if beside else ""
        nested = isinstance(value, (dict, list)) and value
        if not nested or ((not isinstance(value, dict) or indent) and len(start) + len(flow) < _LINE_CHARACTERS):
            self.lines.append(f"{start} {flow}{tail}")
        elif isinstance(value, dict):
            self.lines.append(f"{start}{tail}")
            self._mapping(value, path, f"{indent}  ")
        else:
            self.lines.append(f"{start}{tail}")
            for index, item in enumerate(value):
                self._entry(f"{indent}  -", item, (*path, index), f"{indent}  ")

    def _flow(self, value: Any, path: Steps) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{_scalar(k)}: {self._flow(v, (*path, k))}" for k, v in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(self._flow(item, (*path, index)) for index, item in enumerate(value)) + "]"
        return _scalar(value, self.layers[0].raw(path))

    def _comments(self, path: Steps) -> tuple[list[str], str]:
        """Those in the lines before the one that wrote a path, and the one at its end; each is given once."""
        place = self.layers[0].find(path, key=True)
        if place is None or place.line is None:
            return [], ""
        line = place.line - 1
        above: list[str] = []
        while line - len(above) > 0 and self._is_comment(line - len(above) - 1):
            above.insert(0, self.source[line - len(above) - 1].strip())
        self.told.update(range(line - len(above), line))
        if line in self.told or '"' in self.source[line] or "'" in self.source[line]:
            return above, ""
        found = _COMMENT.search(self.source[line])
        self.told.add(line)
        return above, found[1] if found else ""

    def _is_comment(self, line: int) -> bool:
        return line not in self.told and self.source[line].lstrip().startswith("#")


def _scalar(value: Any, raw: str | None = None) -> str:
    """A scalar as YAML that reads as the same value; a number as it was written."""
    if value is None:
        return "null"
    if isinstance(value, (bool, int, float)):
        return raw if raw is not None and loads(raw).value == value else json.dumps(value)
    text = str(value)
    if re.fullmatch(r"[\w./${}*@+-]+(?::[\w./${}*@+-]+)*", text) and "{" not in text and loads(text).value == text:
        return text
    return json.dumps(text, ensure_ascii=False)
