"""A job of several tables in Dagster: one multi-asset, whose streams run, fail and are told apart."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest
from dagster import AssetKey

from dativo_assets.assets import AssetData, build_definitions
from dativo_assets.sensors.sensor import NAME

SHOP = """
    group: sales
    source:
      reader: csv
      files:
        - {path: data/orders/*.csv, object: orders}
        - {path: data/customers/*.csv, object: customers}
      incremental: {strategy: file_modified_time}
    target: {writer: parquet, path: warehouse/shop}
    schema:
      - {name: id, type: int64, required: true}
    evolve: add_columns
    trigger: {files: {poll: 30s}}
    retry: {max_attempts: 1}
"""
REPORT = """
    source:
      reader: sql
      query: SELECT o.id, c.name FROM shop.orders o JOIN shop.customers c USING (id)
    target: {writer: parquet, path: warehouse/report}
"""


@pytest.fixture
def shop(bench: Any) -> Any:
    bench.write("jobs/shop.yaml", SHOP)
    bench.write("data/orders/1.csv", "id\n1\n2\n")
    bench.write("data/customers/1.csv", "id,name\n1,Ann\n")
    return bench


def multi(bench: Any) -> dg.AssetsDefinition:
    return next(a for a in bench.definitions().assets if isinstance(a, dg.AssetsDefinition) and len(a.keys) > 1)


def test_streams_are_the_specs_of_one_asset_any_of_which_can_run_alone(shop: Any) -> None:
    shop.write("jobs/report.yaml", REPORT)
    asset = multi(shop)
    assert asset.can_subset and asset.op.name == "sales__shop"
    specs = shop.specs()
    orders, customers = specs["sales/shop/orders"], specs["sales/shop/customers"]
    assert [dep.asset_key.path for dep in orders.deps] == [["source", "csv", "data", "orders"]]
    assert [dep.asset_key.path for dep in customers.deps] == [["source", "csv", "data", "customers"]]
    assert orders.metadata["dagster/uri"].endswith("warehouse/shop/orders")
    assert orders.metadata["dagster/table_name"] == "sales.shop.orders"
    assert {check.key.asset_key.path[-1] for check in asset.check_specs} == {"orders", "customers"}
    deps = {dep.asset_key.to_user_string() for dep in specs["report"].deps}
    assert deps == {"sales/shop/orders", "sales/shop/customers"}
    dg.Definitions.validate_loadable(shop.definitions())


def test_each_stream_is_materialized_with_what_is_its_own_and_what_reads_them_follows(shop: Any) -> None:
    shop.write("jobs/report.yaml", REPORT)
    run = shop.run()
    assert run.ok
    assert set(run.materialized()) == {"sales/shop/orders", "sales/shop/customers", "report"}
    orders, customers = run.metadata("sales/shop/orders"), run.metadata("sales/shop/customers")
    assert (orders["rows_written"], customers["rows_written"]) == (2, 1)
    assert [column.name for column in customers["dagster/column_schema"].columns] == ["id", "name"]
    assert (orders["commit_seq"], customers["commit_seq"]) == (1, 1)
    assert run.metadata("report")["rows_written"] == 1


def test_columns_of_a_query_come_from_those_of_streams(shop: Any) -> None:
    shop.write("jobs/shop.yaml", SHOP[: SHOP.index("    schema:")])
    shop.write("jobs/report.yaml", REPORT)
    run = shop.run()
    lineage = run.metadata("report")["dagster/column_lineage"].deps_by_column
    assert {column: [(d.asset_key.path[-1], d.column_name) for d in deps] for column, deps in lineage.items()} == {
        "id": [("orders", "id")],
        "name": [("customers", "name")],
    }


def test_a_stream_can_be_materialized_alone(shop: Any) -> None:
    run = shop.run("sales/shop/customers")
    assert run.ok and set(run.materialized()) == {"sales/shop/customers"}
    assert not (shop.root / "warehouse/shop/orders").exists()


def test_a_stream_that_fails_fails_alone(shop: Any) -> None:
    shop.write("data/orders/1.csv", 'id\n1\n""\n')
    run = shop.run()
    assert not run.ok
    assert set(run.materialized()) == {"sales/shop/customers"}
    failure = run.failure("sales__shop")
    assert failure.description.startswith("1 of 2 streams failed (shop.orders): ")
    assert (shop.root / "warehouse/shop/customers/1").exists()
    assert not (shop.root / "warehouse/shop/orders").exists()
    checks = [e.asset_check_evaluation_data for e in run._of("ASSET_CHECK_EVALUATION")]
    assert {c.asset_key.path[-1] for c in checks if not c.passed} == {"orders"}
    assert {c.asset_key.path[-1] for c in checks} == {"orders", "customers"}


def test_a_stream_without_anything_new_is_observed_while_another_is_materialized(shop: Any) -> None:
    shop.run()
    shop.write("data/orders/2.csv", "id\n3\n")
    run = shop.run()
    assert run.ok
    assert set(run.materialized()) == {"sales/shop/orders"}
    assert [key for key in run.observed() if not key.startswith("source/")] == ["sales/shop/customers"]


def test_a_broken_contract_of_one_stream_leaves_the_other(shop: Any) -> None:
    shop.write(
        "jobs/shop.yaml",
        """
        source:
          reader: csv
          files: [{path: data/orders/*.csv, object: orders, contract: gone.yaml}, {path: data/customers/*.csv, object: customers}]
        target: {writer: parquet, path: warehouse/shop}
        """,
    )
    assert "gone.yaml" in shop.specs()["shop/orders"].description
    run = shop.run()
    assert not run.ok and set(run.materialized()) == {"shop/customers"}
    assert "gone.yaml" in run.failure("shop").description


def test_the_sensor_starts_the_stream_alone_that_has_something_new(shop: Any) -> None:
    shop.run()
    shop.write("data/customers/2.csv", "id,name\n2,Bob\n")
    definitions = shop.definitions()
    sensor = definitions.resolve_sensor_def(NAME)
    with dg.build_sensor_context(instance=shop.instance, definitions=definitions) as context:
        found = sensor.evaluate_tick(context)
    assert [request.asset_selection for request in found.run_requests or ()] == [
        [AssetKey(["sales", "shop", "customers"])]
    ]


def test_a_translation_is_asked_for_each_stream(shop: Any) -> None:
    def raw(spec: dg.AssetSpec, data: AssetData) -> dg.AssetSpec:
        return spec.replace_attributes(key=AssetKey(["raw", str(data.job.stream)]))

    definitions = build_definitions(shop.root, translation=raw)
    asset = next(a for a in definitions.assets or () if isinstance(a, dg.AssetsDefinition) and len(a.keys) > 1)
    assert asset.keys == {AssetKey(["raw", "orders"]), AssetKey(["raw", "customers"])}
    done = dg.materialize([asset], instance=shop.instance, selection=[AssetKey(["raw", "customers"])])
    assert [event.asset_key.path for event in done.get_asset_materialization_events() if event.asset_key] == [
        ["raw", "customers"]
    ]


def test_an_alert_tells_of_the_stream_that_failed(shop: Any) -> None:
    shop.write("jobs/shop.yaml", SHOP + "    alerts: {failure: true}\n")
    shop.write("data/orders/1.csv", 'id\n1\n""\n')
    run = shop.run()
    assert not run.ok
    checks = [e.asset_check_evaluation_data for e in run._of("ASSET_CHECK_EVALUATION")]
    told = {c.asset_key.path[-1]: c.passed for c in checks if c.check_name == "alert_failure"}
    assert told == {"orders": False}
    assert shop.run("sales/shop/customers").ok
