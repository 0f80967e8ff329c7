"""How a package is built: by maturin, cargo, go or make, as what lies in its folder says, and what is missing for that."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from dativo_plugin_sdk import ConfigurationError, PluginError

_LIBRARIES = ("*.so", "*.dylib", "*.dll")
_SOURCES = {
    "cargo": "install Rust: https://rustup.rs",
    "go": "install Go: https://go.dev/dl",
    "make": "install make, such as by `apt install build-essential`",
    "cc": "install a C compiler, such as by `apt install build-essential`",
    "uv": "install uv: https://docs.astral.sh/uv, or `pip install build`",
}


@dataclass(frozen=True)
class Build:
    """argv: what is run in the folder. needs: the programs for that. artefacts: globs of what it makes, below the folder."""

    argv: tuple[str, ...]
    needs: tuple[str, ...]
    artefacts: tuple[str, ...]

    def run(self, folder: Path) -> list[Path]:
        """Run it, its output on standard error, and return what it made.

        Raises: ConfigurationError: naming the programs that are not here. PluginError: when it fails.
        """
        missing = [name for name in self.needs if shutil.which(name) is None]
        if missing:
            hints = "; ".join(_SOURCES[name] for name in missing)
            raise ConfigurationError(f"building {folder} needs {' and '.join(missing)}, not found here", hint=hints)
        done = subprocess.run(self.argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
        made = sorted(path for pattern in self.artefacts for path in folder.glob(pattern))
        if done.returncode != 0 or not made:
            said = f"ended with {done.returncode}" if done.returncode else f"made no {' or '.join(self.artefacts)}"
            raise PluginError(f"{' '.join(self.argv)} in {folder} {said}", hint="its own words are above")
        return made


def build_of(folder: Path, *, library: bool = False) -> Build:
    """How a package is built: a wheel where it is one of Python's, else a library. library: a crate's library, not its wheel.

    Raises: ConfigurationError: for a folder that is no package.
    """
    has = {name: (folder / name).is_file() for name in ("pyproject.toml", "Makefile", "Cargo.toml", "go.mod")}
    if has["pyproject.toml"] and not library:
        return _wheel(folder)
    if has["Cargo.toml"]:
        more = ("--features", "library") if _says(folder / "Cargo.toml", r"library\s*=") else ()
        release = tuple(f"target/release/{pattern}" for pattern in _LIBRARIES)
        return Build(("cargo", "build", "--release", *more), ("cargo",), release)
    if has["Makefile"]:
        return Build(("make",), ("make", *(("go",) if has["go.mod"] else ()), "cc"), _LIBRARIES)
    if has["go.mod"]:
        name = f"lib{folder.resolve().name.replace('-', '_')}.so"
        return Build(("go", "build", "-buildmode=c-shared", "-o", name, "."), ("go", "cc"), (name,))
    raise ConfigurationError(
        f"{folder} is no package of a plugin",
        hint="it has none of pyproject.toml, Cargo.toml, Makefile, go.mod; a single .py file needs no build",
    )


def _wheel(folder: Path) -> Build:
    wheels = ("dist/*.whl",)
    is_native = _says(folder / "pyproject.toml", r'build-backend\s*=\s*"maturin"')
    if is_native and shutil.which("maturin") is not None:
        return Build(("maturin", "build", "--release", "--out", "dist"), ("cargo",), wheels)
    needs = ("uv", *(("cargo",) if is_native else ()))
    if shutil.which("uv") is None and find_spec("build") is not None:
        return Build((sys.executable, "-m", "build", "--wheel", "--outdir", "dist"), needs[1:], wheels)
    return Build(("uv", "build", "--wheel", "--out-dir", "dist"), needs, wheels)


def _says(path: Path, pattern: str) -> bool:
    """Whether a line of a file begins so."""
    try:
        return re.search(rf"^{pattern}", path.read_text(encoding="utf-8"), re.MULTILINE) is not None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} can't be read: {error}", hint="it is TOML in UTF-8") from error
