"""A plugin as a child has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Loaded:
    """A plugin that was imported. kind: reader or writer. about: JSON of it: version, api_version. factory: as `lift_reader` or
    `lift_writer` makes it. options_schema: its options as JSON Schema, which takes a while to make.
    """

    kind: str
    target: Any
    factory: Callable[..., Any]
    about: Mapping[str, Any]
    options_schema: Callable[[], Any]
