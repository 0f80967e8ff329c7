"""What a run keeps of a job for the next run of the same files, and when it is not believed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("dativo_rust_csv")
pytest.importorskip("dativo_rust_parquet")

JOB = "source: {reader: rust_csv, files: [a.csv]}\ntarget: {writer: rust_parquet, path: out, options: {compression: zstd}}\n"
SLOW = ("pydantic", "pydantic_core", "yaml", "importlib.metadata", "pyarrow", "numpy", "rich", "dagster", "obstore")
MODULES = 240
"""What a run may import at most, the interpreter's own start included: 206 when this was written."""
SCRIPT = """
import json, sys
from dativo_assets.cli import app
app.leave = lambda code: print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
sys.argv = ["dativo", "run", "orders"]
app.entry()
"""


@pytest.fixture
def orders(shell: Any) -> Any:
    shell.write("a.csv", "id,v\n1,10\n2,-5\n3,30\n")
    shell.write("jobs/orders.yaml", JOB)
    return shell


def entries(shell: Any) -> list[Path]:
    return sorted((shell.root / ".dativo/cache").glob("*.json"))


def run_until_known(shell: Any, *arguments: str, **environment: str) -> str:
    """Run until a run's files are older than a tick of their clock, so that it keeps them. Returns what stands then."""
    before = {path: path.read_bytes() for path in entries(shell)}
    for _ in range(20):
        said = shell.started("run", *(arguments or ("orders",)), **environment)  # what it knows hangs on what it loads
        assert said.code == 0, said.err
        for path in entries(shell):
            if before.get(path) != path.read_bytes():
                return path.read_text()
    raise AssertionError("nothing was kept")


