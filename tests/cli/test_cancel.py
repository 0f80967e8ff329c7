"""A run that is stopped ends within a second and leaves nothing, whatever its reader is stuck in."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

HEAD = (
    "import duckdb, os, socket, sqlite3, subprocess, time\nfrom pathlib import Path\nfrom dativo_plugin_sdk import *\n"
)
READER = """
class Rows(BaseReader):
    def extract(self, state_manager=None):
        yield [{"id": 1}]
        Path(self.source_config.root, "stuck").touch()
        %s
        yield [{"id": 2}]
"""
STUCK = {
    "a socket": "socket.create_connection(('127.0.0.1', int(os.environ['PORT']))).recv(1)",
    "a query": "duckdb.sql('SELECT sum(a.range * b.range) FROM range(10000000) a, range(1000000) b').fetchall()",
    "a database's lock": "sqlite3.connect('x.db', timeout=100).execute('BEGIN EXCLUSIVE')",
    "a child": "subprocess.run(['sleep', '100'])",
    "an exception that is caught": "exec('while True:\\n try:\\n  time.sleep(100)\\n except BaseException: pass')",
}


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def stuck(shell: Any, silent: int, where: str, *command: str, more: str = "") -> subprocess.Popen[str]:
    """A run whose reader is stuck there; the table has one commit."""
    holder = "import sqlite3; held = sqlite3.connect('x.db', isolation_level=None); held.execute('BEGIN EXCLUSIVE')\n"
    shell.write("plugin.py", HEAD + (holder if "lock" in where else "") + READER % STUCK[where])
    shell.write("a.csv", "id\n0\n")
    job = "target: {writer: parquet, path: out, mode: append}\n" + more
    shell.write("jobs/rows.yaml", "name: rows\nsource: {reader: csv, files: [a.csv]}\n" + job)
    assert shell("run", "rows").code == 0
    shell.write("jobs/rows.yaml", "name: rows\nsource: {reader: 'plugin.py:Rows'}\n" + job)
    child = subprocess.Popen(
        command or shell.command("run", "rows", "--json"),
        cwd=shell.root,
        env=shell.environment(PORT=str(silent), DAGSTER_HOME=str(shell.root)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 60
        while not (shell.root / "stuck").exists():
            assert child.poll() is None and time.monotonic() < until, child.communicate()
            time.sleep(0.01)
    except BaseException:
        end(child)
        raise
    return child


def end(child: subprocess.Popen[str]) -> tuple[str, str]:
    """Kill it, and what it has started. Returns what it printed."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    return child.communicate()


def is_as_before(shell: Any) -> bool:
    return shell.files("out") == ["1/_commit.json", "1/part-0000-0000.parquet"] and not list(shell.root.glob(".out.*"))


@pytest.mark.parametrize("where", STUCK)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_a_run_soon_and_leaves_nothing(
    shell: Any, silent: int, where: str, number: signal.Signals
) -> None:
    child = stuck(shell, silent, where)
    asked = time.monotonic()
    try:
        child.send_signal(number)
        child.wait(30)
        seconds = time.monotonic() - asked
    finally:
        out, err = end(child)
    (told,) = json.loads(out)
    assert (child.returncode, told["status"], told["error"]["error_code"]) == (130, "cancelled", "CANCELLED")
    assert "stopping" in err and "Traceback" not in err
    assert seconds < 5, "it takes one on a machine at rest"
    assert is_as_before(shell)


def test_a_second_signal_ends_it_at_once(shell: Any, silent: int) -> None:
    child = stuck(shell, silent, "a socket")
    try:
        child.send_signal(signal.SIGTERM)
        assert child.stderr is not None and "stopping" in child.stderr.readline()
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 130
    finally:
        end(child)


@pytest.mark.parametrize("where", ["a socket", "a query"])
def test_a_timeout_ends_a_run_and_leaves_nothing(shell: Any, silent: int, where: str) -> None:
    child = stuck(shell, silent, where, more="timeout: 1s\n")
    try:
        child.wait(30)
    finally:
        out, _ = end(child)
    (told,) = json.loads(out)
    assert (child.returncode, told["error"]["error_code"]) == (2, "PLUGIN_TIMEOUT")
    assert is_as_before(shell)


def test_what_dagster_terminates_leaves_nothing(shell: Any, silent: int) -> None:
    """Its server ends the process of a run by an interrupt."""
    shell.write("dagster.yaml", "telemetry: {enabled: false}\n")
    child = stuck(shell, silent, "a socket", *shell.command("materialize", "rows"))
    asked = time.monotonic()
    try:
        child.send_signal(signal.SIGINT)
        child.wait(60)
    finally:
        out, err = end(child)
    assert time.monotonic() - asked < 20
    assert child.returncode != 0, out + err
    assert is_as_before(shell)
