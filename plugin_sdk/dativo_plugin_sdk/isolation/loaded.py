"""A plugin as a child has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Loaded:
    """A plugin that was imported. kind: reader or writer. about: JSON of it: version, api_version, options_schema. factory: as
    `lift_reader` or `lift_writer` makes it.
    """

    kind: str
    target: Any
    factory: Callable[..., Any]
    about: Mapping[str, Any]
