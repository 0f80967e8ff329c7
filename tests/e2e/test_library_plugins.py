"""Plugins in shared libraries, each an example built by its own Makefile, tested by the conformance suite and run in its job.
The how-to quotes them word for word.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from dativo_plugin_sdk.library import header_folder

from tests.web import SECRET, Web, web_server

from .conftest import ROOT, Folder, copy_example

PAGE = ROOT / "docs" / "how-to" / "first-plugin-c.md"


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


def test_the_how_to_quotes_the_examples() -> None:
    folders = [ROOT / "examples" / name for name in ("c_reader", "c_files", "c_writer")]
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".c", ".yaml", "")]
    texts = [path.read_text(encoding="utf-8") for path in files if path.is_file() and "warehouse" not in path.parts]
    page = PAGE.read_text(encoding="utf-8")
    quoted = re.findall(r"^```(?:c|yaml|makefile)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(quoted) >= 11
    for block in quoted:
        assert any(block in text for text in texts), block


@pytest.mark.timeout(300)  # Go compiles its runtime first
@pytest.mark.parametrize(("example", "compiler"), [("c_reader", "cc"), ("cpp_reader", "c++"), ("go_reader", "go")])
def test_a_reader_in_a_library_conforms_and_runs(tmp_path: Path, example: str, compiler: str) -> None:
    project = build(example, tmp_path / "project", compiler)
    told = project.dativo("plugin", "test", "libsquares.so:squares", "--with", "{options: {to: 2500}}")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "all passed" in told.stdout
    result = project.run("squares")["squares"]
    assert result["rows_written"] == 10_000
    table = project.table("squares").sort("n")
    assert table["square"].to_list() == [n * n for n in range(10_000)]


def test_a_library_reads_files_of_its_host_and_writes_to_its_log(tmp_path: Path) -> None:
    project = build("c_files", tmp_path / "project", "cc")
    told = project.dativo("run", "poem", "--log-format", "console")
    assert told.returncode == 0, told.stderr
    assert "reads the lines of 2 files" in told.stderr
    assert project.table("poem")["line"].to_list()[1:] == [
        "The moon was a ghostly galleon tossed upon cloudy seas.",
        "Zwölf Boxkämpfer jagen Viktor quer",
        "über den großen Sylter Deich",
    ]
    far = "".join(f"line {number} \U0001f600\n" for number in range(200_000))
    with web_server() as address:
        Web.files["/far.txt"] = far.encode()
        project.write(
            "jobs/far.yaml", f"source: {{reader: 'liblines.so:lines', files: ['{address}/far.txt?signature={SECRET}']}}"
        )
        assert project.run("far")["far"]["rows_written"] == 200_000
        assert project.table("far")["line"].to_list() == far.splitlines()
        project.write(
            "jobs/none.yaml",
            f"source: {{reader: 'liblines.so:lines', files: ['{address}/none.txt?signature={SECRET}']}}",
        )
        told = project.dativo("run", "none")
    assert told.returncode == 2
    assert "none.txt does not exist" in told.stderr
    assert SECRET not in told.stderr


def test_columns_that_hold_no_null_need_no_contract(tmp_path: Path) -> None:
    project = build("c_reader", tmp_path / "project", "cc")
    project.write("jobs/bare.yaml", "source: {reader: 'libsquares.so:squares', options: {to: 5}}")
    assert project.run("bare")["bare"]["rows_written"] == 5


def test_a_wrong_option_of_a_library_is_told_at_its_line(tmp_path: Path) -> None:
    project = build("c_reader", tmp_path / "project", "cc")
    job = project.root / "jobs" / "squares.yaml"
    job.write_text(job.read_text().replace("to: 10000", "to: -1"))
    told = project.dativo("run", "squares")
    assert told.returncode == 2
    assert "jobs/squares.yaml:1" in told.stderr
    assert "greater than or equal to 0" in told.stderr


def test_a_writer_in_a_library_conforms_and_runs(tmp_path: Path) -> None:
    project = build("c_writer", tmp_path / "project", "cc")
    told = project.dativo("plugin", "test", "liblines.so:lines")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "Conformance of writer" in told.stdout
    assert "all passed" in told.stdout
    assert project.run("cities")["cities"]["rows_written"] == 3
    (path,) = (project.root / "warehouse" / "cities").glob("*/*.jsonl")
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == [
        {"city": "Lagos", "people": 15388000, "founded": None},
        {"city": 'Zoë "the" city', "people": 10092000, "founded": "1535-01-18"},
        {"city": "Oslo", "people": 709037, "founded": "1040-01-01"},
    ]


def test_what_a_writer_in_a_library_refuses_names_the_column(tmp_path: Path) -> None:
    project = build("c_writer", tmp_path / "project", "cc")
    job = project.root / "jobs" / "cities.yaml"
    job.write_text(job.read_text().replace("name: founded, type: string", "name: founded, type: date"))
    told = project.dativo("run", "cities")
    assert told.returncode == 2
    assert "lines of JSON can't hold the type of column: founded" in told.stderr
    assert "Traceback" not in told.stderr
