"""What a person sees: the graph, a click on Materialize, an asset's page, a failed job and its cause."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from .conftest import Server, expand_groups

pytestmark = [pytest.mark.alone, pytest.mark.timeout(600)]

ORDERS = """
    description: Orders of the shop, one row an order
    group: sales
    source:
      reader: csv
      files: [data/orders/*.csv]
      incremental: {strategy: file_modified_time}
    target: {writer: parquet, path: warehouse/orders}
    schema:
      - {name: id, type: int64, primary_key: true, description: The order's number}
      - {name: amount, type: double, min: 0, description: Euros}
      - {name: email, type: string, pattern: "@", classification: pii}
      - {name: ordered_at, type: "timestamp[us, UTC]", required: true}
    on_violation: quarantine
    owners: ["team:sales", "ann@example.com"]
    tags: {tier: gold}
    freshness: {fail_after: 24h, warn_after: 12h}
    trigger: {files: {poll: 5s}}
"""
TOTALS = """
    description: Euros a customer
    group: curated
    source: {reader: sql, query: "SELECT email, sum(amount) AS total, count(*) AS orders FROM orders GROUP BY email"}
    target: {writer: parquet, path: warehouse/totals}
    schema:
      - {name: email, type: string, classification: pii}
      - {name: total, type: double, min: 0}
      - {name: orders, type: int64, min: 1}
    trigger: {cron: "0 6 * * *"}
"""
REFUNDS = """
    description: Refunds, of which a file is broken
    group: sales
    source: {reader: csv, files: data/refunds.csv}
    target: {writer: parquet, path: warehouse/refunds}
    schema:
      - {name: id, type: int64}
      - {name: amount, type: double, max: 0}
"""


def _write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text).lstrip("\n"))


def _orders(root: Path, file: int, rows: int) -> None:
    lines = [
        f"{file * 1_000_000 + n},{-1.0 if n == 7 else n % 90 + 0.5},c{n % 50}@example.com,2024-01-{n % 28 + 1:02}T10:00:00Z"
        for n in range(rows)
    ]
    _write(root, f"data/orders/{file}.csv", "id,amount,email,ordered_at\n" + "\n".join(lines) + "\n")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    root = tmp_path / "shop"
    _write(root, "dativo.yaml", "jobs: jobs/*.yaml\n")
    _write(root, "jobs/orders.yaml", ORDERS)
    _write(root, "jobs/totals.yaml", TOTALS)
    _write(root, "jobs/refunds.yaml", REFUNDS)
    _write(root, "jobs/typo.yaml", "group: sales\nsource: {raeder: csv, files: x.csv}\ntarget: {writer: parquet}\n")
    _write(root, "data/refunds.csv", "id,amount\n1,-5\n2,12\n")
    _orders(root, 1, 2_000)
    return root


def test_from_the_graph_to_a_materialized_asset_and_from_a_failure_to_its_cause(
    serve: Callable[[Path], Server], shop: Path, page: Page, shoot: Callable[..., None]
) -> None:
    server = serve(shop)

    # The sensor, running from the start, loads the file that is already there.
    first = server.wait_for_new_run(page)
    assert first["status"] == "SUCCESS"
    assert first["assetSelection"] == [{"path": ["sales", "orders"]}]

    page.goto(f"{server.url}/asset-groups")
    page.get_by_role("button", name=re.compile("Materialize all")).click()
    whole = server.wait_for_new_run(page)
    assert whole["status"] == "FAILURE"  # refunds and typo fail; the others don't mind

    page.goto(f"{server.url}/asset-groups")
    for name in ("sales", "curated", "sources"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
    expand_groups(page)
    expect(page.get_by_text("totals", exact=True).first).to_be_visible()
    shoot("asset_graph")

    # More files: more runs, started by nobody.
    for file in (2, 3, 4):
        _orders(shop, file, 1_000 * file)
        assert server.wait_for_new_run(page)["status"] == "SUCCESS"

    page.goto(f"{server.url}/assets/sales/orders?view=overview")
    expect(page.get_by_text("Orders of the shop", exact=False).first).to_be_visible()
    shoot("asset_overview")
    expect(page.get_by_text(re.compile(r"^1[01],\d{3}$")).first).to_be_visible()  # rows of the whole table
    for word in ("Owners", "Kinds", "Storage", "in editor", "non-nullable", "warehouse/orders"):
        expect(page.get_by_text(word, exact=False).first).to_be_visible()
    shoot("asset_overview")

    page.get_by_role("button", name="Plots").or_(page.get_by_text("Plots", exact=True)).first.click()
    expect(page.get_by_text("dagster/row_count").first).to_be_visible()
    expect(page.locator("canvas").first).to_be_visible()
    page.set_viewport_size({"width": 1500, "height": 1500})
    page.wait_for_timeout(1500)
    shoot("asset_plots")
    shoot("plots", clip=(245, 470, 860, 1030))
    page.set_viewport_size({"width": 1500, "height": 1000})

    page.goto(f"{server.url}/assets/sales/orders?view=checks")
    expect(page.get_by_text("amount_min").first).to_be_visible()
    page.get_by_text("amount_min").first.click()
    expect(page.get_by_text("break it", exact=False).first).to_be_visible()
    shoot("asset_checks")

    page.goto(f"{server.url}/runs/{whole['runId']}")
    page.get_by_text("sales__refunds", exact=True).last.click()
    expect(page.get_by_text("amount <= 0", exact=False).first).to_be_visible()
    shoot("run_failed")
    page.goto(f"{server.url}/assets/sales/typo?view=overview")
    expect(page.get_by_text("did you mean `reader`?", exact=False).first).to_be_visible()
    expect(page.get_by_text("jobs/typo.yaml:2", exact=False).first).to_be_visible()
    shoot("asset_broken")

    page.goto(f"{server.url}/runs/{first['runId']}")
    expect(page.get_by_text("ASSET_MATERIALIZATION").first).to_be_visible()
    shoot("run_page")
    page.goto(f"{server.url}/automation")
    expect(page.get_by_text("dativo_triggers").first).to_be_visible()
    shoot("automation")
