"""A value in a contract file that knows its place, so that what is wrong with it is told with file:line:column."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from dativo_assets.config import nearest
from dativo_assets.config.yaml import Document
from dativo_assets.errors import ConfigurationError, Location


@dataclass(frozen=True)
class Node:
    """The value at a path of a document."""

    document: Document
    value: Any
    path: tuple[str | int, ...] = ()

    @property
    def location(self) -> Location:
        """Where the value's key stands; for an entry of a list, the entry."""
        return self.document.location(*self.path) or Location(self.document.file)

    def error(self, message: str, hint: str | None = None) -> ConfigurationError:
        return ConfigurationError(message, details=self.location.details(), hint=hint)

    def get(self, key: str) -> Node | None:
        """The value under a key, None where it is absent or null."""
        found = self.mapping().get(key)
        return None if found is None else Node(self.document, found, (*self.path, key))

    def mapping(self) -> dict[str, Any]:
        """Raises: ConfigurationError: when it is none."""
        if not isinstance(self.value, dict):
            raise self.error(f"{self._what()} must be a mapping")
        return self.value

    def items(self) -> Iterator[Node]:
        """The entries of a list. Raises: ConfigurationError: when it is none."""
        if not isinstance(self.value, list):
            raise self.error(f"{self._what()} must be a list", "write one `- ` a line, or [a, b]")
        for index, value in enumerate(self.value):
            yield Node(self.document, value, (*self.path, index))

    def listed(self, key: str) -> Iterator[Node]:
        """The entries of the list under a key; none where it is absent."""
        found = self.get(key)
        return iter(()) if found is None else found.items()

    def text(self, key: str) -> str | None:
        """The text under a key; a number is its characters as written."""
        found = self.get(key)
        if found is None:
            return None
        if isinstance(found.value, str):
            return found.value
        if isinstance(found.value, (int, float)) and not isinstance(found.value, bool):
            return self.document.raw(*found.path) or str(found.value)
        raise found.error(f"`{key}` must be text")

    def flag(self, key: str) -> bool:
        """The yes or no under a key; absent is no."""
        found = self.get(key)
        if found is not None and not isinstance(found.value, bool):
            raise found.error(f"`{key}` must be true or false")
        return found is not None and bool(found.value)

    def number(self, key: str) -> float | int | None:
        found = self.get(key)
        if found is None:
            return None
        if isinstance(found.value, bool) or not isinstance(found.value, (int, float)):
            raise found.error(f"`{key}` must be a number")
        return found.value

    def whole(self, key: str) -> int | None:
        """The number under a key, 0 or more."""
        found = self.number(key)
        if found is None or (isinstance(found, int) and found >= 0):
            return found if found is None else int(found)
        node = self.get(key)
        assert node is not None
        raise node.error(f"`{key}` must be a whole number, 0 or more")

    def scalar(self, key: str) -> Any:
        """A bound: a number or a text."""
        found = self.get(key)
        if found is not None and (isinstance(found.value, bool) or not isinstance(found.value, (str, int, float))):
            raise found.error(f"`{key}` must be a number or a text")
        return None if found is None else found.value

    def only(self, known: Iterable[str]) -> None:
        """Raises: ConfigurationError: at the first key that is not known, with the nearest one that is."""
        names = frozenset(known)
        for key in self.mapping():
            if key not in names:
                guess = nearest(key, names)
                hint = f"did you mean `{guess}`?" if guess else f"keys are: {', '.join(sorted(names))}"
                raise Node(self.document, None, (*self.path, key)).error(f"unknown key `{key}`", hint)

    def _what(self) -> str:
        return f"`{self.path[-1]}`" if self.path and isinstance(self.path[-1], str) else "this"
