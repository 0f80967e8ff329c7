"""dativo.lock: the plugins of a project's jobs as they were when somebody looked at them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from dativo_plugin_sdk import ConfigurationError
from dativo_plugin_sdk.version import ApiVersions

from dativo_assets.artefacts import changed_files, file_sha256, module_sha256
from dativo_assets.registry import PluginRef

LOCK_FILE = "dativo.lock"
_FORMAT = 1
_AGAIN = "look at what changed, then run `dativo plugin lock`"


@dataclass(frozen=True)
class Locked:
    """name: of the distribution, or the file. source: where it came from. sha256: of what is there, in hexadecimal digits."""

    kind: str
    reference: str
    name: str
    version: str
    source: str
    api_version: ApiVersions
    sha256: str


@dataclass(frozen=True)
class Lock:
    """What dativo.lock says."""

    plugins: tuple[Locked, ...]

    def check(self, ref: PluginRef) -> None:
        """Raises: ConfigurationError: for a plugin that is not in it, or not the same any more."""
        known = next((item for item in self.plugins if (item.kind, item.reference) == (ref.kind, ref.reference)), None)
        if known is None:
            raise _refused(f"{ref.kind} {ref.reference!r} is not in {LOCK_FILE}", "PLUGIN_NOT_LOCKED", ref)
        found = sha256_of(ref)
        if found != known.sha256:
            what = f"{known.name} {known.version}".strip()
            raise _refused(
                f"{ref.kind} {ref.reference!r} is not what {LOCK_FILE} has: {what}, sha256 {known.sha256[:12]}..., found "
                f"{ref.origin}, sha256 {found[:12] or 'none'}...",
                "PLUGIN_CHANGED",
                ref,
            )
        if ref.module is not None and ref.record and (changed := _tampered(_name(ref), ref.record)):
            raise _refused(
                f"{ref.kind} {ref.reference!r} was changed after it was installed: {changed}", "PLUGIN_CHANGED", ref
            )


def sha256_of(ref: PluginRef) -> str:
    """The digest of a plugin's artefact: its file, its wheel, or its package. Raises: ConfigurationError: for none."""
    found = file_sha256(ref.path) if ref.path is not None else ref.record or _package_sha256(ref.module or ref.origin)
    if not found:
        raise _refused(f"{ref.kind} {ref.reference!r} has no files that a lock could hold", "PLUGIN_NOT_LOCKED", ref)
    return found


def locked(ref: PluginRef, root: Path) -> Locked:
    """What the lock holds of a plugin, which is loaded for it. Raises: DativoError: when it can't be."""
    plugin = ref.load()
    name, version, source = (
        _installed(ref, plugin.version) if ref.path is None else _single(ref.path, plugin.version, root)
    )
    return Locked(ref.kind, ref.reference, name, version, source, plugin.api_version, sha256_of(ref))


def read_lock(root: Path) -> Lock:
    """Raises: ConfigurationError: when there is none, or it can't be understood."""
    path = root / LOCK_FILE
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value["version"] != _FORMAT:
            raise ConfigurationError(
                f"{LOCK_FILE} has format {value['version']!r}, not {_FORMAT}", hint="upgrade dativo-assets"
            )
        return Lock(tuple(Locked(**item) for item in value["plugins"]))
    except FileNotFoundError:
        raise ConfigurationError(
            f"there is no {LOCK_FILE} in {root}", details={"file": str(path)}, hint="write it: dativo plugin lock"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{LOCK_FILE} can't be read: {error}", details={"file": str(path)}, hint="write it anew: dativo plugin lock"
        ) from error


def lock_text(plugins: Iterable[Locked]) -> str:
    """The text of dativo.lock: one order, so that two of the same plugins are equal."""
    items = sorted((asdict(item) for item in plugins), key=lambda item: (item["kind"], item["reference"]))
    return json.dumps({"version": _FORMAT, "plugins": items}, indent=2, ensure_ascii=False) + "\n"


_package_sha256 = cache(module_sha256)


@cache
def _tampered(name: str, record: str) -> str | None:
    """A file of a distribution that is not what its record says; looked for once a process, which has loaded it by then."""
    return next(changed_files(distribution(name)), None)


def _name(ref: PluginRef) -> str:
    return ref.origin.rpartition(" ")[0]


def _single(path: Path, version: str, root: Path) -> tuple[str, str, str]:
    """(name, version, source) of a plugin that is one file."""
    home = root.resolve()
    return path.name, version, os.path.relpath(path, home) if path.is_relative_to(home) else str(path)


def _installed(ref: PluginRef, version: str) -> tuple[str, str, str]:
    """(name, version, source) of an installed plugin: those of its distribution, where it has one."""
    try:
        found: Distribution = distribution(_name(ref) or ref.origin.partition(".")[0])
    except (PackageNotFoundError, ValueError):
        return ref.origin, version, "module"
    direct: dict[str, Any] = json.loads(found.read_text("direct_url.json") or "{}")
    url = urlsplit(str(direct.get("url", "")))
    host = url.netloc.rpartition("@")[2]
    return str(found.name), found.version, urlunsplit((url.scheme, host, url.path, "", "")) or "index"


def _refused(message: str, code: str, ref: PluginRef) -> ConfigurationError:
    return ConfigurationError(message, code, {"plugin": ref.reference}, hint=_AGAIN)
