"""A plugin that hangs, exits or answers nonsense in any call: named in time, with nothing left behind."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import Any

import pytest

JOB = "source: {reader: 'plugin.py:Rows'}\ntarget: {writer: WRITER, path: out}\n"
HEAD = """\
import os, sys, time
from dativo_plugin_sdk import BaseReader, BaseWriter
"""
GOOD_READER = """\
class Rows(BaseReader):
    def extract(self, state_manager=None):
        yield [{"a": 1}]
"""
LEVEL_1_WRITER = """\
class Files(BaseWriter):
    def write_batch(self, records, file_counter):
        return []
"""


def reader(method: str, body: str) -> str:
    """A reader whose one method does this."""
    return f"{HEAD}{GOOD_READER}    def {method}:\n        {body}\n"


def writer(method: str, body: str) -> str:
    """A writer whose one method does this."""
    return f"{HEAD}{GOOD_READER}{LEVEL_1_WRITER}    def {method}:\n        {body}\n"


def written(shell: Any) -> list[str]:
    return sorted(path.name for path in shell.root.iterdir() if "out" in path.name)


@pytest.mark.parametrize(
    ("plugin", "stage"),
    [
        (reader("plan(self, request)", "BODY"), "plan"),
        (reader("__init__(self, config)", "BODY"), "plan"),
        (writer("__init__(self, *config)", "BODY"), "open"),
        (writer("commit_files(self, files)", "BODY"), "commit"),
    ],
)
def test_a_call_that_hangs_is_named_after_the_timeout(shell: Any, plugin: str, stage: str) -> None:
    name = "plugin.py:Files" if "Files" in plugin else "parquet"
    shell.write("plugin.py", plugin.replace("BODY", "time.sleep(60)"))
    shell.write("jobs/job.yaml", JOB.replace("WRITER", f"'{name}'") + "timeout: 3s\n")
    asked = time.monotonic()
    said = shell("run", "job")
    assert said.code == 2
    assert time.monotonic() - asked < 30, "the plugin sleeps for longer"
    assert "PLUGIN_TIMEOUT" in said.err and f"stage {stage}" in said.err and "plugin.py:" in said.err
    assert "hint:" in said.err


@pytest.mark.parametrize(
    "plugin",
    [
        reader("plan(self, request)", "sys.exit(7)"),
        reader("__init__(self, config)", "sys.exit(7)"),
        writer("__init__(self, *config)", "sys.exit(7)"),
        writer("write_batch(self, records, file_counter)", "sys.exit(7)"),
        writer("commit_files(self, files)", "sys.exit(7)"),
        f"{HEAD}{GOOD_READER}{LEVEL_1_WRITER}sys.exit(7)\n",
    ],
)
def test_a_plugin_that_exits_is_an_error_of_its_job_alone(shell: Any, plugin: str) -> None:
    name = "plugin.py:Files" if "Files" in plugin else "parquet"
    shell.write("plugin.py", plugin)
    shell.write("jobs/job.yaml", JOB.replace("WRITER", f"'{name}'"))
    shell.write("a.csv", "a\n1\n")
    shell.write("jobs/other.yaml", "source: {reader: csv, files: [a.csv]}\ntarget: {writer: parquet, path: other}\n")
    said = shell("run", "--json", "--no-retry")
    assert said.code == 1
    status = {item["job"]: item["status"] for item in said.json}
    assert status == {"job": "failed", "other": "succeeded"}
    assert "plugin.py" in said.err and "7" in said.err and "hint:" in said.err
    assert not [name for name in written(shell) if name != ".out.staging"]


@pytest.mark.parametrize("answer", ["sys.exit(7)", "return 42", "raise ValueError('boom')"])
@pytest.mark.parametrize(
    ("verb", "method"),
    [
        ("run", "plan(self, request)"),
        ("plan", "plan(self, request)"),
        ("preview", "plan(self, request)"),
        ("discover", "discover(self)"),
        ("check", "check_connection(self)"),
    ],
)
def test_every_verb_names_the_plugin(shell: Any, verb: str, method: str, answer: str) -> None:
    shell.write("plugin.py", reader(method, answer))
    shell.write("jobs/job.yaml", JOB.replace("WRITER", "parquet"))
    said = shell(verb, "job")
    assert said.code == (1 if verb == "check" else 2), said
    assert "error[PLUGIN_ERROR]: plugin plugin.py:Rows" in said.err and "hint:" in said.err, said.err
    assert written(shell) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_plan_that_hangs(shell: Any, number: int) -> None:
    shell.write("plugin.py", reader("plan(self, request)", "print('planning', flush=True); time.sleep(60)"))
    shell.write("jobs/job.yaml", JOB.replace("WRITER", "parquet"))
    process = _started(shell, "planning")
    asked = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=10)
    assert time.monotonic() - asked < 1.5, "a second, and the process's own end"
    assert process.returncode == 130
    assert "stopping" in err and "Traceback" not in err
    assert written(shell) == []


def test_a_second_signal_ends_the_process_at_once(shell: Any) -> None:
    shell.write("plugin.py", reader("plan(self, request)", "print('planning', flush=True); time.sleep(60)"))
    shell.write("jobs/job.yaml", JOB.replace("WRITER", "parquet"))
    process = _started(shell, "planning")
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert "stopping" in process.stderr.readline()
    asked = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130
    assert time.monotonic() - asked < 0.7, "sooner than what the first one waits for"


def test_an_interrupt_of_another_verb_is_one_line(shell: Any) -> None:
    shell.write("plugin.py", reader("discover(self)", "print('asking', flush=True); time.sleep(60)"))
    shell.write("jobs/job.yaml", JOB.replace("WRITER", "parquet"))
    process = _started(shell, "asking", "discover")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert (process.returncode, err.strip()) == (130, "dativo: interrupted")


def _started(shell: Any, word: str, verb: str = "run") -> subprocess.Popen[str]:
    process = subprocess.Popen(
        shell.command(verb, "job"),
        cwd=shell.root,
        env=shell.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a shell's background ignores it
    )
    assert process.stdout is not None
    assert process.stdout.readline() == f"{word}\n"
    return process
