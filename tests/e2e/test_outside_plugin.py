"""A plugin package that this repository knows nothing of."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, Folder

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "stranger-for-dativo"
version = "3.2.1"
dependencies = ["dativo-plugin-sdk"]

[project.entry-points."dativo.readers"]
stranger = "stranger:Stranger"

[project.entry-points."dativo.writers"]
stranger_lines = "stranger:Lines"

[tool.hatch.build.targets.wheel]
only-include = ["stranger.py"]
"""
MODULE = """
from pathlib import Path

from dativo_plugin_sdk import BaseReader, BaseWriter


class Stranger(BaseReader):
    __version__ = "3.2.1"

    def extract(self):
        yield [{"n": n} for n in range(1000)]


class Lines(BaseWriter):
    needs_path = True

    def write_batch(self, records, file_counter):
        path = Path(self.output_base) / f"part-{file_counter}.txt"
        path.write_text("".join(f"{row['n']}\\n" for row in records))
        return [{"path": str(path), "size_bytes": path.stat().st_size, "record_count": len(records)}]
"""


def uv() -> str:
    found = shutil.which("uv")
    bundled = ROOT / ".cache" / "uv" / "bin" / "uv"
    return str(bundled) if bundled.exists() else found or "uv"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder on the import path with the package built and installed in it, its metadata included."""
    package, target = tmp_path / "package", tmp_path / "site"
    package.mkdir()
    (package / "pyproject.toml").write_text(PYPROJECT)
    (package / "stranger.py").write_text(MODULE)
    argv = [uv(), "pip", "install", "--no-deps", "--python", sys.executable, "--target", str(target), str(package)]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def test_an_installed_package_is_found_by_its_entry_points(folder: Folder, installed: Path) -> None:
    folder.write("jobs/numbers.yaml", "source: {reader: stranger}\n")
    folder.write(
        "jobs/lines.yaml",
        "source: {reader: stranger}\ntarget: {writer: stranger_lines, path: warehouse/lines}\n",
    )
    before = folder.dativo("run", "numbers")
    assert before.returncode == 2
    assert "stranger" in before.stdout + before.stderr

    results = folder.run("numbers", "lines", PYTHONPATH=str(installed))
    assert {name: result["rows_written"] for name, result in results.items()} == {"numbers": 1000, "lines": 1000}
    assert sorted(folder.table("numbers")["n"].to_list()) == list(range(1000))
    listed = folder.dativo("plugins", "--json", PYTHONPATH=str(installed))
    assert "stranger_lines" in listed.stdout and "stranger-for-dativo" in listed.stdout
