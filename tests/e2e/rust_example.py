"""An example in Rust, built by cargo outside this repository, as a stranger has it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .conftest import ROOT

SUFFIX = "dylib" if sys.platform == "darwin" else "so"


def build(example: str, module: str, entry_points: str, folder: Path) -> tuple[Path, Path]:
    """The crate's own tests pass, with the versions that are locked here, and it is built.

    entry_points: of its wheel. Returns: the folder that installing the wheel would leave, for PYTHONPATH; and the library.
    """
    crate, target = folder / "crate", ROOT / "rust" / "target"
    shutil.copytree(
        ROOT / "examples" / example, crate, ignore=shutil.ignore_patterns("target", "Cargo.lock", "project")
    )
    manifest = crate / "Cargo.toml"
    manifest.write_text(manifest.read_text().replace("../../rust", str(ROOT / "rust")))
    shutil.copy(ROOT / "rust" / "Cargo.lock", crate)
    python = {**os.environ, "PYO3_PYTHON": sys.executable}
    for command in (["test"], ["build", "--features", "python,library"]):
        argv = ["cargo", *command, "--quiet", "--target-dir", str(target)]
        done = subprocess.run(argv, cwd=crate, env=python, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    library = folder / f"lib{module}.{SUFFIX}"
    shutil.copy(target / "debug" / library.name, library)
    site, name = folder / "site", module.replace("_", "-")
    about = site / f"{module}-0.1.0.dist-info"
    about.mkdir(parents=True)
    shutil.copy(library, site / f"{module}.abi3.so")
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    (about / "entry_points.txt").write_text(entry_points)
    return site, library
