"""Several runs at once: one of a job wins and the others say who did; different jobs of one target do not meet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from .targets import Target

# Hosts are told apart by their names alone: here both are this machine.
CHILD = """
import json, os, socket, sys
host = sys.argv[2]
socket.gethostname = lambda: host
from dativo_assets.config import load_project
from dativo_assets.pipeline import RunSettings, run
from dativo_assets.plan import bind
project = load_project(sys.argv[1])
result = run(bind(project.jobs[sys.argv[3]], project), RunSettings(workers=1, retries=False), os.environ["WHO"])
print(json.dumps(result.to_dict()))
"""
# Every run waits until all of them have read, so that all follow the same commit.
READER = """
from pathlib import Path
class Rows(BaseReader):
    def extract(self, state_manager=None):
        yield [{"who": os.environ["WHO"]}]
        root = Path(self.source_config.root)
        (root / f"here-{os.environ['WHO']}").touch()
        while len(list(root.glob("here-*"))) < int(os.environ["ALL"]):
            time.sleep(0.005)
"""
JOB = "source: {reader: 'plugin.py:Rows'}\n"


def together(bench: Any, *runs: tuple[str, str]) -> list[dict[str, Any]]:
    """Runs of (host, job), with the ids r0, r1, ..., that all begin with the same commit. Returns: their results."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(bench.root), host, job],
            env={**os.environ, "WHO": f"r{number}", "ALL": str(len(runs))},
            stdout=subprocess.PIPE,
            text=True,
        )
        for number, (host, job) in enumerate(runs)
    ]
    told = [child.communicate(timeout=100)[0] for child in children]
    assert [child.returncode for child in children] == [0] * len(runs)
    return [json.loads(text) for text in told]


@pytest.mark.parametrize("other", ["one", "two"], ids=["one host", "two hosts"])
def test_of_runs_of_one_job_one_wins_and_the_others_say_who_did(
    bench: Any, plugin: Any, target: Target, other: str
) -> None:
    plugin(READER)
    bench.job(JOB + target.yaml(mode="append"))
    results = together(bench, ("one", "job"), (other, "job"), (other, "job"))
    (won,) = [result for result in results if result["status"] == "succeeded"]
    lost = [result for result in results if result is not won]
    assert won["seq"] == 1 and target.rows("who") == [(won["run_id"],)]
    for result in lost:
        assert (result["status"], result["error"]["error_code"]) == ("failed", "COMMIT_CONFLICT")
        assert result["error"]["details"]["winner"] == won["run_id"] and won["run_id"] in result["error"]["message"]
    assert target.leftovers() == []


def test_jobs_of_one_target_do_not_wait_for_each_other(bench: Any, plugin: Any, target: Target) -> None:
    """They all read at the same time, into one table of a database, or into tables of one folder."""
    plugin(READER)
    names = ["a", "b", "c"]
    for name in names:
        place = {"path": f"tables/{name}"} if target.kind == "parquet" else {}
        bench.job(JOB + target.yaml(mode="append", **place), name)
    results = together(bench, *[("one", name) for name in names])
    assert [(result["status"], result["seq"]) for result in results] == [("succeeded", 1)] * 3
    found = [row for name in names for row in target.rows("who", f"tables/{name}")] if target.kind == "parquet" else []
    assert (found or target.rows("who")) == [("r0",), ("r1",), ("r2",)]
    assert target.leftovers() == [] and not list(bench.root.glob("tables/.*"))
