"""What Dagster shows of a job that found nothing new."""

from __future__ import annotations

import dagster as dg

from dativo_assets.assets import build_definitions

from .conftest import Folder

JOB = """
source:
  reader: csv
  files: [data/*.csv]
  incremental: {strategy: file_modified_time}
schema:
  - {name: n, type: int64, required: true, min: 0}
on_violation: warn
"""


def test_checks_keep_their_last_outcome_when_nothing_is_new(folder: Folder) -> None:
    folder.write("jobs/numbers.yaml", JOB)
    folder.write("data/a.csv", "n\n1\n-2\n")
    job = build_definitions(folder.root).resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        found = []
        for _ in range(2):
            result = job.execute_in_process(instance=instance)
            found.append({item.check_name: item.passed for item in result.get_asset_check_evaluations()})
            materialized = len(result.get_asset_materialization_events())
        assert found[0] == found[1] == {"types": True, "n_not_null": True, "n_min": False}
        assert materialized == 0
