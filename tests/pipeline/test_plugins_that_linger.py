"""Plugins that fork, start threads that never end, or take signals: the table is right, and nothing waits for them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

JOB = """
    source: {{reader: "plugin.py:Rows", isolation: {mode}}}
    target: {{writer: parquet, path: out}}
    retry: {{max_attempts: 1}}
    """
READER = """
    {first}

    class Rows(BaseReader):
        def extract(self, state_manager=None):
            yield [{{"n": 1}}]
            {does}
            yield [{{"n": 2}}]
    """
TAKES = "import signal; [signal.signal(n, signal.SIG_IGN) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]"
MODES = ("none", "process")


@pytest.fixture
def begin(bench: Any, plugin: Callable[[str], None]) -> Callable[..., subprocess.Popen[bytes]]:
    """Start `dativo run` of a reader that does something between its batches."""

    def start(mode: str, does: str, first: str = "") -> subprocess.Popen[bytes]:
        plugin(READER.format(first=first, does=does))
        bench.job(JOB.format(mode=mode))
        dativo = Path(sys.executable).with_name("dativo")
        return subprocess.Popen([dativo, "run", "job"], cwd=bench.root)

    return start


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "does",
    [
        "os.fork()",
        "if os.fork() == 0: raise ValueError('no luck')",
        "threading.Thread(target=time.sleep, args=(3600,)).start()",
    ],
)
def test_rows_come_once_and_the_run_ends(bench: Any, begin: Callable[..., Any], mode: str, does: str) -> None:
    with begin(mode, does) as run:
        try:
            assert run.wait(60) == 0
        finally:
            run.kill()
    assert sorted(row["n"] for row in bench.rows()) == [1, 2]
    assert bench.leftovers() == []


def test_a_plugin_that_takes_signals_keeps_nobody_from_cancelling(bench: Any, begin: Callable[..., Any]) -> None:
    begun = bench.root / "begun"
    does = f"open({str(begun)!r}, 'w').close(); time.sleep(3600)"
    with begin("process", does, TAKES) as run:
        try:
            while not begun.exists():
                assert run.poll() is None
                time.sleep(0.01)
            run.send_signal(signal.SIGINT)
            assert run.wait(60) != 0
        finally:
            run.kill()
    assert bench.rows() == []


def test_the_signals_of_the_run_are_not_a_plugins_to_take(
    begin: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    assert begin("none", "pass", TAKES).wait(60) == 2
    said = capfd.readouterr().err
    assert "plugin plugin.py:Rows failed to import: ValueError: signal only works in main thread" in said
