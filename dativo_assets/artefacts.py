"""Digests of what a plugin is made of, and who may change it. Nothing here imports a plugin."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dativo_plugin_sdk import ConfigurationError

if TYPE_CHECKING:
    from importlib.metadata import Distribution

LIBRARIES = (".so", ".dylib", ".dll")
"""What a shared library's name ends with."""
ANY = "any"
"""The platform of what is the same on all."""
_COMPILED = (".pyd", *LIBRARIES)
_CODE = (".py", *_COMPILED)
_NEEDS = ("pyproject.toml", "uv.lock")
# What an installer writes of its own, or a machine makes anew.
_OF_THE_INSTALLER = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json")


def file_sha256(path: Path) -> str:
    """In hexadecimal digits. Raises: OSError."""
    with path.open("rb") as file:
        return (
            hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _sha256(file.read())
        )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def record_sha256(record: str) -> str:
    """The digest of an installed wheel, from its RECORD: the same wherever and by whatever the wheel was installed."""
    rows = sorted(f"{name} {digest}" for name, digest in _recorded(record) if digest)
    return _sha256("\n".join(rows).encode()) if rows else ""


def module_sha256(module: str) -> str:
    """The digest of the source and library files of a module's topmost package; "" where it can't be found."""
    from importlib.util import find_spec

    try:
        spec = find_spec(module.partition(".")[0])
    except (ImportError, ValueError):
        return ""
    if spec is None:
        return ""
    folder = next(iter(spec.submodule_search_locations or ()), None)
    if folder is None:
        return file_sha256(Path(spec.origin)) if spec.origin and Path(spec.origin).is_file() else ""
    return folder_sha256(Path(folder))


def folder_sha256(folder: Path) -> str:
    """The digest of the source and library files at and below a folder, and of what they were locked with."""
    found = [f"{path.relative_to(folder).as_posix()} {file_sha256(path)}" for path in _code_below(folder)]
    return _sha256("\n".join(found).encode())


def _code_below(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(names) if name.endswith(_CODE) or name in _NEEDS)


def module_platform(module: str) -> str:
    """The platform that a module's topmost package is for: ANY where nothing in it is compiled."""
    from importlib.util import find_spec

    spec = find_spec(module.partition(".")[0])
    folder = None if spec is None else next(iter(spec.submodule_search_locations or ()), None)
    return ANY if folder is None else folder_platform(Path(folder))


def folder_platform(folder: Path) -> str:
    """As `module_platform`, of the files at and below a folder."""
    return this_platform() if any(path.suffix in _COMPILED for path in _code_below(folder)) else ANY


def wheel_platform(wheel: str) -> str:
    """The platform that an installed wheel was made for, from its file WHEEL: the tag, ANY for one of Python alone."""
    tags = sorted(line.partition(":")[2].strip() for line in wheel.splitlines() if line.startswith("Tag:"))
    return ANY if all(tag.endswith("-any") for tag in tags) else ".".join(tags)


def this_platform() -> str:
    """Where compiled code that has no tag was made for, such as "linux_x86_64"."""
    import platform

    return f"{platform.system()}_{platform.machine()}".lower()


def changed_files(distribution: Distribution) -> Iterator[str]:
    """The files of an installed wheel that are not as its RECORD says."""
    import base64

    for name, digest in _recorded(distribution.read_text("RECORD") or ""):
        if not digest:
            continue
        try:
            data = Path(str(distribution.locate_file(name))).read_bytes()
        except OSError:
            yield name
            continue
        kind, _, text = digest.partition("=")
        if base64.urlsafe_b64encode(hashlib.new(kind, data).digest()).rstrip(b"=").decode() != text:
            yield name


def check_unshared(path: Path, reference: str) -> None:
    """Refuse a plugin file that other users may change, or put another one in the place of.

    Raises: ConfigurationError: naming what has to be closed to them.
    """
    cache = path.parent / "__pycache__"  # Python runs what it finds there in place of the source
    for place, sticky in ((path, False), (path.parent, True), (cache, True)):
        try:
            mode = place.stat().st_mode
        except OSError:
            continue
        if mode & stat.S_IWOTH and not (sticky and mode & stat.S_ISVTX):
            raise ConfigurationError(
                f"plugin {reference} could be changed by every user of this machine: {place} is writable by others",
                "PLUGIN_WRITABLE",
                {"plugin": reference},
                hint=f"chmod o-w {place}",
            )


def _recorded(record: str) -> Iterator[tuple[str, str]]:
    """(file, hash) of what a wheel brought: scripts, which name a machine's paths, and compiled files are none of it."""
    import csv  # a run of plugins that are known starts without it

    for row in csv.reader(record.splitlines()):
        name, digest = (*row, "", "")[:2]
        path = Path(name)
        of_the_installer = path.name in _OF_THE_INSTALLER and path.parent.name.endswith(".dist-info")
        if name and not of_the_installer and ".." not in path.parts and path.suffix != ".pyc":
            yield name, digest
