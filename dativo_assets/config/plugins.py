"""Which plugins a project may use, and where more are found."""

from __future__ import annotations

from pydantic import Field

from .fields import Flag, Frozen, Path, Texts


class Plugins(Frozen):
    """Which plugins the project's jobs may use."""

    allow: Texts | None = Field(
        None,
        description="The plugins allowed: references as jobs write them, globs of these (`rust_*`), and folders that end in a "
        "slash, whose files are allowed. Default: all.",
    )
    locked: Flag = Field(
        False, description="Every run is one with `--locked`: plugins must be as dativo.lock has them."
    )
    index: Path | None = Field(
        None,
        description="Where `dativo plugin search` and `install` look: a folder or URL that holds an index.json, "
        "or `pypi`: uv's or pip's own index of packages.",
    )
