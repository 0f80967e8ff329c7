"""The command over jobs of several tables."""

from __future__ import annotations

from typing import Any

import pytest

SHOP = """
source:
  reader: csv
  files: [{path: orders.csv, object: orders}, {path: customers.csv, object: customers}]
target: {writer: parquet, path: "warehouse/{stream}"}
retry: {max_attempts: 1}
"""
REPORT = """
source: {reader: sql, query: SELECT count(*) AS n FROM shop.orders}
target: {writer: parquet, path: warehouse/report}
"""


@pytest.fixture
def shop(shell: Any) -> Any:
    shell.write("jobs/shop.yaml", SHOP)
    shell.write("jobs/report.yaml", REPORT)
    shell.write("orders.csv", "id\n1\n2\n")
    shell.write("customers.csv", "id\n7\n")
    return shell


def test_run_tells_each_stream_and_takes_one_alone(shop: Any) -> None:
    found = shop("run", "--json").json
    told = [(one["job"], one.get("stream"), one["status"], one["seq"]) for one in found]
    assert sorted(told[:2], key=str) == [("shop", "customers", "succeeded", 1), ("shop", "orders", "succeeded", 1)]
    assert told[2:] == [("report", None, "succeeded", 1)]
    (one,) = shop("run", "shop", "--stream", "orders", "--json").json
    assert (one["stream"], one["seq"]) == ("orders", 2)
    said = shop("run", "shop.customers")
    assert said.code == 0 and said.out.startswith("shop.customers: 1 row, ")


def test_a_failed_stream_skips_what_reads_it_and_nothing_else(shop: Any) -> None:
    shop.write("orders.csv", "id\n1,2,3\n")
    said = shop("run", "--json")
    assert said.code == 1
    status = {
        one.get("stream") or one["job"]: (one["status"], one["error"] and one["error"]["error_code"])
        for one in said.json
    }
    assert status["customers"] == ("succeeded", None)
    assert status["orders"][0] == "failed" and status["report"] == ("failed", "UPSTREAM_FAILED")


def test_plan_preview_and_state_are_of_a_stream(shop: Any) -> None:
    assert [one["stream"] for one in shop("plan", "shop", "--json").json] == ["orders", "customers"]
    (plan,) = shop("plan", "shop", "--stream", "customers", "--json").json
    assert plan["target"] == "warehouse/customers"
    assert shop("preview", "shop", "--stream", "customers", "--json").json["rows"] == [{"id": 7}]
    said = shop("preview", "shop")
    assert said.code == 2 and "name one: --stream orders" in said.err
    shop("run", "shop")
    assert {one["stream"]: one["seq"] for one in shop("state", "show", "shop", "--json").json} == {
        "orders": 1,
        "customers": 1,
    }
    assert shop("state", "history", "shop", "--stream", "orders", "--json").json["stream"] == "orders"
    document = shop("state", "export", "shop", "--stream", "orders").out
    shop.write("state.json", document)
    said = shop("state", "import", "shop", "state.json", "--stream", "customers")
    assert said.code == 2 and "the document is of job shop, stream orders, not shop, stream customers" in said.err
    assert shop("state", "import", "shop", "state.json", "--stream", "orders").code == 0


def test_a_stream_that_is_not_there_is_refused_with_the_nearest_one(shop: Any) -> None:
    said = shop("run", "shop", "--stream", "order")
    assert said.code == 2 and "shop has no stream `order`" in said.err and "did you mean `orders`?" in said.err
    said = shop("run", "report", "--stream", "orders")
    assert said.code == 2 and "report has no streams" in said.err


def test_materialize_tells_each_stream(shop: Any) -> None:
    shop.write("orders.csv", "id\n1,2,3\n")
    said = shop("materialize", "shop", "--json")
    assert said.code == 1
    assert {one["job"]: one["status"] for one in said.json} == {
        "shop.orders": "failed",
        "shop.customers": "materialized",
    }
