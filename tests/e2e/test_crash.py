"""`dativo run` killed without warning, at any moment."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import textwrap
import time
from collections import Counter
from contextlib import closing

import duckdb
import pytest

from .conftest import DATIVO, Folder

FILE_ROWS = 20_000
KILLS = 8 if os.environ.get("DATIVO_SOAK") else 2
"""A table and mode: tests/faults does many more, at every step of a run."""


def add_file(folder: Folder, number: int) -> None:
    first = number * FILE_ROWS
    lines = "".join(f"{n},text of row {n}\n" for n in range(first, first + FILE_ROWS))
    folder.write(f"data/{number:03d}.csv", "id,text\n" + lines)


def visible(folder: Folder, writer: str = "parquet") -> list[int]:
    """The ids that a plain reader of the table sees now."""
    if writer == "parquet":
        return [] if not folder.files("rows") else folder.table("rows")["id"].to_list()
    path = folder.root / "warehouse" / "rows.db"
    if writer == "sqlite":
        with closing(sqlite3.connect(path)) as table:
            return [row[0] for row in table.execute("SELECT id FROM rows")]
    with duckdb.connect(path) as table:
        return [row[0] for row in table.execute("SELECT id FROM rows").fetchall()]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("writer", "mode"),
    [
        *[(writer, mode) for writer in ("parquet", "duckdb", "sqlite") for mode in ("append", "overwrite")],
        ("parquet", "merge"),
        ("duckdb", "merge"),
        ("sqlite", "merge"),
    ],
)
def test_kills_at_random_moments_lose_and_double_no_row(folder: Folder, writer: str, mode: str) -> None:
    incremental = "" if mode == "overwrite" else "  incremental: {strategy: file_modified_time}\n"
    path = "rows" if writer == "parquet" else "rows.db"
    keys = ", keys: [id]" if mode == "merge" else ""
    folder.write(
        "jobs/rows.yaml",
        f"source:\n  reader: csv\n  files: [data/*.csv]\n{incremental}"
        f"target: {{writer: {writer}, path: warehouse/{path}, mode: {mode}{keys}}}\n"
        "schema: [{name: id, type: int64, required: true}, {name: text, type: string}]\n",
    )
    add_file(folder, 0)
    start = time.monotonic()
    assert folder.run("rows")["rows"]["rows_written"] == FILE_ROWS
    longest_s = time.monotonic() - start
    chance = random.Random(20130101)
    done = cut = 0
    files = 1
    while cut < KILLS and done + cut < 8 * KILLS:
        add_file(folder, files)
        files += 1
        child = subprocess.Popen(
            [str(DATIVO), "run", "rows"],
            cwd=folder.root,
            env=folder.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            child.wait(chance.uniform(0.1, longest_s))
            assert child.returncode == 0
            done += 1
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            child.wait()
            cut += 1
        counts = Counter(visible(folder, writer))
        assert set(counts.values()) == {1}, "a row is there twice"
        assert len(counts) % FILE_ROWS == 0, "half a file is visible"
    assert cut == KILLS, "the runs ended before they could be killed"

    add_file(folder, files)  # a run that has nothing to write leaves what it finds
    files += 1
    assert folder.run("rows")["rows"]["status"] == "succeeded"
    assert Counter(visible(folder, writer)) == Counter(range(files * FILE_ROWS))
    assert not list(folder.root.glob("warehouse/.rows*.staging/*")), "leftovers of dead runs"


def test_a_plugin_that_ends_the_process_leaves_nothing_visible_and_the_next_run_works(folder: Folder) -> None:
    job = "source: {reader: 'plugin.py:Rows'}\nschema: [{name: id, type: int64}]\n"
    good = """\
        import os
        from dativo_plugin_sdk import BaseReader
        class Rows(BaseReader):
            def extract(self, state_manager=None):
                yield [{"id": 1}]
        """
    folder.write("plugin.py", textwrap.dedent(good))
    folder.write("jobs/rows.yaml", job)
    assert folder.run("rows")["rows"]["rows_written"] == 1
    folder.write("plugin.py", textwrap.dedent(good) + "        os._exit(7)\n")
    command = [str(DATIVO), "run", "rows", "--json"]
    done = subprocess.run(
        command, cwd=folder.root, env=folder.environment(), check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (7, "")
    assert "PROCESS_ENDED" in done.stderr and "job rows ran" in done.stderr and "hint: nothing" in done.stderr
    assert visible(folder) == [1]
    folder.write("plugin.py", textwrap.dedent(good) + "        yield [{'id': 2}]\n")
    assert folder.run("rows")["rows"]["rows_written"] == 2
    assert sorted(visible(folder)) == [1, 2]
    assert not list(folder.root.glob("warehouse/.rows.staging/*"))
