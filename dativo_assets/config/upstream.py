"""What the entries of a job's `depends_on` name."""

from __future__ import annotations

from collections.abc import Iterable

EXTERNAL_PREFIX = "external:"


def is_external(name: str) -> bool:
    """Whether an entry of depends_on names an asset of another code location."""
    return name.startswith(EXTERNAL_PREFIX) or "/" in name


def upstream(depends_on: Iterable[str]) -> tuple[str, ...]:
    """The jobs of this project."""
    return tuple(name for name in depends_on if not is_external(name))


def external_upstream(depends_on: Iterable[str]) -> tuple[str, ...]:
    """The keys (`shop/orders`) of assets of other code locations."""
    return tuple(name.removeprefix(EXTERNAL_PREFIX) for name in depends_on if is_external(name))
