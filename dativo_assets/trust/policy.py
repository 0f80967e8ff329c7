"""What dativo.yaml allows, checked before anything of a plugin is imported."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from dativo_plugin_sdk import ConfigurationError

from dativo_assets.registry import PluginRef

from .lock import Lock, read_lock

if TYPE_CHECKING:
    from dativo_assets.config.project import Project


@dataclass(frozen=True)
class Policy:
    """allow: references, globs of them, and folders that end in a slash; None for all. lock: None where none is asked for."""

    root: Path
    allow: tuple[str, ...] | None
    lock: Lock | None

    @classmethod
    def of(cls, project: Project) -> Policy:
        """Raises: ConfigurationError: when a lock is asked for and can't be read."""
        given = project.config.plugins
        said = given is not None and given.locked
        locked = said if project.locked is None else project.locked
        return cls(project.root, None if given is None else given.allow, read_lock(project.root) if locked else None)

    def check(self, ref: PluginRef) -> None:
        """Raises: ConfigurationError: for a plugin that is not allowed, or not what was locked."""
        if self.allow is not None and not is_allowed(ref, self.root, self.allow):
            raise ConfigurationError(
                f"{ref.kind} {ref.reference!r} is not among the plugins that dativo.yaml allows",
                "PLUGIN_NOT_ALLOWED",
                {"plugin": ref.reference},
                hint="add it to `plugins.allow` in dativo.yaml if you trust it",
            )
        if self.lock is not None:
            self.lock.check(ref, self.root)


def canonical(ref: PluginRef, root: Path) -> str:
    """A reference without the ways to write one file in several forms: its path below the project, else the whole one; for a
    plugin in an environment of its own, below the folder of that.
    """
    place = _place(ref)
    if place is None:
        return ref.reference
    home = root.resolve()
    path = place.relative_to(home) if place.is_relative_to(home) else place
    return f"{path.as_posix()}:{ref.attribute}" if ref.path is not None else f"{path.as_posix()}/{ref.reference}"


def is_allowed(ref: PluginRef, root: Path, allow: Iterable[str]) -> bool:
    """Whether an entry names the reference, or the folder that it is in."""
    name, place = canonical(ref, root), _place(ref)
    for entry in allow:
        if entry.endswith("/"):
            if place is not None and place.is_relative_to((root / entry).resolve()):
                return True
        elif fnmatchcase(name, entry):
            return True
    return False


def _place(ref: PluginRef) -> Path | None:
    """A plugin's file, or the folder of its environment."""
    if ref.path is None and ref.module is None and ref.record:
        return Path(ref.origin)
    return ref.path
