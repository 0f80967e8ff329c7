"""DATIVO_BENCH_JOBS assets of dagster-dlt, each with a resource and a pipeline of its own, as a job has a reader and a target."""

import os

import dagster as dg
import dlt
from dagster_dlt import DagsterDltResource, dlt_assets
from dlt.sources.filesystem import filesystem, read_csv

from .dagster_scale import GROUPS


def asset(number: int) -> dg.AssetsDefinition:
    """One CSV file to one table."""
    name = f"job_{number:05}"

    @dlt.source(name=name)
    def source():  # type: ignore[no-untyped-def]  # dlt looks at what it returns
        return (filesystem("data", file_glob="*.csv") | read_csv()).with_name(name)

    @dlt_assets(
        dlt_source=source(),
        dlt_pipeline=dlt.pipeline(name, destination="filesystem", dataset_name="warehouse"),
        name=name,
        group_name=f"g{number % GROUPS}",
    )
    def loaded(context: dg.AssetExecutionContext, dlt: DagsterDltResource):  # type: ignore[no-untyped-def]
        yield from dlt.run(context=context)

    return loaded


defs = dg.Definitions(
    assets=[asset(number) for number in range(int(os.environ.get("DATIVO_BENCH_JOBS", "0")))],
    resources={"dlt": DagsterDltResource()},
)
