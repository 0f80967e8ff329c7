"""The plugin of examples/rust_plugin, built by cargo and run in a job; the how-to quotes it word for word."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from .conftest import ROOT, copy_example
from .rust_example import build

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
    site, library = build(
        "rust_plugin", "dativo_squares", "[dativo.readers]\nsquares = dativo_squares:Reader\n", tmp_path
    )
    project = copy_example("rust_plugin/project", tmp_path / "project")
    result = project.run("squares", PYTHONPATH=str(site))["squares"]
    assert result["rows_written"] == 10_000
    table = project.table("squares").sort("n")
    assert table["square"].to_list() == [n * n for n in range(10_000)]

    # The same source, as a library.
    shutil.copy(library, project.root)
    for symbol in ("squares", "cubes"):
        told = project.dativo("plugin", "test", f"{library.name}:{symbol}", "--with", "{options: {to: 2500}}")
        assert told.returncode == 0, told.stdout + told.stderr
    project.write("jobs/cubes.yaml", f"source: {{reader: '{library.name}:cubes', options: {{too: 5}}}}")
    told = project.dativo("run", "cubes")
    assert told.returncode == 2
    assert "too" in told.stderr
    project.write("jobs/cubes.yaml", f"source: {{reader: '{library.name}:cubes'}}")
    assert project.run("cubes")["cubes"]["rows_written"] == 100, "its default"
