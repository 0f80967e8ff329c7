"""What was installed from an index, and how: wheels by uv or pip, single files by a copy into the project.

<project>/plugins/<file>          the file of a plugin that is one
<project>/plugins/installed.json  name -> version, kind, reference, file and sha256 of everything installed from an index
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from dativo_plugin_sdk import ConfigurationError, PluginError

from dativo_assets.artefacts import file_sha256

from .catalog import Index, Listed, Release

FOLDER = "plugins"
_RECORD = "installed.json"


@dataclass(frozen=True)
class Installed:
    """reference: as a job writes it. file: its own below the project for a single file, the wheel's name else."""

    name: str
    version: str
    kind: str
    reference: str
    file: str
    sha256: str
    index: str

    @property
    def is_wheel(self) -> bool:
        return self.file.endswith(".whl")


class Plugins:
    """The plugins of a project that came from an index. target: where wheels go; None for this environment."""

    def __init__(self, root: Path, target: str | None = None) -> None:
        self._root = root
        self._record = root / FOLDER / _RECORD
        self._target = target

    def all(self) -> dict[str, Installed]:
        """By name. Raises: ConfigurationError: when the record can't be understood."""
        try:
            value = json.loads(self._record.read_text(encoding="utf-8"))
            return {name: Installed(**item) for name, item in value.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ConfigurationError(f"{self._record} can't be read: {error}", hint="remove it") from error

    def get(self, name: str) -> Installed:
        """Raises: ConfigurationError: for what is not installed from an index."""
        known = self.all()
        if name not in known:
            told = f"installed: {', '.join(sorted(known))}" if known else "nothing was installed from an index"
            raise ConfigurationError(f"plugin {name!r} is not installed", hint=told)
        return known[name]

    def install(self, index: Index, plugin: Listed, release: Release) -> Installed:
        """Install one release in place of another. Raises: DativoError: what was there before is still there."""
        data = index.fetch(release)
        known = self.all()
        if release.file.endswith(".whl"):
            reference, file = plugin.reference, release.file
            self._install_wheel(release.file, data)
        else:
            file = f"{FOLDER}/{release.file}"
            reference = f"{file}:{plugin.reference}"
            self._copy(plugin.name, self._root / file, data)
        found = Installed(plugin.name, release.version, plugin.kind, reference, file, release.sha256, index.where)
        before = known.get(plugin.name)
        self._note({**known, plugin.name: found})
        if before is not None and not before.is_wheel and before.file != found.file:
            (self._root / before.file).unlink(missing_ok=True)
        return found

    def remove(self, name: str) -> Installed:
        """Raises: ConfigurationError: for what is not installed. PluginError: when uv or pip fails."""
        known = self.all()
        found = self.get(name)
        if found.is_wheel:
            self._installer("uninstall", [found.file.partition("-")[0].replace("_", "-")])
        else:
            (self._root / found.file).unlink(missing_ok=True)
        del known[name]
        self._note(known)
        return found

    def changed(self, plugin: Installed) -> str | None:
        """What is wrong with the file of an installed plugin; None: nothing, or it is a wheel."""
        if plugin.is_wheel:
            return None
        try:
            same = file_sha256(self._root / plugin.file) == plugin.sha256
        except OSError as error:
            return f"{plugin.file} can't be read: {error.strerror}"
        return None if same else f"{plugin.file} was changed since it was installed"

    def _copy(self, name: str, path: Path, data: bytes) -> None:
        before = self.all().get(name)
        if path.exists() and (before is None or self._root / before.file != path):
            raise ConfigurationError(
                f"{path} is there already, and was not installed as {name}", hint="move it, or remove that plugin first"
            )
        _write(path, data)

    def _install_wheel(self, name: str, data: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, name)
            path.write_bytes(data)
            self._installer("install", [str(path)])

    def _installer(self, verb: str, arguments: Sequence[str]) -> None:
        place = [] if self._target is None else ["--target", self._target]
        if uv := shutil.which("uv"):
            wheels = ["--no-build"] if verb == "install" else []  # a build would run code of what is installed
            argv = [uv, "pip", verb, "--quiet", "--python", sys.executable, *wheels, *place]
        elif importlib.util.find_spec("pip") is not None:
            argv = [sys.executable, "-m", "pip", verb, "--quiet", "--disable-pip-version-check"]
            argv += ["--only-binary", ":all:", *place] if verb == "install" else ["--yes"]
        else:
            raise PluginError("neither uv nor pip is here to install a wheel", hint="install uv")
        done = subprocess.run([*argv, *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise PluginError(f"{Path(argv[0]).name} can't {verb} it: {' '.join(said[-3:])}")

    def _note(self, known: dict[str, Installed]) -> None:
        items = {name: asdict(item) for name, item in sorted(known.items())}
        _write(self._record, (json.dumps(items, indent=2, ensure_ascii=False) + "\n").encode())


def _write(path: Path, data: bytes) -> None:
    """The whole file or none of it, and nobody else's to write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}-{os.urandom(4).hex()}")
    try:
        new.write_bytes(data)
        new.chmod(0o644)
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)
