"""DATIVO_BENCH_JOBS assets, each as a person writes it: what a location of generated ones is measured against."""

from __future__ import annotations

import os
from collections.abc import Sequence

import dagster as dg

from .dagster_scale import GROUPS

CHECKS = ("types", "id_not_null")
SOURCE = dg.AssetKey(["source", "csv", "data"])


def asset(number: int, checks: Sequence[str] = CHECKS) -> dg.AssetsDefinition:
    """One that does nothing but tell Dagster what a job of the project tells it."""
    key = dg.AssetKey([f"g{number % GROUPS}", f"job_{number:05}"])

    @dg.asset(
        key=key,
        deps=[SOURCE],
        description=f"Table {number} of the shop",
        group_name=f"g{number % GROUPS}",
        owners=["team:shop"],
        tags={"tier": "gold", "dagster/storage_kind": "parquet"},
        kinds={"csv", "parquet"},
        code_version="1.0",
        metadata={
            "dagster/table_name": key.to_user_string(),
            "dagster/uri": f"/warehouse/job_{number:05}",
            "dagster/column_schema": dg.TableSchema(
                [dg.TableColumn("id", "int64"), dg.TableColumn("amount", "double")]
            ),
        },
        check_specs=[dg.AssetCheckSpec(name, asset=key) for name in checks],
    )
    def table():  # type: ignore[no-untyped-def]  # Dagster reads the annotation as that of every output
        yield dg.MaterializeResult()
        yield dg.AssetObservation(SOURCE)
        for name in checks:
            yield dg.AssetCheckResult(passed=True, check_name=name, asset_key=key)

    return table


defs = dg.Definitions(assets=[asset(number) for number in range(int(os.environ.get("DATIVO_BENCH_JOBS", "0")))])
