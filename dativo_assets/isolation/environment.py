"""A virtual environment of a plugin's own, made by uv from the lock file that stands beside it.

<folder>/pyproject.toml, uv.lock     what the plugin needs: dativo-plugin-sdk, pyarrow, and its own
<project>/.dativo/envs/<digest>/     the environment, made once for each lock
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from dativo_plugin_sdk import ConfigurationError, PluginError

from dativo_assets.artefacts import check_unshared, folder_sha256
from dativo_assets.registry import Kind, PluginRef

_LOCK, _NEEDS = "uv.lock", "pyproject.toml"
_ENVIRONMENTS = Path(".dativo", "envs")
_DIGITS = 16


def environment_ref(kind: Kind, reference: str, folder: Path) -> PluginRef:
    """A plugin in the environment of a folder: an entry point of it, path.py:Class in the folder, or module:Class.

    Raises: ConfigurationError: for a folder without a lock, or that others may write to.
    """
    for name in (_NEEDS, _LOCK):
        if not (folder / name).is_file():
            raise ConfigurationError(
                f"the environment of plugin {reference} has no {name} in {folder}",
                details={"plugin": reference},
                hint="`uv init --bare`, `uv add dativo-plugin-sdk pyarrow` and `uv lock` there make one",
            )
        check_unshared(folder / name, reference)
    return PluginRef(kind, reference, str(folder), record=folder_sha256(folder))


def python_of(folder: Path, root: Path) -> Path:
    """The interpreter of the environment, which is made if it is not there. It runs no build: all that it holds are wheels.

    Raises: PluginError: when uv is missing or fails, with its words.
    """
    made_of = b"\0".join([*((folder / name).read_bytes() for name in (_NEEDS, _LOCK)), sys.version.encode()])
    place = root / _ENVIRONMENTS / hashlib.sha256(made_of).hexdigest()[:_DIGITS]
    python = place / "bin" / "python"
    complete = place / "complete"
    if complete.is_file():
        return python
    place.parent.mkdir(parents=True, exist_ok=True)
    (place.parent / ".gitignore").write_text("*\n")
    with open(place.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.is_file():
            _sync(folder, place)
            complete.touch()
    return python


def _sync(folder: Path, place: Path) -> None:
    uv = shutil.which("uv")
    if uv is None:
        raise PluginError(f"the environment of {folder} needs uv, which is not here", hint="install uv")
    argv = [uv, "sync", "--quiet", "--project", str(folder), "--python", sys.executable]
    argv += ["--locked", "--no-dev", "--no-build", "--no-install-project"]
    variables = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    variables["UV_PROJECT_ENVIRONMENT"] = str(place)
    done = subprocess.run(argv, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PluginError(
            f"uv can't make the environment of {folder}: {' '.join(done.stderr.split())[-1000:]}",
            hint=f"see that `uv sync --locked --no-build --project {folder}` works",
        )
