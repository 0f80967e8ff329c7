"""A project in a temporary folder, its definitions, and runs of its assets on an instance that is gone afterwards."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dativo_assets.assets import build_definitions

ORDERS = """
    description: |
      Orders of the shop
      More about them.
    group: sales
    source: {reader: csv, files: [data/orders/*.csv], incremental: {strategy: file_modified_time}}
    target: {writer: parquet, path: warehouse/orders}
    schema:
      - {name: id, type: int64, primary_key: true, description: The order's number}
      - {name: amount, type: double, min: 0}
      - {name: email, type: string, classification: pii}
    on_violation: quarantine
    owners: ["team:sales", "ann@example.com"]
    tags: {tier: gold}
    freshness: {fail_after: 24h, warn_after: 12h}
"""
REPORT = """
    group: sales
    depends_on: [orders]
    source: {reader: csv, files: data/report.csv}
    target: {writer: parquet, path: warehouse/report}
"""


@dataclass
class Run:
    """What one run recorded."""

    result: dg.ExecuteInProcessResult

    @property
    def ok(self) -> bool:
        return self.result.success

    def materialized(self) -> dict[str, Any]:
        """{asset: AssetMaterialization}"""
        found = [e.materialization for e in self.result.all_events if e.is_step_materialization]
        return {item.asset_key.to_user_string(): item for item in found}

    def metadata(self, key: str) -> dict[str, Any]:
        return {name: value.value for name, value in self.materialized()[key].metadata.items()}

    def observed(self) -> dict[str, Any]:
        found = [e.asset_observation_data.asset_observation for e in self._of("ASSET_OBSERVATION")]
        return {item.asset_key.to_user_string(): item for item in found}

    def checks(self) -> dict[str, Any]:
        found = [e.asset_check_evaluation_data for e in self._of("ASSET_CHECK_EVALUATION")]
        return {item.check_name: item for item in found}

    def failure(self, step: str) -> dg.Failure:
        for event in self._of("STEP_FAILURE"):
            if event.step_key == step:
                return event.step_failure_data.user_failure_data
        raise AssertionError(f"{step} did not fail")

    def _of(self, kind: str) -> list[Any]:
        return [event for event in self.result.all_events if event.event_type_value == kind]


class Workbench:
    """One project; `write` makes files, `run` materializes assets."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        self.root = root
        self.instance = instance
        self.write("dativo.yaml", "jobs: jobs/**/*.yaml\n")

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        return path

    def orders(self, rows: str = "1,10.5,a@x.org\n2,20,b@x.org\n", file: str = "one") -> None:
        self.write("jobs/orders.yaml", ORDERS)
        self.write(f"data/orders/{file}.csv", f"id,amount,email\n{rows}")

    def report(self) -> None:
        self.write("jobs/report.yaml", REPORT)
        self.write("data/report.csv", "total\n1\n")

    def definitions(self) -> dg.Definitions:
        return build_definitions(self.root)

    def specs(self) -> dict[str, dg.AssetSpec]:
        return {spec.key.to_user_string(): spec for spec in self.definitions().resolve_all_asset_specs()}

    def run(self, *keys: str, tags: dict[str, str] | None = None, partition: str | None = None) -> Run:
        assets = [item for item in self.definitions().assets or () if isinstance(item, dg.AssetsDefinition)]
        chosen = [dg.AssetKey.from_user_string(key) for key in keys]
        return Run(
            dg.materialize(
                assets,
                instance=self.instance,
                selection=chosen or None,
                raise_on_error=False,
                tags=tags,
                partition_key=partition,
            )
        )


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Workbench(tmp_path, instance)
