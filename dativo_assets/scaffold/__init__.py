"""Packages that `dativo plugin new` makes. Those in Python are texts with `$name` and `$Name`; the others are the examples."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import Literal

from dativo_plugin_sdk import ConfigurationError

from .native import EXAMPLES
from .project import project_texts
from .python import READER, WRITER

Kind = Literal["reader", "writer"]
LANGUAGES = ("python", "c", "go", "rust")
_PYTHON: dict[Kind, dict[str, str]] = {"reader": READER, "writer": WRITER}


def write_package(folder: Path, name: str, kind: Kind, language: str, *, with_project: bool = False) -> list[str]:
    """Write a package into a new folder, and return its files' names. with_project: a Dagster project that uses it, too.

    Raises: ConfigurationError: for a name that is none, a folder that has something in it, a kind that has no example.
    """
    module = name.replace("-", "_")
    if not module.isidentifier() or not module.islower() or not module.isascii():
        raise ConfigurationError(f"{name!r} is no name of a package", hint="small letters, digits and dashes")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigurationError(f"{folder} exists already", hint="choose another name; nothing was written")
    written = []
    texts = _texts(name, module, kind, language)
    for path, text in (texts | project_texts(texts) if with_project else texts).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def _texts(name: str, module: str, kind: Kind, language: str) -> dict[str, str]:
    if language != "python":
        if (kind, language) not in EXAMPLES:
            known = sorted(lang for one, lang in EXAMPLES if one == kind)
            raise ConfigurationError(
                f"there is no {kind} in {language} to begin with", hint=f"--lang python, {' or '.join(known)}"
            )
        return EXAMPLES[kind, language].texts(name, module)
    words = {"dist": name, "module": module, "Class": "".join(part.title() for part in module.split("_"))}
    return {Template(path).substitute(words): Template(text).substitute(words) for path, text in _PYTHON[kind].items()}
