"""The format of examples/rust_writer, built by cargo, writes what a reader in Python gives."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .conftest import copy_example
from .rust_example import build


@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("cargo") is None, reason="no cargo")
def test_a_reader_in_python_and_a_writer_in_rust_share_a_job(tmp_path: Path) -> None:
    site, library = build("rust_writer", "dativo_tsv", "[dativo.writers]\ntsv = dativo_tsv:Sink\n", tmp_path)
    project = copy_example("rust_writer/project", tmp_path / "project")
    result = project.run("readings", PYTHONPATH=str(site))["readings"]
    assert result["rows_written"] == 3 * 144
    (file,) = result["files"]
    lines = Path(file).read_text().splitlines()
    assert lines[:4] == ["sensor\tminute\tcelsius", "north\t0\t\\N", "south\t0\t\\N", "roof\t0\t\\N"]
    assert lines[-1] == "roof\t4290\t23.75" and len(lines) == 433

    # The same source, as a library, to another table.
    job = project.root / "jobs" / "readings.yaml"
    shutil.copy(library, project.root)
    text = job.read_text().replace(
        "writer: tsv, path: warehouse/", f'writer: "{library.name}:tsv", path: warehouse/again_'
    )
    job.write_text(text)
    (again,) = project.run("readings")["readings"]["files"]
    assert Path(again).read_text().splitlines() == lines

    job.write_text(text.replace("type: int64", "type: int32"))
    done = project.dativo("run", "readings")
    assert done.returncode == 2 and "tsv can't write column minute: Int32" in done.stderr, done.stderr
    assert len(list((project.root / "warehouse").rglob("*.tsv"))) == 2
