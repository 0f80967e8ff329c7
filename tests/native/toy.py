"""The toy plugin of rust/crates, built for a test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

RUST = Path(__file__).parents[2] / "rust"
# pyo3 is built anew whenever these change: scripts/test and scripts/lint give cargo the same ones.
PYO3 = {"PYO3_PYTHON": sys.executable, "PYO3_BUILD_EXTENSION_MODULE": "1"}


def build(feature: str, target: Path) -> Path:
    """Build it with a feature and put it at `target`: beside it, cargo keeps the same file for other features."""
    if shutil.which("cargo") is None:
        pytest.skip("no cargo")
    command = ["cargo", "build", "--locked", "-q", "-p", "toy-plugin", "--features", feature, "--message-format=json"]
    # What is preloaded here, a sanitizer, is for the toy.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"} | PYO3
    built = subprocess.run(command, cwd=RUST, env=environment, check=True, capture_output=True, text=True)
    artifacts = [json.loads(line) for line in built.stdout.splitlines() if '"compiler-artifact"' in line]
    names = [name for one in artifacts if one["target"]["name"] == "toy_plugin" for name in one["filenames"]]
    (found,) = [name for name in names if name.endswith((".so", ".dylib"))]
    return Path(shutil.copy(found, target))
