"""`python -m benchmarks.dagster_ticks FOLDER TURNS`: the sensor over a project's jobs, each of which has something new.

Prints {"first": seconds of the first tick of a process, "turns": short ticks until every job was started, "longest": seconds of
the longest of them, "again": jobs started twice meanwhile}; the last three where TURNS is 1, not 0.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path

import dagster as dg

from dativo_assets.assets import asset_key
from dativo_assets.config import load_project
from dativo_assets.registry import Registry
from dativo_assets.sensors import Watched, trigger_sensor

_SHORT_S = 1.0
_MOST_TURNS = 500


def main(root: Path, by_turns: bool) -> dict[str, float]:
    """Nothing is ever committed. Jobs poll once an hour: what one tick of a sensor has asked, its next one does not."""
    logging.disable(logging.CRITICAL)
    project = load_project(root)
    watched = [Watched(job, asset_key(job.name, job.group)) for job in project.jobs.values()]
    with dg.DagsterInstance.ephemeral() as instance:
        _, first, begun = _tick(trigger_sensor(watched, project, Registry(root)), instance, None)
        assert begun
        if not by_turns:
            return {"first": first}
        short = trigger_sensor(watched, project, Registry(root), budget_s=_SHORT_S)
        cursor, turns, longest, again = None, 0, 0.0, 0
        had_a_turn: set[str] = set()
        while len(had_a_turn) < len(watched):
            cursor, seconds, begun = _tick(short, instance, cursor)
            turns, longest = turns + 1, max(longest, seconds)
            again += len(had_a_turn.intersection(begun))
            had_a_turn.update(begun)
            assert turns < _MOST_TURNS, f"{len(watched) - len(had_a_turn)} jobs have no turn"
    return {"first": first, "turns": turns, "longest": longest, "again": again}


def _tick(
    sensor: dg.SensorDefinition, instance: dg.DagsterInstance, cursor: str | None
) -> tuple[str | None, float, list[str]]:
    """The next cursor, the tick's seconds, and the jobs that it starts."""
    with dg.build_sensor_context(instance, cursor) as context:
        start = time.perf_counter()
        told = sensor(context)
        seconds = time.perf_counter() - start
    assert isinstance(told, dg.SensorResult)
    return told.cursor, seconds, [request.tags["dativo/job"] for request in told.run_requests or ()]


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2] == "1")))
