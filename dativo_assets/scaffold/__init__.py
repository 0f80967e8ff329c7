"""Packages that `dativo plugin new` makes: texts with `$name` and `$Name`, one module a language."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import Literal

from dativo_plugin_sdk import ConfigurationError

from .python import READER, WRITER

Kind = Literal["reader", "writer"]
PACKAGES: dict[tuple[Kind, str], dict[str, str]] = {("reader", "python"): READER, ("writer", "python"): WRITER}


def write_package(folder: Path, name: str, kind: Kind, language: str) -> list[str]:
    """Write a package into a new folder, and return its files' names.

    Raises: ConfigurationError: for a name that is none, or a folder that has something in it.
    """
    module = name.replace("-", "_")
    if not module.isidentifier() or not module.islower() or not module.isascii():
        raise ConfigurationError(f"{name!r} is no name of a package", hint="small letters, digits and dashes")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigurationError(f"{folder} exists already", hint="choose another name; nothing was written")
    words = {"dist": name, "module": module, "Class": "".join(part.title() for part in module.split("_"))}
    written = []
    for path, text in PACKAGES[kind, language].items():
        target = folder / Template(path).substitute(words)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(Template(text).substitute(words), encoding="utf-8")
        written.append(str(target.relative_to(folder)))
    return written
