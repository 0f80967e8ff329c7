"""Plugins in the index of Python packages that uv or pip is set to: found by name, for such an index has no search.

A package is asked for by its own name, else by that behind `dativo-`. What it has is read from its newest wheel for this Python,
of which nothing is run: entry points say what it is, the keywords `dativo-api-N` which plugin APIs it works with.
"""

from __future__ import annotations

import base64
import configparser
import io
import json
import os
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from email import message_from_bytes
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit
from urllib.request import Request, urlopen

from dativo_plugin_sdk import API_VERSION, ConfigurationError, ConnectionError
from dativo_plugin_sdk.version import ApiVersions, api_versions
from packaging.tags import sys_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from dativo_assets.registry import GROUPS, apis_of

from .catalog import Index, Listed, Release

NAME = "pypi"
"""How a project or a command names that index."""
_DEFAULT = "https://pypi.org/simple/"
_JSON = "application/vnd.pypi.simple.v1+json"
_TIMEOUT_S = 30
_MAX_PAGE_BYTES = 64 << 20
_MAX_WHEEL_BYTES = 1 << 30


def package_index() -> PackageIndex:
    """The index that uv or pip would ask."""
    given = (os.environ.get(name) for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"))
    found = next(filter(None, given), None) or next(_configured(), _DEFAULT)
    parts = urlsplit(found.rstrip("/") + "/")
    login, _, host = parts.netloc.rpartition("@")
    return PackageIndex(urlunsplit((parts.scheme, host, parts.path, "", "")), (), login)


def _configured() -> Iterator[str]:
    """What the settings of uv and pip say, a user's before those of the machine."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    for path in (config / "uv" / "uv.toml", Path("/etc/uv/uv.toml")):
        try:
            text = path.read_text(encoding="utf-8")
        except OSError:
            continue
        yield from re.findall(r'^\s*index-url\s*=\s*"([^"]+)"', text, re.MULTILINE)
    own = os.environ.get("PIP_CONFIG_FILE")
    for place in (own, config / "pip" / "pip.conf", Path.home() / ".pip" / "pip.conf", "/etc/pip.conf"):
        parser = configparser.RawConfigParser()
        try:
            parser.read(place or (), encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue
        if found := parser.get("global", "index-url", fallback=""):
            yield found


@dataclass(frozen=True)
class PackageIndex(Index):
    """login: user and password of it, as in a URL; "" for none."""

    login: str = ""

    def listed(self) -> tuple[Listed, ...]:
        raise ConfigurationError(
            f"{self.where} can't be searched: an index of packages tells what a name has, not which names there are",
            hint="`dativo plugin info NAME --index pypi`; packages with plugins have the keyword dativo-plugin",
        )

    def find(self, name: str) -> Listed:
        """Raises: ConfigurationError: when no package of that name, or behind `dativo-`, has a plugin for this Python."""
        for package in dict.fromkeys((canonicalize_name(name), f"dativo-{canonicalize_name(name)}")):
            releases = self._releases(package)
            if releases:
                return self._described(package, releases)
        raise ConfigurationError(
            f"{self.where} has no wheel for this Python of {name} or dativo-{name}", hint="look at the package's name"
        )

    def _releases(self, package: str) -> tuple[Release, ...]:
        """The best wheel of each version for this Python, oldest first; () for no such package."""
        page = urljoin(self.where, f"{package}/")
        data = self._get(page, _JSON, _MAX_PAGE_BYTES)
        if data is None:
            return ()
        try:
            files = json.loads(data)["files"]
            ranks = {tag: rank for rank, tag in enumerate(sys_tags())}
            found: dict[Any, tuple[int, Release]] = {}
            for file in files:
                if file.get("yanked") or not isinstance(digest := file.get("hashes", {}).get("sha256"), str):
                    continue
                try:
                    _, version, _, tags = parse_wheel_filename(file["filename"])
                except InvalidWheelFilename:
                    continue
                rank = min((ranks[tag] for tag in tags if tag in ranks), default=None)
                if rank is not None and (version not in found or rank < found[version][0]):
                    found[version] = rank, Release(str(version), urljoin(page, file["url"]), digest)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigurationError(
                f"{page} is no page of an index of packages in JSON: {type(error).__name__}: {error}",
                hint="see index-url of uv or pip",
            ) from error
        return tuple(release for _, (_, release) in sorted(found.items()))

    def _described(self, package: str, releases: tuple[Release, ...]) -> Listed:
        newest = releases[-1]
        try:
            with zipfile.ZipFile(io.BytesIO(self.fetch(newest))) as wheel:
                texts = {
                    name.rpartition("/")[2]: wheel.read(name) for name in wheel.namelist() if ".dist-info/" in name
                }
            points = configparser.RawConfigParser(delimiters=("=",))
            points.read_string(texts.get("entry_points.txt", b"").decode())
        except (zipfile.BadZipFile, configparser.Error, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{newest.file} is no wheel: {error}", hint="tell the package's author") from error
        about = message_from_bytes(texts.get("METADATA", b""))
        plugins = [
            (kind, name) for kind, group in GROUPS.items() if points.has_section(group) for name in points[group]
        ]
        if not plugins:
            raise ConfigurationError(f"package {package} has no reader and no writer of Dativo", hint="see its README")
        (kind, reference), capabilities = plugins[0], tuple(f"{kind} {name}" for kind, name in plugins)
        apis = apis_of(about.get("Keywords", ""))
        api: ApiVersions = api_versions((min(apis), max(apis))) if apis else API_VERSION
        known = (*releases[:-1], replace(newest, api_version=api))
        return Listed(package, kind, reference, known, about.get("Summary", ""), "", "", capabilities)

    def _read(self, where: str) -> bytes:
        data = self._get(where, "*/*", _MAX_WHEEL_BYTES)
        if data is None:
            raise ConnectionError(f"{where} is not there", hint="the index may be wrong about its files; try again")
        return data

    def _get(self, where: str, accept: str, most_bytes: int) -> bytes | None:
        """What is there; None where nothing is. The login goes to the index's own host alone."""
        headers = {"Accept": accept}
        if self.login and urlsplit(where).netloc == urlsplit(self.where).netloc:
            headers["Authorization"] = "Basic " + base64.b64encode(unquote(self.login).encode()).decode()
        try:
            with urlopen(Request(where, headers=headers), timeout=_TIMEOUT_S) as answer:
                data: bytes = answer.read(most_bytes + 1)
        except HTTPError as error:
            if error.code == 404:
                return None
            raise ConnectionError(
                f"{where} answers {error.code} {error.reason}", hint="see index-url of uv or pip"
            ) from error
        except (URLError, TimeoutError) as error:
            reason = getattr(error, "reason", error)
            raise ConnectionError(f"{where} can't be read: {reason}", hint="see index-url of uv or pip") from error
        if len(data) > most_bytes:
            raise ConnectionError(f"{where} has more than {most_bytes:,} bytes", hint="tell whoever keeps the index")
        return data
