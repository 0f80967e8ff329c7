"""index.json: which plugins an index has, in which versions, with the digest of each artefact.

    {"version": 1, "plugins": [{
        "name": "planets", "kind": "reader", "summary": "...", "language": "python", "capabilities": ["parallel"],
        "reference": "planets",
        "releases": [{"version": "1.2.0", "api_version": 1, "artefact": "planets-1.2.0-py3-none-any.whl", "sha256": "..."}]}]}

reference: how a job names it: an entry point of a wheel, or the class or symbol of a single file. artefact: a path or URL,
relative to index.json.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urljoin, urlsplit
from urllib.request import urlopen

from dativo_plugin_sdk import API_VERSION, ConfigurationError, ConnectionError, DativoError, ValidationError
from dativo_plugin_sdk.version import ApiVersions, api_range, api_text, api_versions, fits_api
from packaging.version import Version

INDEX_FILE = "index.json"
_FORMAT = 1
_TIMEOUT_S = 30
_MAX_INDEX_BYTES = 64 << 20
_MAX_ARTEFACT_BYTES = 1 << 30
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}\.(whl|py|so|dylib|dll)")
_REFERENCE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Release:
    """One version of a plugin. artefact: relative to the index. sha256: in hexadecimal digits."""

    version: str
    artefact: str
    sha256: str
    api_version: ApiVersions = API_VERSION

    @property
    def file(self) -> str:
        """The artefact's name."""
        return urlsplit(self.artefact).path.rpartition("/")[2]

    @property
    def fits(self) -> bool:
        """Whether this installation has the plugin API that it needs."""
        return fits_api(self.api_version)


@dataclass(frozen=True)
class Listed:
    """A plugin of an index. releases: oldest first."""

    name: str
    kind: str
    reference: str
    releases: tuple[Release, ...]
    summary: str = ""
    language: str = ""
    homepage: str = ""
    capabilities: tuple[str, ...] = ()

    def release(self, version: str | None = None) -> Release:
        """That version, or the newest that fits this installation: a pre-release only where there is nothing else.

        Raises: ConfigurationError: for a version that is not there, or when none fits, with the side to upgrade.
        """
        if version is not None:
            found = next((item for item in self.releases if item.version == version), None)
            if found is None:
                known = ", ".join(item.version for item in self.releases)
                raise ConfigurationError(f"{self.name} has no version {version}", hint=f"it has {known}")
            return found
        fitting = [item for item in self.releases if item.fits]
        if not fitting:
            newest = self.releases[-1]
            oldest, _ = api_range(newest.api_version)
            side = "dativo-assets" if oldest > API_VERSION else f"the plugin {self.name}: ask its author"
            needs = api_text(newest.api_version)
            raise ConfigurationError(
                f"no version of {self.name} fits plugin API {API_VERSION}; {newest.version} needs {needs}",
                hint=f"upgrade {side}",
            )
        return next((item for item in reversed(fitting) if not Version(item.version).is_prerelease), fitting[-1])


@dataclass(frozen=True)
class Index:
    """What an index has. where: a folder or URL."""

    where: str
    plugins: tuple[Listed, ...]

    def listed(self) -> tuple[Listed, ...]:
        """All plugins. Raises: ConfigurationError: for an index that can't tell."""
        return self.plugins

    def find(self, name: str) -> Listed:
        """Raises: ConfigurationError: with the nearest name."""
        known = {item.name: item for item in self.plugins}
        if name in known:
            return known[name]
        import difflib

        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean `{near[0]}`?" if near else "`dativo plugin search` lists what there is"
        raise ConfigurationError(f"{self.where} has no plugin {name!r}", hint=hint)

    def fetch(self, release: Release) -> bytes:
        """The artefact of a release. Raises: ValidationError: when it is not what the index says."""
        data = self._read(_inside(self.where, release.artefact))
        found = hashlib.sha256(data).hexdigest()
        if found != release.sha256:
            raise ValidationError(
                f"{release.file} is not what {self.where} says: sha256 {found[:12]}... for {release.sha256[:12]}...",
                "DIGEST_MISMATCH",
                hint="nothing was installed; tell whoever keeps the index",
            )
        return data

    def _read(self, where: str) -> bytes:
        return _read(where, _MAX_ARTEFACT_BYTES)


def read_index(where: str) -> Index:
    """The index in a folder or at a URL.

    Raises: ConnectionError: when it can't be read. ConfigurationError: when it is none.
    """
    try:
        value = json.loads(_read(_inside(where, INDEX_FILE), _MAX_INDEX_BYTES))
        if value["version"] != _FORMAT:
            raise ConfigurationError(f"{where} has format {value['version']!r}", hint="upgrade dativo-assets")
        return Index(where, tuple(_listed(item) for item in value["plugins"]))
    except DativoError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{where} is no index of plugins: {type(error).__name__}: {error}", hint="tell whoever keeps it"
        ) from error


def _listed(value: dict[str, Any]) -> Listed:
    known = {item.name for item in fields(Listed)}
    given = {key: item for key, item in value.items() if key in known}
    releases = tuple(sorted((_release(item) for item in value["releases"]), key=lambda item: Version(item.version)))
    found = Listed(**{**given, "releases": releases, "capabilities": tuple(value.get("capabilities", ()))})
    texts = (
        found.name,
        found.kind,
        found.reference,
        found.summary,
        found.language,
        found.homepage,
        *found.capabilities,
    )
    if not all(isinstance(text, str) for text in texts) or not releases:
        raise ValueError(f"{found.name!r} lacks what it should have")
    if not _NAME.fullmatch(found.name) or not _REFERENCE.fullmatch(found.reference):
        raise ValueError(f"{found.name!r}, {found.reference!r} is no name of a plugin")
    if found.kind not in ("reader", "writer"):
        raise ValueError(f"{found.name} is a {found.kind!r}, neither reader nor writer")
    return found


def _release(value: dict[str, Any]) -> Release:
    api_version = api_versions(value.get("api_version", API_VERSION))
    found = Release(value["version"], value["artefact"], value["sha256"], api_version)
    if not _NAME.fullmatch(found.version):
        raise ValueError(f"{found.version!r} is no version")
    if not _FILE.fullmatch(found.file) or not _SHA256.fullmatch(found.sha256):
        raise ValueError(f"{found.artefact!r} is no artefact with its sha256")
    return found


def is_url(where: str) -> bool:
    return where.startswith(("https://", "http://"))


def _inside(where: str, name: str) -> str:
    """A path or URL relative to an index; what a folder names stays in it.

    Raises: ConfigurationError.
    """
    if is_url(where):
        found = urljoin(where.rstrip("/") + "/", name)
        if is_url(found):
            return found
    else:
        folder = Path(where).resolve()
        path = (folder / name).resolve()
        if path.is_relative_to(folder):
            return str(path)
    raise ConfigurationError(f"{where} names {name!r}, which lies elsewhere", hint="tell whoever keeps the index")


def _read(where: str, most_bytes: int) -> bytes:
    try:
        with urlopen(where, timeout=_TIMEOUT_S) if is_url(where) else open(where, "rb") as source:
            data: bytes = source.read(most_bytes + 1)
    except (URLError, TimeoutError) as error:
        raise ConnectionError(
            f"{where} can't be read: {getattr(error, 'reason', error)}", hint="see plugins.index in dativo.yaml"
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"{where} can't be read: {error.strerror or error}", hint="see plugins.index in dativo.yaml"
        ) from error
    if len(data) > most_bytes:
        raise ValidationError(f"{where} has more than {most_bytes:,} bytes", hint="tell whoever keeps the index")
    return data