def imported(shell: Any) -> list[str]:
    """The modules of a run's process."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=shell.root,
        env=shell.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert code == 0
    return list(modules)


@pytest.mark.parametrize("rules", ["", "schema:\n  - {name: id, type: int64, min: 1}\n  - {name: v, type: int64}\n"])
def test_a_run_of_a_known_job_loads_no_model_no_yaml_and_no_arrow(orders: Any, rules: str) -> None:
    orders.write("jobs/orders.yaml", JOB + rules)
    for _ in range(20):
        modules = imported(orders)
        if "pydantic" not in modules:
            break
    assert [name for name in SLOW if name in modules] == []
    assert len(modules) <= MODULES, f"{len(modules)} modules: what a small run waits for"


def test_a_known_run_does_what_the_first_did(orders: Any) -> None:
    orders.write(
        "jobs/orders.yaml",
        JOB + "schema:\n  - {name: id, type: int64, min: 2}\n  - {name: v, type: int64}\non_violation: quarantine\n",
    )
    run_until_known(orders)
    said = orders.started("run", "orders", "--json")
    (result,) = said.json
    assert (result["status"], result["rows_written"], result["rows_rejected"]) == ("succeeded", 2, 1)
    (entry,) = entries(orders)
    entry.unlink()
    (cold,) = orders.started("run", "orders", "--json").json
    volatile = {
        "run_id",
        "seq",
        "seconds",
        "stages",
        "peak_rss_bytes",
        "commit",
        "files",
        "quarantine",
        "table",
        "digest",
    }
    assert {k: v for k, v in result.items() if k not in volatile} == {
        k: v for k, v in cold.items() if k not in volatile
    }


@pytest.mark.parametrize("name", ["jobs/orders.yaml", "dativo.yaml"])
def test_an_edit_is_seen_by_the_next_run_whatever_its_size(orders: Any, name: str) -> None:
    orders.write("dativo.yaml", "jobs: jobs/*.yaml\ndefaults: {target: {partition_by: []}, description: aa}\n")
    run_until_known(orders)
    path = orders.root / name
    path.write_text(path.read_text().replace("out", "put").replace("partition_by: []", "partition_by: id"))
    assert orders.started("run", "orders").code == 0
    kept = (orders.root / "put").exists() if name.startswith("jobs") else list((orders.root / "out").rglob("id=1"))
    assert kept


def test_a_mistake_in_a_known_job_is_told_as_in_one_never_seen(orders: Any) -> None:
    run_until_known(orders)
    orders.write("jobs/orders.yaml", JOB.replace("compression: zstd", "compresion: zstd"))
    known = orders.started("run", "orders")
    for entry in entries(orders):
        entry.unlink()
    assert known.code == 2 and "jobs/orders.yaml:2" in known.err
    assert known.err == orders.started("run", "orders").err


def test_where_a_key_stands_is_found_again_for_what_goes_wrong_later(orders: Any) -> None:
    orders.write("jobs/orders.yaml", JOB.replace("[a.csv]", '["${NAME}.csv"]'))
    run_until_known(orders, NAME="a")
    known = orders.started("run", "orders")
    for entry in entries(orders):
        entry.unlink()
    assert known.code == 2 and "jobs/orders.yaml:1" in known.err and "NAME is not set" in known.err
    assert known.err == orders.started("run", "orders").err


def test_variables_of_a_known_job_are_those_of_the_run(orders: Any) -> None:
    orders.write("jobs/orders.yaml", JOB.replace("path: out", 'path: "${OUT}"').replace("zstd", '"${CODEC}"'))
    kept = run_until_known(orders, OUT="first", CODEC="lz4_raw")
    assert "first" not in kept and "lz4_raw" not in kept
    assert orders.started("run", "orders", OUT="two", CODEC="snappy").code == 0
    assert (orders.root / "two").is_dir()
    refused = orders.started("run", "orders", OUT="two", CODEC="rar")
    assert refused.code == 2 and "jobs/orders.yaml:2" in refused.err


def test_a_job_that_holds_a_secret_is_not_kept(orders: Any) -> None:
    run_until_known(orders)
    before = {path: path.read_bytes() for path in entries(orders)}
    orders.write("jobs/orders.yaml", JOB.replace("files:", "credentials: {password: hunter2}, files:"))
    for _ in range(3):
        assert orders.started("run", "orders").code == 0
    assert {path: path.read_bytes() for path in entries(orders)} == before
    assert "hunter2" not in "".join(path.read_text() for path in entries(orders))


def test_what_is_not_as_it_was_written_is_passed_by_and_replaced(orders: Any) -> None:
    good = run_until_known(orders).encode()
    (entry,) = entries(orders)
    one_letter = good.replace(b"orders.yaml", b"others.yaml", 1)
    for text in (b"", b"{}", b"\xff\n\xff", good[:-1], one_letter):
        entry.write_bytes(text)
        assert orders.started("run", "orders").code == 0
        assert entry.read_bytes() == good


def test_runs_side_by_side_leave_one_whole_entry(orders: Any) -> None:
    good = run_until_known(orders)
    (entry,) = entries(orders)
    entry.unlink()
    command = orders.command("run", "orders")
    racing = [subprocess.Popen(command, cwd=orders.root, env=orders.environment(), stderr=-1) for _ in range(4)]
    told = [process.communicate(timeout=60)[1].decode() for process in racing]
    assert any(process.returncode == 0 for process in racing), told
    assert entry.read_text() == good
    assert [path.name for path in entry.parent.iterdir() if path.name.startswith(".")] == [".gitignore"]


def test_a_project_that_cannot_be_written_runs_all_the_same(orders: Any) -> None:
    orders.write(".dativo", "a file where the folder would be")
    assert [orders.started("run", "orders").code for _ in range(2)] == [0, 0]


def test_a_folder_that_is_no_project_is_left_as_it_was(orders: Any) -> None:
    (orders.root / "dativo.yaml").unlink()
    (orders.root / "jobs/orders.yaml").rename(orders.root / "orders.yaml")
    assert [orders.started("run", "orders.yaml").code for _ in range(2)] == [0, 0]
    assert entries(orders) == []
