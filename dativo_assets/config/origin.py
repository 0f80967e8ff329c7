"""Where a model was read from: the files behind it, and the place of each of its keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import PrivateAttr

from dativo_assets.errors import ConfigurationError, Location

from .fields import Frozen
from .project import PROJECT_FILE
from .yaml import Document, load_file

Steps = tuple[str | int, ...]


@dataclass(frozen=True)
class Layer:
    """A file that gives keys.

    prefix: where in the file they stand (`defaults` in dativo.yaml). moved: a path in the model to the path in the file, for
    keys that the file spells otherwise. only_moved: the file gives no other keys.
    """

    document: Document
    prefix: Steps = ()
    moved: Mapping[Steps, Steps] = field(default_factory=dict)
    only_moved: bool = False

    def find(self, path: Steps, *, key: bool) -> Location | None:
        """The place of a key or its value, None where this file gives none."""
        written = self._written(path)
        return None if written is None else self.document.location(*written, key=key)

    def raw(self, path: Steps) -> str | None:
        """A scalar as the file writes it."""
        written = self._written(path)
        return None if written is None else self.document.raw(*written)

    def compact(self) -> Layer:
        """The same with the text of the file alone."""
        return replace(self, document=self.document.compact())

    def _written(self, path: Steps) -> Steps | None:
        for end in range(len(path), 0, -1):
            if path[:end] in self.moved:
                return self.prefix + self.moved[path[:end]] + path[end:]
        return None if self.only_moved else self.prefix + path


@dataclass(frozen=True)
class Origin:
    """The files behind a model, the one that wins first.

    Equal to any other: where a job stands is no part of what it is. path: the model's own file. root: the project's folder.
    shown: the file as errors call it. A pickle leaves the text out, and the file is read again when a place is asked for.
    """

    path: Path | None = field(default=None, compare=False)
    root: Path | None = field(default=None, compare=False)
    shown: str = field(default="", compare=False)
    layers: tuple[Layer, ...] = field(default=(), compare=False, repr=False)
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "root": self.root, "shown": self.shown, "layers": (), "notes": self.notes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)

    def opened(self) -> Origin:
        """The same with its files read, for who asks for many places."""
        return replace(self, layers=self.layers or self._read_again())

    def location(self, *path: str | int, key: bool = True) -> Location:
        """The place of a key, or with key=False of its value; of what encloses it where no file writes it."""
        layers = self.layers or self._read_again()
        for layer in layers:
            if found := layer.find(path, key=key):
                return found
        for end in range(len(path) - 1, 0, -1):
            if layers and (found := layers[0].find(path[:end], key=True)):
                return found
        return Location(self.shown)

    def raw(self, *path: str | int) -> str | None:
        """A scalar as its file writes it."""
        for layer in self.layers or self._read_again():
            if (found := layer.raw(path)) is not None:
                return found
        return None

    def _read_again(self) -> tuple[Layer, ...]:
        if self.path is None:
            return ()
        layers = []
        try:
            layers.append(Layer(load_file(self.path, shown=self.shown)))
            project = (self.root or self.path.parent) / PROJECT_FILE
            if project != self.path and project.is_file():
                layers.append(Layer(load_file(project, shown=PROJECT_FILE), ("defaults",)))
        except ConfigurationError:
            pass  # it is broken by now: what it still says is all that there is
        return tuple(layers)


class Located(Frozen):
    """A model that knows the file and line of each of its keys."""

    _origin: Origin = PrivateAttr(default_factory=Origin)

    @property
    def origin(self) -> Origin:
        """The files behind the model."""
        return self._origin

    @property
    def path(self) -> Path | None:
        """The file it was read from, absolute; None for one made in Python."""
        return self._origin.path

    @property
    def root(self) -> Path:
        """The project's folder: what relative paths are relative to."""
        return self._origin.root or Path.cwd()

    @property
    def file(self) -> str:
        """The file as errors call it: relative to the project's folder where it is inside."""
        return self._origin.shown

    def location(self, *path: str | int, key: bool = True) -> Location:
        """The place of a key by its path in YAML (`"target", "options", "mode"`), or with key=False of its value.

        A key that no file writes is found at what encloses it; a model made in Python has no line at all.
        """
        return self._origin.location(*path, key=key)

    @property
    def notes(self) -> tuple[str, ...]:
        """What loading chose by itself, for a person: a path that was mapped, an older key that was left out."""
        return self._origin.notes

    def with_origin(self, origin: Origin) -> None:
        """Tells the model where it was read from; part of no comparison and no dump."""
        self._origin = origin
