"""DATIVO_BENCH_JOBS assets, each as a person writes it: what a location of generated ones is measured against."""

from __future__ import annotations

import os

import dagster as dg

from .dagster_scale import GROUPS


def _asset(number: int) -> dg.AssetsDefinition:
    key = dg.AssetKey([f"g{number % GROUPS}", f"job_{number:05}"])

    @dg.asset(
        key=key,
        deps=[dg.AssetKey(["source", "csv", "data", "a.csv"])],
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
        check_specs=[dg.AssetCheckSpec(name, asset=key) for name in ("types", "id_required")],
    )
    def table():  # type: ignore[no-untyped-def]  # Dagster reads the annotation as that of every output
        raise NotImplementedError

    return table


defs = dg.Definitions(assets=[_asset(number) for number in range(int(os.environ["DATIVO_BENCH_JOBS"]))])
