"""The examples do what their pages say."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from .conftest import copy_example


@pytest.mark.timeout(180)
def test_the_demo_materializes_everything_and_tells_what_came_of_it(tmp_path: Path) -> None:
    project = copy_example("flights", tmp_path / "flights")
    argv = [sys.executable, str(project.root / "demo.py")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for path in (project.root / "jobs").glob("*.yaml"):
        assert path.stem in done.stdout
    assert "328,521" in done.stdout and "8,255" in done.stdout
    assert (project.root / ".dagster").is_dir()


@pytest.mark.skipif(find_spec("dativo_rust_csv") is None, reason="no cargo built the native plugins")
def test_the_native_example_sets_the_impossible_reading_aside(tmp_path: Path) -> None:
    project = copy_example("native", tmp_path / "native")
    result = project.run("readings")["readings"]
    assert (result["rows_read"], result["rows_written"], result["rows_rejected"]) == (144, 143, 1)
