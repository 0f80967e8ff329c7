"""`python -m tests.sensors.daemon SECONDS [POINT]`: one turn of Dagster's sensor daemon, so many seconds from now.

Over the project of DATIVO_PROJECT, in the instance of DAGSTER_HOME.
POINT: where it is killed, by one of Dagster's names for the steps of a tick.
"""

from __future__ import annotations

import logging
import signal
import sys
from datetime import timedelta

import dagster as dg
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import InProcessTestWorkspaceLoadTarget, freeze_time
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._daemon.sensor import execute_sensor_iteration
from dagster._time import get_current_datetime


def turn(later_s: float, point: str | None) -> None:
    """Asks the sensor once, and submits the runs that it wants."""
    origin = LoadableTargetOrigin(
        executable_path=sys.executable, module_name="dativo_assets.definitions", attribute="defs"
    )
    target = InProcessTestWorkspaceLoadTarget(InProcessCodeLocationOrigin(origin))
    flags = None if point is None else {"dativo_triggers": {point: signal.SIGKILL}}
    with (
        dg.DagsterInstance.get() as instance,
        WorkspaceProcessContext(instance, target) as workspace,
        freeze_time(get_current_datetime() + timedelta(seconds=later_s)),
    ):
        list(execute_sensor_iteration(workspace, logging.getLogger("daemon"), None, None, debug_crash_flags=flags))


if __name__ == "__main__":
    turn(float(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
