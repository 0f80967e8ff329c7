"""dativo.lock: the plugins of a project's jobs as they were when somebody looked at them, on each platform where somebody did."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from dativo_plugin_sdk import ConfigurationError
from dativo_plugin_sdk.version import ApiVersions, api_versions

from dativo_assets.artefacts import (
    ANY,
    LIBRARIES,
    changed_files,
    file_sha256,
    folder_platform,
    module_platform,
    module_sha256,
    this_platform,
    wheel_platform,
)
from dativo_assets.registry import PluginRef

LOCK_FILE = "dativo.lock"
_FORMAT = 1
_AGAIN = "look at what changed, then run `dativo plugin lock`"


@dataclass(frozen=True)
class Locked:
    """name: of the distribution, or the file. source: where it came from. sha256: of what is there, in hexadecimal digits, by
    platform: "any", the tag of a wheel, or the system and machine of a library.
    """

    kind: str
    reference: str
    name: str
    version: str
    source: str
    api_version: ApiVersions
    sha256: Mapping[str, str]

    def beside(self, before: Locked) -> Locked:
        """This one, with what another has of other platforms, where both are of one version."""
        is_same = replace(before, sha256=self.sha256) == self
        return replace(self, sha256={**before.sha256, **self.sha256}) if is_same and ANY not in self.sha256 else self


@dataclass(frozen=True)
class Lock:
    """What dativo.lock says."""

    plugins: tuple[Locked, ...]

    def check(self, ref: PluginRef) -> None:
        """Raises: ConfigurationError: for a plugin that is not in it, or not the same any more."""
        known = next((item for item in self.plugins if (item.kind, item.reference) == (ref.kind, ref.reference)), None)
        if known is None:
            raise _refused(f"{ref.kind} {ref.reference!r} is not in {LOCK_FILE}", "PLUGIN_NOT_LOCKED", ref)
        found, platform = sha256_of(ref), platform_of(ref)
        wanted = known.sha256.get(platform)
        what = f"{known.name} {known.version}".strip()
        if wanted is None:
            raise _refused(
                f"{ref.kind} {ref.reference!r} is in {LOCK_FILE} for {', '.join(sorted(known.sha256))}, not for {platform}",
                "PLUGIN_NOT_LOCKED",
                ref,
            )
        if found != wanted:
            raise _refused(
                f"{ref.kind} {ref.reference!r} is not what {LOCK_FILE} has: {what}, sha256 {wanted[:12]}..., found "
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


def platform_of(ref: PluginRef) -> str:
    """Which platform a plugin's artefact is for."""
    if ref.path is not None:
        return this_platform() if ref.path.suffix in LIBRARIES else ANY
    if ref.module is None and ref.record:  # an environment of its own
        return folder_platform(Path(ref.origin))
    if ref.record:
        return wheel_platform(distribution(_name(ref)).read_text("WHEEL") or "")
    return module_platform(ref.module or ref.origin)


def locked(ref: PluginRef, root: Path) -> Locked:
    """What the lock holds of a plugin, which is loaded for it. Raises: DativoError: when it can't be."""
    plugin = ref.load()
    name, version, source = (
        _installed(ref, plugin.version) if ref.path is None else _single(ref.path, plugin.version, root)
    )
    sha256 = {platform_of(ref): sha256_of(ref)}
    return Locked(ref.kind, ref.reference, name, version, source, api_versions(plugin.api_version), sha256)


def read_lock(root: Path) -> Lock:
    """Raises: ConfigurationError: when there is none, or it can't be understood."""
    path = root / LOCK_FILE
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value["version"] != _FORMAT:
            raise ConfigurationError(
                f"{LOCK_FILE} has format {value['version']!r}, not {_FORMAT}", hint="upgrade dativo-assets"
            )
        return Lock(tuple(_read(item) for item in value["plugins"]))
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
    items = [
        {**asdict(item), "sha256": dict(sorted(item.sha256.items()))}
        for item in sorted(plugins, key=lambda item: (item.kind, item.reference))
    ]
    return json.dumps({"version": _FORMAT, "plugins": items}, indent=2, ensure_ascii=False) + "\n"


def _read(item: Mapping[str, Any]) -> Locked:
    found = Locked(**{**item, "api_version": api_versions(item["api_version"])})
    if not isinstance(found.sha256, dict) or not all(isinstance(digest, str) for digest in found.sha256.values()):
        raise ValueError(f"the sha256 of {found.reference} is no object of platforms")
    return found


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
