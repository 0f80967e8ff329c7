"""The format of examples/rust_writer, built by cargo, writes what a reader in Python gives."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, copy_example

EXAMPLE = ROOT / "examples" / "rust_writer"


@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("cargo") is None, reason="no cargo")
def test_a_reader_in_python_and_a_writer_in_rust_share_a_job(tmp_path: Path) -> None:
    # Outside this repository, as a stranger has it, with the versions that are locked here.
    crate = tmp_path / "crate"
    shutil.copytree(EXAMPLE, crate, ignore=shutil.ignore_patterns("target", "Cargo.lock", "project"))
    manifest = crate / "Cargo.toml"
    manifest.write_text(manifest.read_text().replace("../../rust", str(ROOT / "rust")))
    shutil.copy(ROOT / "rust" / "Cargo.lock", crate)
    python = {**os.environ, "PYO3_PYTHON": sys.executable}
    target = ["--target-dir", str(ROOT / "rust" / "target")]
    for command in (["test"], ["build", "--features", "python"]):
        argv = ["cargo", *command, "--quiet", *target]
        done = subprocess.run(argv, cwd=crate, env=python, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    # What installing the wheel would leave.
    site = tmp_path / "site"
    about = site / "dativo_tsv-0.1.0.dist-info"
    about.mkdir(parents=True)
    suffix = "dylib" if sys.platform == "darwin" else "so"
    shutil.copy(ROOT / "rust" / "target" / "debug" / f"libdativo_tsv.{suffix}", site / "dativo_tsv.abi3.so")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: dativo-tsv\nVersion: 0.1.0\n")
    (about / "entry_points.txt").write_text("[dativo.writers]\ntsv = dativo_tsv:Sink\n")

    project = copy_example("rust_writer/project", tmp_path / "project")
    result = project.run("readings", PYTHONPATH=str(site))["readings"]
    assert result["rows_written"] == 3 * 144
    (file,) = result["files"]
    lines = Path(file).read_text().splitlines()
    assert lines[:4] == ["sensor\tminute\tcelsius", "north\t0\t\\N", "south\t0\t\\N", "roof\t0\t\\N"]
    assert lines[-1] == "roof\t4290\t23.75" and len(lines) == 433

    job = project.root / "jobs" / "readings.yaml"
    job.write_text(job.read_text().replace("type: int64", "type: int32"))
    done = project.dativo("run", "readings", PYTHONPATH=str(site))
    assert done.returncode == 2 and "tsv can't write column minute: Int32" in done.stderr, done.stderr
    assert len(list((project.root / "warehouse").rglob("*.tsv"))) == 1
