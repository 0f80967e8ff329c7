"""Files that change, break or vanish under a run: a typed error with file, byte and row, and the target untouched."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from typing import Any

import pytest

from dativo_assets.pipeline import RunSettings

from .conftest import Workbench

READERS = ["csv", "rust_csv"]
WRITERS = {"csv": "parquet", "rust_csv": "rust_parquet"}
JOB = """
    source: {{reader: {reader}, files: [{files}], options: {options}}}
    target: {{writer: {writer}, path: out}}
    schema: [{{name: id, type: int64}}, {{name: text, type: string}}]
"""
"""Reads the first split when something has happened to its file."""
ODD = """
    from dativo_rust_csv import RustCsvReader
    from dativo_assets.readers.csv import CsvReader
    class Odd({base}):
        def read(self, split):
            path = os.path.join(self.source_config.root, "in/a.csv")
            {happens}
            yield from batches(super().read(split))
    def rewrite(path):
        info = os.stat(path)
        with open(path, "r+") as file:
            text = file.read().replace("x", "y")
            file.seek(0)
            file.write(text)
        os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    def batches(read):
        from dativo_plugin_sdk.arrow import batches_of, iterate
        for item in iterate(read):
            yield from batches_of(item)
"""
BASES = {"csv": "CsvReader", "rust_csv": "RustCsvReader"}
ROWS = "id,text\n" + "".join(f"{row},{row}-{'x' * 60}\n" for row in range(30_000))


def fails(bench: Workbench, reader: str, files: str = "in/a.csv", options: str = "{}", by: str = "") -> dict[str, Any]:
    """Run the job on top of a good one; what it fails with. by: the reader's reference."""
    bench.job(JOB.format(reader=reader, writer=WRITERS[reader], files="before.csv", options="{}"))
    bench.write("before.csv", "id,text\n1,a\n")
    bench.ok()
    bench.job(JOB.format(reader=by or reader, writer=WRITERS[reader], files=files, options=options))
    result = bench.run(settings=RunSettings(workers=2, retries=False))
    assert result.error is not None
    assert bench.rows() == [{"id": 1, "text": "a"}]
    assert bench.leftovers() == []
    error = result.error.to_dict()
    assert error["hint"] and "Traceback" not in error["message"], error
    return error


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("happens", "code"),
    [
        ("os.truncate(path, os.path.getsize(path) // 2)", "FILE_CHANGED"),
        ("os.truncate(path, 0)", "FILE_CHANGED"),
        ("rewrite(path)", "FILE_CHANGED"),
        ("os.unlink(path)", "FILE_NOT_FOUND"),
        ("os.unlink(path); os.mkdir(path)", "IS_A_DIRECTORY"),
    ],
)
def test_a_file_that_is_not_what_was_planned(
    bench: Workbench, plugin: Callable[[str], None], reader: str, happens: str, code: str
) -> None:
    bench.write("in/a.csv", ROWS)
    plugin(ODD.format(base=BASES[reader], happens=happens))
    error = fails(bench, reader, by="plugin.py:Odd")
    assert (error["error_code"], error["details"]["file"]) == (code, str(bench.root / "in/a.csv"))
    assert error["retryable"] == (code == "FILE_CHANGED")
    assert "row" in error["details"]


@pytest.mark.parametrize(("reader", "code"), [("csv", "FILE_CHANGED"), ("rust_csv", None)])
def test_what_is_appended_while_a_file_is_read_is_refused_or_belongs_to_the_next_run(
    bench: Workbench, plugin: Callable[[str], None], reader: str, code: str | None
) -> None:
    bench.write("in/a.csv", "id,text\n1,a\n2,b\n")
    plugin(ODD.format(base=BASES[reader], happens="with open(path, 'a') as file: file.write('7,late\\n8')"))
    bench.job(JOB.format(reader="plugin.py:Odd", writer=WRITERS[reader], files="in/a.csv", options="{}"))
    result = bench.run(settings=RunSettings(retries=False))
    assert (result.error.error_code if result.error else None) == code
    assert [row["id"] for row in bench.rows()] == ([] if code else [1, 2])


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("damage", ["truncated", "altered"])
def test_damaged_gzip(bench: Workbench, reader: str, damage: str) -> None:
    random_text = random.Random(7)
    text = "id,text\n" + "".join(f"{row},{random_text.getrandbits(200):x}\n" for row in range(40_000))
    data = bytearray(gzip.compress(text.encode(), 1))
    if damage == "truncated":
        data = data[: len(data) * 3 // 4]
    else:
        data[-6] ^= 1  # in the checksum
    bench.write("in/x", "")
    (bench.root / "in/a.csv.gz").write_bytes(data)
    error = fails(bench, reader, files="in/a.csv.gz")
    assert (error["kind"], error["error_code"]) == ("ValidationError", "DAMAGED_FILE")
    details = error["details"]
    assert details["file"] == str(bench.root / "in/a.csv.gz")
    assert 0 < details["byte"] <= len(text) and 0 < details["row"] <= 40_000


@pytest.mark.parametrize("reader", READERS)
def test_a_directory_without_files_of_the_format(bench: Workbench, reader: str) -> None:
    (bench.root / "in").mkdir()
    assert "in" in fails(bench, reader, files="in")["message"]


@pytest.mark.parametrize("reader", READERS)
def test_a_field_that_is_too_long_is_refused_by_its_place(bench: Workbench, reader: str) -> None:
    bench.write("in/a.csv", "id,text\n1,a\n\n2," + "x" * 5_000 + "\n3,b\n")
    error = fails(bench, reader, options="{max_field_bytes: 4000}")
    details = error["details"]
    assert "4000" in error["message"].replace(",", "") and details["file"].endswith("a.csv")
    assert (error["error_code"], details["row"], details["column"]) == ("FIELD_TOO_LONG", 2, "text")
