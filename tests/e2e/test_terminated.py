"""Runs that a real Dagster ends, by its button and by its monitoring, and one whose web server dies."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tests.dagster_dev import DagsterDev, dagster_dev

from .conftest import Folder

READER = """
import os
from pathlib import Path

import pyarrow as pa
from dativo_plugin_sdk import BaseReader


class Rows(BaseReader):
    def extract(self, state_manager=None):
        root = Path(self.source_config.root)
        yield pa.record_batch({"id": [1, 2]})
        if not (root / "go").exists():
            (root / "pid.new").write_text(str(os.getpid()))
            (root / "pid.new").rename(root / "pid")
            os.read(os.open(root / "stuck", os.O_RDONLY), 1)  # a pipe without a writer: it waits for ever
        yield pa.record_batch({"id": [3]})
"""
INSTANCE = """
run_coordinator: {module: dagster._core.run_coordinator, class: DefaultRunCoordinator}
run_monitoring: {enabled: true, poll_interval_seconds: 1}
"""
LAUNCH = """mutation($selector: JobOrPipelineSelector!) {
  launchRun(executionParams: {selector: $selector, runConfigData: {}}) {
    ... on LaunchRunSuccess {run {runId}} ... on PythonError {message} ... on RunConfigValidationInvalid {errors {message}}
  }
}"""
TERMINATE = """mutation($run: String!) {terminateRun(runId: $run) {__typename ... on TerminateRunFailure {message}}}"""
STATUS = "query($run: ID!) {runOrError(runId: $run) {... on Run {status}}}"
REPOSITORIES = "{repositoriesOrError {... on RepositoryConnection {nodes {name location {name}}}}}"


def launch(dagster: DagsterDev, asset: str) -> str:
    (found,) = dagster.ask(REPOSITORIES)["repositoriesOrError"]["nodes"]
    selector = {
        "repositoryName": found["name"],
        "repositoryLocationName": found["location"]["name"],
        "pipelineName": "__ASSET_JOB",
        "assetSelection": [{"path": [asset]}],
    }
    return str(dagster.ask(LAUNCH, selector=selector)["launchRun"]["run"]["runId"])


def status(dagster: DagsterDev, run: str) -> str:
    return str(dagster.ask(STATUS, run=run)["runOrError"]["status"])


def wait(until: Callable[[], Any], what: str, timeout_s: float = 90) -> None:
    end = time.monotonic() + timeout_s
    while not until():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def stuck(dagster: DagsterDev, folder: Folder) -> tuple[str, int]:
    """A run that stands in its reader, and the process that does."""
    pid = folder.root / "pid"
    run = launch(dagster, "rows")
    wait(pid.exists, "the reader was never called")
    process = int(pid.read_text())
    pid.unlink()
    return run, process


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def web_server(session: int) -> int:
    """The process that answers."""
    found = []
    for process in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
            if b"dagster_webserver" in words and os.getsid(int(process)) == session:
                found.append(int(process))
    (only,) = found
    return only


def staged(folder: Folder) -> list[Path]:
    return list(folder.root.glob("warehouse/.rows.staging/*"))


@pytest.fixture
def waiting(folder: Folder) -> Folder:
    """A project whose one reader waits until it is told to go on."""
    folder.write("plugin.py", READER)
    folder.write("jobs/rows.yaml", "source: {reader: 'plugin.py:Rows'}\ntarget: {path: warehouse/rows, mode: append}\n")
    os.mkfifo(folder.root / "stuck")
    return folder


@pytest.mark.timeout(300)
def test_a_run_that_dagster_ends_is_not_seen_and_the_next_one_leaves_nothing_of_it(waiting: Folder) -> None:
    folder = waiting
    with dagster_dev(folder.root, folder.root / "home", INSTANCE) as server:
        run, process = stuck(server, folder)
        assert staged(folder)
        assert server.ask(TERMINATE, run=run)["terminateRun"]["__typename"] == "TerminateRunSuccess"
        wait(lambda: status(server, run) == "CANCELED", "terminated")
        wait(lambda: not Path(f"/proc/{process}").exists(), "its process ends", 20)
        assert not folder.files("rows") and not staged(folder)

        run, process = stuck(server, folder)
        for one in (parent_of(process), process):
            os.kill(one, signal.SIGKILL)
        wait(lambda: status(server, run) == "FAILURE", "the monitoring finds out")
        assert not folder.files("rows") and staged(folder)

        (folder.root / "go").touch()
        run = launch(server, "rows")
        wait(lambda: status(server, run) == "SUCCESS", "the next run")
    assert sorted(folder.table("rows")["id"]) == [1, 2, 3]
    assert not staged(folder)


@pytest.mark.timeout(300)
def test_a_run_goes_on_when_the_web_server_that_launched_it_is_killed(waiting: Folder) -> None:
    folder = waiting
    with dagster_dev(folder.root, folder.root / "home", INSTANCE) as server:
        run, process = stuck(server, folder)
        os.kill(web_server(server.session), signal.SIGKILL)
        wait(lambda: not server.answers(), "the web server is gone")
        assert Path(f"/proc/{process}").exists() and not folder.files("rows")
        os.close(os.open(folder.root / "stuck", os.O_WRONLY))  # what the reader waited for
        with dg.DagsterInstance.from_config(str(folder.root / "home")) as instance:

            def ended() -> bool:
                found = instance.get_run_by_id(run)
                return found is not None and found.is_finished

            wait(ended, "the run ends")
            found = instance.get_run_by_id(run)
            assert found is not None and found.is_success
            assert instance.get_latest_materialization_event(dg.AssetKey("rows")) is not None
    assert sorted(folder.table("rows")["id"]) == [1, 2, 3]
    assert not staged(folder)
