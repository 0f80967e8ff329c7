"""Plugins in shared libraries, each an example built by its own Makefile, tested by the conformance suite and run in its job."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from dativo_plugin_sdk.library import header_folder

from .conftest import Folder, copy_example


def build(example: str, target: Path, compiler: str) -> Folder:
    """The project of an example, its library beside its jobs."""
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    project = copy_example(example, target)
    environment = {**os.environ, "SDK": str(header_folder())}
    done = subprocess.run(
        ["make", "-e"], cwd=project.root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return project


@pytest.mark.parametrize(("example", "compiler"), [("c_reader", "cc")])
def test_a_reader_in_a_library_conforms_and_runs(tmp_path: Path, example: str, compiler: str) -> None:
    project = build(example, tmp_path / "project", compiler)
    told = project.dativo("plugin", "test", "libsquares.so:squares", "--with", "{options: {to: 2500}}")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "all passed" in told.stdout
    result = project.run("squares")["squares"]
    assert result["rows_written"] == 10_000
    table = project.table("squares").sort("n")
    assert table["square"].to_list() == [n * n for n in range(10_000)]


def test_a_wrong_option_of_a_library_is_told_at_its_line(tmp_path: Path) -> None:
    project = build("c_reader", tmp_path / "project", "cc")
    job = project.root / "jobs" / "squares.yaml"
    job.write_text(job.read_text().replace("to: 10000", "to: -1"))
    told = project.dativo("run", "squares")
    assert told.returncode == 2
    assert "jobs/squares.yaml:1" in told.stderr
    assert "greater than or equal to 0" in told.stderr
