"""The plugin of examples/rust_plugin, built by cargo and run in a job; the how-to quotes it word for word."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, copy_example

EXAMPLE = ROOT / "examples" / "rust_plugin"
PAGE = ROOT / "docs" / "how-to" / "first-plugin-rust.md"


def test_the_how_to_quotes_the_example() -> None:
    files = [path for path in EXAMPLE.rglob("*") if path.suffix in (".toml", ".rs", ".yaml")]
    texts = [path.read_text(encoding="utf-8") for path in files if "warehouse" not in path.parts]
    quoted = re.findall(
        r"^```(?:rust|toml|yaml)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert len(quoted) >= 6
    for block in quoted:
        assert any(block in text for text in texts), block


@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("cargo") is None, reason="no cargo")
def test_a_plugin_in_rust_is_found_and_runs(tmp_path: Path) -> None:
    # Outside this repository, as a stranger has it, with the versions that are locked here.
    crate = tmp_path / "crate"
    shutil.copytree(EXAMPLE, crate, ignore=shutil.ignore_patterns("target", "Cargo.lock", "project"))
    manifest = crate / "Cargo.toml"
    manifest.write_text(manifest.read_text().replace("../../rust", str(ROOT / "rust")))
    shutil.copy(ROOT / "rust" / "Cargo.lock", crate)
    build = ["cargo", "build", "--quiet", "--features", "python,library", "--target-dir", str(ROOT / "rust" / "target")]
    python = {**os.environ, "PYO3_PYTHON": sys.executable}
    done = subprocess.run(build, cwd=crate, env=python, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # What installing the wheel would leave.
    site = tmp_path / "site"
    about = site / "dativo_squares-0.1.0.dist-info"
    about.mkdir(parents=True)
    suffix = "dylib" if sys.platform == "darwin" else "so"
    shutil.copy(ROOT / "rust" / "target" / "debug" / f"libdativo_squares.{suffix}", site / "dativo_squares.abi3.so")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: dativo-squares\nVersion: 0.1.0\n")
    (about / "entry_points.txt").write_text("[dativo.readers]\nsquares = dativo_squares:Reader\n")

    project = copy_example("rust_plugin/project", tmp_path / "project")
    result = project.run("squares", PYTHONPATH=str(site))["squares"]
    assert result["rows_written"] == 10_000
    table = project.table("squares").sort("n")
    assert table["square"].to_list() == [n * n for n in range(10_000)]

    # The same source, as a library.
    name = f"libdativo_squares.{suffix}"
    shutil.copy(ROOT / "rust" / "target" / "debug" / name, project.root)
    told = project.dativo("plugin", "test", f"{name}:squares", "--with", "{options: {to: 2500}}")
    assert told.returncode == 0, told.stdout + told.stderr
