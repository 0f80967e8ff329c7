"""Dagster's own sensor daemon over the sensor, killed in its ticks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg

from .test_sensor import JOB


def turn(root: Path, later_s: int, *point: str) -> int:
    """One turn of the daemon, so many seconds from now; its exit code."""
    environment = {**os.environ, "DATIVO_PROJECT": str(root), "DAGSTER_HOME": str(root / "home")}
    argv = [sys.executable, "-m", "tests.sensors.daemon", str(later_s), *point]
    return subprocess.run(argv, env=environment, timeout=100, check=False, capture_output=True).returncode


def test_a_daemon_killed_again_and_again_neither_loses_nor_doubles_a_run(tmp_path: Path) -> None:
    files = {"dativo.yaml": "", "home/dagster.yaml": "telemetry: {enabled: false}\n"}
    for name in "abc":
        files |= {f"jobs/{name}.yaml": JOB.replace("NAME", name), f"data/{name}/a.csv": "n\n1\n"}
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    for number, point in enumerate(("TICK_CREATED", "RUN_CREATED", "RUN_LAUNCHED")):
        assert turn(tmp_path, 60 * number, point) == -signal.SIGKILL, point
    assert turn(tmp_path, 180) == 0
    assert turn(tmp_path, 240) == 0
    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        assert sorted(run.tags["dativo/job"] for run in instance.get_runs()) == ["a", "b", "c"]
        assert {run.status for run in instance.get_runs()} == {dg.DagsterRunStatus.QUEUED}
