"""`python -m benchmarks.dagster_scale TASK JSON`: a project of many small jobs in Dagster, and the same assets by hand.

Each task is a process. It prints `{"seconds": s}` of its work, without the import of Dagster that all pay for.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

JOB = """description: Table {number} of the shop
group: g{group}
source: {{reader: csv, files: [data/*.csv]}}
target: {{writer: parquet, path: "warehouse/{{name}}"}}
owners: ["team:shop"]
tags: {{tier: gold}}
"""
SCHEMA = """schema:
  - {name: id, type: int64, required: true}
  - {name: amount, type: double}
"""
TRIGGER = "trigger: {files: {poll: 1h}}\n"
GROUPS = 20
MODULES = {
    "jobs": "dativo_assets.definitions",
    "by hand": "benchmarks.dagster_by_hand",
    "dlt": "benchmarks.dagster_dlt_assets",
}
_SETTINGS = "telemetry: {enabled: false}\nnux: {enabled: false}\n"


def write(root: Path, jobs: int, more: str = SCHEMA) -> None:
    """A project of that many jobs, and a Dagster instance beside it. more: YAML that each job ends with."""
    for folder in ("jobs", "data", "home"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "dativo.yaml").write_text("{}\n")
    (root / "home/dagster.yaml").write_text(_SETTINGS)
    (root / "data/a.csv").write_text("id,amount\n1,2.5\n")
    for number in range(jobs):
        text = JOB.format(number=number, group=number % GROUPS) + more
        (root / f"jobs/job_{number:05}.yaml").write_text(text)


def load(made: str) -> float:
    """What a code server does first: it loads its location, and makes the snapshot of it that others ask for.

    made: how, of MODULES.
    """
    from dagster._core.code_pointer import ModuleCodePointer
    from dagster._core.definitions.reconstruct import initialize_repository_def_from_pointer
    from dagster._core.remote_representation.external_data import RepositorySnap
    from dagster_shared.serdes import serialize_value

    start = time.perf_counter()
    repository = initialize_repository_def_from_pointer(ModuleCodePointer(MODULES[made], "defs", None))
    repository.load_all_definitions()
    snapshot = serialize_value(RepositorySnap.from_def(repository, defer_snapshots=True))
    seconds = time.perf_counter() - start
    (_root() / "snapshot.json").write_text(snapshot)
    if repository.repository_load_data is not None:
        _load_data().write_text(serialize_value(repository.repository_load_data))
    return seconds


def run(made: str, assets: int, in_process: bool) -> float:
    """The process of a run, from its start to its end, of a location that a code server has loaded."""
    import dagster as dg
    from dagster._core.code_pointer import ModuleCodePointer
    from dagster._core.definitions.reconstruct import ReconstructableRepository
    from dagster._core.execution.api import create_execution_plan
    from dagster._grpc.types import ExecuteRunArgs
    from dagster_shared.serdes import deserialize_value, serialize_value

    os.environ["DAGSTER_HOME"] = str(_root() / "home")
    repository = ReconstructableRepository(ModuleCodePointer(MODULES[made], "defs", None))
    if made == "jobs":
        data: Any = deserialize_value(_load_data().read_text())
        repository = repository.with_repository_load_data(data)
    keys = frozenset(dg.AssetKey([f"g{number % GROUPS}", f"job_{number:05}"]) for number in range(assets))
    job = repository.get_reconstructable_job("__ASSET_JOB").get_subset(asset_selection=keys)
    config = {
        "execution": {"config": {"in_process" if in_process else "multiprocess": {}}},
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }
    with dg.DagsterInstance.get() as instance:
        launched = instance.create_run_for_job(
            job.get_definition(),
            execution_plan=create_execution_plan(
                job,
                run_config=config,
                instance_ref=instance.get_ref(),
                repository_load_data=repository.repository_load_data,
            ),
            run_config=config,
            asset_selection=keys,
            job_code_origin=job.get_python_origin(),
        )
        arguments = ExecuteRunArgs(job.get_python_origin(), launched.run_id, instance.get_ref())
        start = time.perf_counter()
        argv = [sys.executable, "-m", "dagster", "api", "execute_run", serialize_value(arguments)]
        subprocess.run(argv, check=True, capture_output=True)
        seconds = time.perf_counter() - start
        ended = instance.get_run_by_id(launched.run_id)
        assert ended is not None and ended.is_success, ended
    return seconds


def _root() -> Path:
    return Path(os.environ["DATIVO_PROJECT"])


def _load_data() -> Path:
    return _root() / "load_data.json"


if __name__ == "__main__":
    import dagster  # noqa: F401  # every task pays for it, and none is about it

    tasks: dict[str, Callable[..., float]] = {"load": load, "run": run}
    print(json.dumps({"seconds": tasks[sys.argv[1]](**json.loads(sys.argv[2]))}))
