"""`python -m benchmarks.dagster_overhead FOLDER ROUNDS MANY`: what Dagster costs a small job, in one process.

Prints {what: [seconds a materialization]}, a figure a round, of the processor: the instance is in memory, and one on disk
waits for the disk most of its time. What a job costs without Dagster is measured beside it, so that only the rest is compared
with an asset by hand.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import dagster as dg

from dativo_assets.assets import build_definitions
from dativo_assets.config import Project, load_project
from dativo_assets.pipeline import RunSettings
from dativo_assets.pipeline import run as pipeline_run
from dativo_assets.plan import bind
from dativo_assets.registry import Registry

from . import dagster_by_hand, dagster_scale

_TIMES = 10
_ONE_ROUND = 1_000  # of so many in one run, which takes minutes
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def main(folder: Path, rounds: int, many: int) -> dict[str, list[float]]:
    """many: assets in one run."""
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    plain, checked = folder / "plain", folder / "checked"
    dagster_scale.write(plain, 1, more="")
    dagster_scale.write(checked, many)
    (one,), several = _assets(plain), _assets(checked)

    @dg.asset
    def empty() -> None: ...

    @dg.asset(deps=[dagster_by_hand.SOURCE])
    def sourced():  # type: ignore[no-untyped-def]  # Dagster reads the annotation as that of every output
        yield dg.MaterializeResult()
        yield dg.AssetObservation(dagster_by_hand.SOURCE)

    by_hand = [dagster_by_hand.asset(number) for number in range(many)]
    alone = _in_turn(
        {
            "an empty asset": lambda: _materialized([empty]),
            "an asset with a source": lambda: _materialized([sourced]),
            "a job": lambda: _materialized([one]),
            "its pipeline": lambda: _pipelines(plain, 1),
            "an asset with checks": lambda: _materialized(by_hand[:1]),
            "a job with checks": lambda: _materialized(several[:1]),
            "its pipeline, with checks": lambda: _pipelines(checked, 1),
        },
        _TIMES * rounds,
    )
    together = _in_turn(
        {
            "many assets": lambda: _materialized(by_hand) / many,
            "many jobs": lambda: _materialized(several) / many,
            "their pipelines": lambda: _pipelines(checked, many),
        },
        1 if many >= _ONE_ROUND else rounds,
        not_counted=0,
    )
    return alone | together


def _in_turn(lines: Mapping[str, Callable[[], float]], rounds: int, not_counted: int = 1) -> dict[str, list[float]]:
    """Every line once a round; not_counted: rounds before, which import what is missing."""
    found: dict[str, list[float]] = {label: [] for label in lines}
    for _ in range(not_counted + rounds):
        for label, measure in lines.items():
            found[label].append(measure())
    return {label: seconds[not_counted:] for label, seconds in found.items()}


def _assets(root: Path) -> list[dg.AssetsDefinition]:
    return [item for item in build_definitions(root).assets or () if isinstance(item, dg.AssetsDefinition)]


def _materialized(assets: Sequence[dg.AssetsDefinition]) -> float:
    """Of one run of them all, as a backfill of assets without partitions makes it."""
    with dg.DagsterInstance.ephemeral() as instance:
        start = time.process_time()
        assert dg.materialize(assets, instance=instance, run_config=_QUIET).success
        return time.process_time() - start


def _pipelines(root: Path, jobs: int) -> float:
    """Of binding and running a job without Dagster."""
    project: Project = load_project(root)
    registry, found = Registry(root), list(project.jobs.values())[:jobs]
    start = time.process_time()
    for job in found:
        result = pipeline_run(bind(job, project, registry), RunSettings(profile=True), str(uuid.uuid4()))
        assert result.error is None, result.error
    return (time.process_time() - start) / jobs


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
