"""`python -m benchmarks.dagster_scale TASK JSON`: a project of many small jobs in Dagster, and the same assets by hand."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

JOB = """description: Table {number} of the shop
group: g{group}
source: {{reader: csv, files: [data/a.csv]}}
target: {{writer: parquet, path: "warehouse/{{name}}"}}
schema:
  - {{name: id, type: int64, required: true}}
  - {{name: amount, type: double}}
owners: ["team:shop"]
tags: {{tier: gold}}
"""
GROUPS = 20


def write(root: Path, jobs: int) -> None:
    """A project of that many jobs."""
    (root / "jobs").mkdir(parents=True, exist_ok=True)
    (root / "data").mkdir(exist_ok=True)
    (root / "dativo.yaml").write_text("{}\n")
    (root / "data/a.csv").write_text("id,amount\n1,2.5\n")
    for number in range(jobs):
        text = JOB.format(number=number, group=number % GROUPS)
        (root / f"jobs/job_{number:05}.yaml").write_text(text)


def load(root: str, jobs: int) -> None:
    """What a code server does first."""
    os.environ["DATIVO_PROJECT"] = root
    _initialize("dativo_assets.definitions")


def by_hand(root: str, jobs: int) -> None:
    """The same for assets with the same specs and checks, written as `@dg.asset`."""
    _initialize("benchmarks.dagster_by_hand", jobs)


def run_process(root: str, jobs: int) -> None:
    """What the process of a run of one asset loads, of a location that the code server has loaded."""
    os.environ["DATIVO_PROJECT"] = root
    from dagster import AssetKey
    from dagster._core.code_pointer import ModuleCodePointer
    from dagster._core.definitions.reconstruct import ReconstructableRepository
    from dagster_shared.serdes import deserialize_value

    data: Any = deserialize_value((Path(root) / "load_data.json").read_text())
    pointer = ModuleCodePointer("dativo_assets.definitions", "defs", None)
    repository = ReconstructableRepository(pointer).with_repository_load_data(data)
    job = repository.get_reconstructable_job("__ASSET_JOB")
    job.get_subset(asset_selection=frozenset({AssetKey(["g0", "job_00000"])})).get_definition()


def _initialize(module: str, jobs: int = 0) -> None:
    from dagster._core.code_pointer import ModuleCodePointer
    from dagster._core.definitions.reconstruct import initialize_repository_def_from_pointer
    from dagster_shared.serdes import serialize_value

    os.environ["DATIVO_BENCH_JOBS"] = str(jobs)
    repository = initialize_repository_def_from_pointer(ModuleCodePointer(module, "defs", None))
    repository.load_all_definitions()
    if repository.repository_load_data is not None:
        path = Path(os.environ["DATIVO_PROJECT"]) / "load_data.json"
        path.write_text(serialize_value(repository.repository_load_data))


if __name__ == "__main__":
    task = {"load": load, "by_hand": by_hand, "run_process": run_process}[sys.argv[1]]
    given = json.loads(sys.argv[2])
    import dagster  # noqa: F401  # every task pays for it, and none is about it

    start = time.perf_counter()
    task(**given)
    print(json.dumps({"seconds": time.perf_counter() - start}))
