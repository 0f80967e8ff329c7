"""Bad input: a typed error that says where and what to do, nothing half-written, the previous version readable."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

CSV = "source: {reader: READER, files: [a.csv]}\ntarget: {writer: parquet, path: out}\n"
PLUGIN = "source: {reader: plugin.py:Rows}\ntarget: {writer: parquet, path: out}\n"
SCHEMA = "schema: [{name: a, type: int64}, {name: b, type: string}]\n"
GOOD = b"a,b\n1,x\n2,y\n"


def visible(root: Path) -> list[dict[str, Any]]:
    files = [str(path) for path in (root / "out").resolve().rglob("*.parquet")]
    return list(ds.dataset(files, format="parquet").to_table().to_pylist()) if files else []


def leftovers(root: Path) -> list[str]:
    staging = root / ".out.staging"
    return sorted(str(path.relative_to(staging)) for path in staging.rglob("*")) if staging.exists() else []


def fails(shell: Any, *words: str) -> dict[str, Any]:
    """Run `job`, which must fail, hold these words in its error, and leave everything as it was."""
    before = visible(shell.root)
    said = shell("run", "job", "--no-retry", "--json")
    assert said.code == 2, said
    for word in words:
        assert word in said.err, (word, said.err)
    assert "hint:" in said.err or "must be" in said.err, said.err
    assert visible(shell.root) == before
    assert leftovers(shell.root) == []
    error: dict[str, Any] = said.json[0]["error"]
    assert error["error_code"]
    return error


READERS = ["csv", "rust_csv"]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("content", "contract", "words"),
    [
        (b"", "", ["a.csv", "empty"]),
        (b"a,b\n1\n", "", ["a.csv", "row"]),
        (b"a,b\n1,x,z\n", "", ["a.csv", "row"]),
        (b'a,b\n1,"x\n2,y\n', "", ["a.csv", "quote"]),
        (b"a,b\n1,\xff\xfe\n", "", ["a.csv", "byte"]),
        (b"a,a\n1,2\n", "", ["a.csv", "a"]),
        (b"a,\n1,2\n", "", ["a.csv", "name"]),
        (b"a,b\n99999999999999999999,x\n", SCHEMA, ["99999999999999999999", "row"]),
        (b"a,b\n1.5,x\n", SCHEMA, ["1.5", "a"]),
        (b"a,b\n007,x\n", SCHEMA, ["007"]),
        (b"a\n1\n", SCHEMA, ["b"]),
        (b"a,b,c\n1,x,2\n", SCHEMA, ["c", "add_columns"]),
    ],
)
def test_a_bad_file(shell: Any, reader: str, content: bytes, contract: str, words: list[str]) -> None:
    shell.write("jobs/job.yaml", CSV.replace("READER", reader) + contract)
    shell.write("a.csv", GOOD)
    assert shell("run", "job").code == 0
    shell.write("a.csv", content)
    error = fails(shell, "job job", *words)
    assert error["details"]["job"] == "job"


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"a,b\n", []),
        (b"\xef\xbb\xbfa,b\n1,x\n", [{"a": 1, "b": "x"}]),
        (b"a,b\r\n1,x\r\n2,y", [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]),
        (b'a,b\n1,"x\ny"\n', [{"a": 1, "b": "x\ny"}]),
        (b"a,b\n007,NaN\n", [{"a": "007", "b": "NaN"}]),
        (b"a,b\n99999999999999999999,x\n", [{"a": "99999999999999999999", "b": "x"}]),
    ],
)
def test_odd_files_that_are_fine(shell: Any, reader: str, content: bytes, rows: list[dict[str, Any]]) -> None:
    shell.write("jobs/job.yaml", CSV.replace("READER", reader))
    shell.write("a.csv", content)
    said = shell("run", "job", "--json")
    assert said.code == 0, said
    found = [{**row, "b": "NaN" if row["b"] != row["b"] else row["b"]} for row in visible(shell.root)]
    assert found == rows
    assert len(said.json[0]["files"]) == 1


@pytest.mark.parametrize("reader", READERS)
def test_a_field_of_100_mb_lands_whole(shell: Any, reader: str) -> None:
    shell.write("a.csv", b"a,b\n1," + b"x" * 100_000_000 + b"\n2,y\n")
    shell.write("jobs/job.yaml", CSV.replace("READER", reader))
    said = shell("run", "job")
    assert said.code == 0, said
    assert sorted(len(row["b"]) for row in visible(shell.root)) == [1, 100_000_000]


@pytest.mark.parametrize("reader", READERS)
def test_not_a_number_and_infinities(shell: Any, reader: str) -> None:
    shell.write("a.csv", "v\n1.5\nNaN\ninf\n-inf\n")
    shell.write("jobs/job.yaml", CSV.replace("READER", reader))
    assert shell("run", "job").code == 0
    assert [str(row["v"]) for row in visible(shell.root)] == ["1.5", "nan", "inf", "-inf"]


@pytest.mark.parametrize(
    ("yaml", "words"),
    [
        (CSV + "retries: 3\n", ["jobs/job.yaml:3:1", "retries", "`retry`"]),
        (CSV + "on_violation: stop\n", ["jobs/job.yaml:3", "on_violation"]),
        (CSV + "name: ../../etc/passwd\n", ["jobs/job.yaml:3", "name"]),
        (CSV + "depends_on: [nobody]\n", ["jobs/job.yaml:3", "nobody"]),
        (CSV + "depends_on: [job]\n", ["jobs/job.yaml:3", "itself"]),
        ("source: {reader: csv, files: [a.csv]\n", ["jobs/job.yaml"]),
        (CSV + "name: job\nname: job\n", ["jobs/job.yaml:4", "name"]),
        (CSV + "contract: nowhere.yaml\n", ["nowhere.yaml"]),
        (CSV.replace("path: out", "path: out, mode: merge"), ["keys"]),
        (CSV.replace("READER", "plugin.py"), ["plugin.py"]),
        (CSV.replace("[a.csv]", "[b.csv]"), ["b.csv does not exist"]),
    ],
)
def test_a_bad_job_file(shell: Any, yaml: str, words: list[str]) -> None:
    shell.write("a.csv", GOOD)
    shell.write("jobs/job.yaml", yaml.replace("READER", "csv"))
    fails(shell, *words)


def test_two_jobs_of_one_name_name_each_other(shell: Any) -> None:
    shell.write("a.csv", GOOD)
    for name in ("one", "two"):
        shell.write(f"jobs/{name}.yaml", CSV.replace("READER", "csv") + "name: job\n")
    said = shell("validate")
    assert said.code == 2
    assert "jobs/one.yaml" in said.err and "jobs/two.yaml" in said.err


def test_a_cycle_is_printed(shell: Any) -> None:
    shell.write("a.csv", GOOD)
    for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
        shell.write(f"jobs/{name}.yaml", CSV.replace("READER", "csv") + f"depends_on: [{other}]\n")
    said = shell("run", "a")
    assert (said.code, "a -> b -> c -> a" in said.err) == (2, True), said.err


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise ValueError('boom')", ["plugin.py:Rows", "boom"]),
        ("sys.exit(3)", ["plugin.py:Rows"]),
        ("yield 42", ["plugin.py:Rows", "int"]),
        ("return 42\n        yield", []),
        ("yield [{'a': object()}]", ["plugin.py:Rows"]),
    ],
)
def test_a_plugin_that_misbehaves(shell: Any, body: str, words: list[str]) -> None:
    head = "import sys\nfrom dativo_plugin_sdk import BaseReader\nclass Rows(BaseReader):\n"
    method = "    def extract(self, state_manager=None):\n        "
    shell.write("jobs/job.yaml", PLUGIN)
    shell.write("plugin.py", head + method + "yield [{'a': 1}]\n")
    assert shell("run", "job").code == 0
    shell.write("plugin.py", head + method + body + "\n")
    if words:
        fails(shell, *words)
    else:
        assert shell("run", "job").code == 0


def test_a_plugin_that_prints_keeps_json_pure(shell: Any) -> None:
    shell.write("jobs/job.yaml", PLUGIN)
    shell.write(
        "plugin.py",
        "from dativo_plugin_sdk import BaseReader\nprint('imported')\nclass Rows(BaseReader):\n"
        "    def extract(self, state_manager=None):\n        print('noise')\n        yield [{'a': 1}]\n",
    )
    said = shell("run", "job", "--json")
    assert said.json[0]["status"] == "succeeded"
    assert "noise" in said.err


@pytest.mark.parametrize("reader", READERS)
def test_a_folder_given_as_a_file(shell: Any, reader: str) -> None:
    (shell.root / "a.csv").mkdir()
    shell.write("jobs/job.yaml", CSV.replace("READER", reader))
    fails(shell, "a.csv is a folder", "a.csv/*")


def test_a_target_that_cannot_be_written(shell: Any) -> None:
    shell.write("a.csv", GOOD)
    shell.write("out", "a file, not a folder")
    shell.write("jobs/job.yaml", CSV.replace("READER", "csv"))
    error = fails(shell, "out")
    assert error["kind"] == "ConfigurationError"


def test_a_target_without_permission(shell: Any, tmp_path: Path) -> None:
    shell.write("a.csv", GOOD)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    shell.write("jobs/job.yaml", CSV.replace("READER", "csv").replace("path: out", "path: closed/out"))
    caps = "-dac_override,-dac_read_search"  # what lets root write anywhere
    powerless = ["setpriv", f"--bounding-set={caps}", f"--inh-caps={caps}"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*powerless, *shell.command("run", "job", "--no-retry")],
        cwd=tmp_path,
        env=shell.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "PERMISSION_DENIED" in done.stderr and "hint:" in done.stderr, done.stderr
    assert list(closed.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=False).returncode:
        pytest.skip("no right to mount")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.parametrize("name", ["csv parquet", "rust_csv rust_parquet"])
def test_a_full_disk(shell: Any, small_disk: Path, name: str) -> None:
    reader, writer = name.split()
    job = f"source: {{reader: {reader}, files: [a.csv]}}\ntarget: {{writer: {writer}, path: disk/out}}\n"
    shell.write("jobs/job.yaml", job)
    shell.write("a.csv", GOOD)
    assert shell("run", "job").code == 0
    shell.write("a.csv", b"a,b\n" + b"".join(b"%d,%s\n" % (n, os.urandom(40).hex().encode()) for n in range(40_000)))
    said = shell("run", "job", "--no-retry")
    assert said.code == 2
    assert "DISK_FULL" in said.err and "hint:" in said.err
    files = [str(path) for path in (small_disk / "out").resolve().rglob("*.parquet")]
    assert ds.dataset(files, format="parquet").count_rows() == 2
    assert sorted(path.name for path in small_disk.iterdir()) == [".out.versions", "out"]


SLOW = """\
import time
from dativo_plugin_sdk import BaseReader
class Rows(BaseReader):
    def extract(self, state_manager=None):
        for n in range(1000):
            yield [{"a": n}]
            print("batch", flush=True)
            time.sleep(HOW_LONG)
"""


@pytest.mark.parametrize("how_long", ["0.05", "60"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_within_a_second_and_leaves_nothing(shell: Any, how_long: str, number: int) -> None:
    shell.write("jobs/job.yaml", PLUGIN)
    shell.write("plugin.py", SLOW.replace("HOW_LONG", how_long))
    process = subprocess.Popen(
        shell.command("run", "job"),
        cwd=shell.root,
        env=shell.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "batch\n"
    asked = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=10)
    assert time.monotonic() - asked < 1.5, "a second, and the process's own end"
    assert process.returncode == 130
    assert "stopping" in err and "Traceback" not in err
    assert visible(shell.root) == [] and leftovers(shell.root) == []
