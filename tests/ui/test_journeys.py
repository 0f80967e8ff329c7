"""What a person does at Dagster's pages: starts one job and watches it, finds a mistake, fills partitions, waits for a file."""

from __future__ import annotations

import re
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.dataset
import pytest
from playwright.sync_api import Page, expect

from .conftest import Server

pytestmark = [pytest.mark.alone, pytest.mark.timeout(600)]

FILES = {
    "dativo.yaml": "jobs: jobs/*.yaml\n",
    "jobs/orders.yaml": """
        description: Orders of the shop, a file an hour
        group: sales
        source:
          reader: csv
          files: [data/orders/*.csv]
          incremental: {strategy: file}
        target: {writer: parquet, path: warehouse/orders}
        schema:
          - {name: id, type: int64, primary_key: true}
          - {name: amount, type: double, min: 0}
        trigger: {files: {poll: 5s}}
    """,
    "jobs/refunds.yaml": """
        description: Refunds, with a mistake that only a run can find
        group: sales
        source: {reader: csv, files: [data/refunds.csv]}
        target:
          writer: parquet
          path: warehouse/refunds
          options:
            compresion: zstd
    """,
    "jobs/clicks.yaml": """
        description: Clicks, which come slowly
        group: web
        source: {reader: "plugins/slow.py:Slow"}
        target: {writer: parquet, path: warehouse/clicks}
    """,
    "jobs/visits.yaml": """
        description: Visits by day
        group: web
        source: {reader: csv, files: [data/visits.csv]}
        target: {writer: parquet, path: warehouse/visits, partition_by: [day]}
        schema:
          - {name: day, type: date, required: true}
          - {name: visits, type: int64}
        partitions: {daily: {start: 2024-03-01, end: 2024-03-05, column: day}}
    """,
    "plugins/slow.py": """
        import time

        from dativo_plugin_sdk import BaseReader, ConnectionTestResult


        class Slow(BaseReader):
            def check_connection(self):
                return ConnectionTestResult(True, "")

            def extract(self, state_manager=None):
                for batch in range(40):
                    time.sleep(0.3)
                    yield [{"id": batch * 1000 + row} for row in range(1000)]
    """,
    "data/refunds.csv": "id\n1\n",
    "data/visits.csv": "day,visits\n2024-03-01,7\n2024-03-02,8\n2024-03-03,9\n2024-03-04,10\n",
}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    root = tmp_path / "site"
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"))
    (root / "data/orders").mkdir()
    return root


def rows(root: Path, table: str) -> int:
    files = [str(path) for path in (root / "warehouse" / table).glob("**/*.parquet")]
    return int(pyarrow.dataset.dataset(files, format="parquet").count_rows()) if files else 0


def test_one_asset_is_started_and_watched_a_mistake_found_partitions_filled_and_a_file_loaded(
    serve: Callable[[Path], Server], site: Path, page: Page, shoot: Callable[..., None]
) -> None:
    server = serve(site)
    _starts_one_and_watches_it(server, page, shoot)
    _finds_the_line_of_a_mistake_within_two_clicks(server, page, shoot)
    _fills_partitions(server, page, shoot)
    _sees_files_come_in(server, page, shoot)


def _materialize(page: Page) -> None:
    page.get_by_role("button").filter(has_text=re.compile(r"Materialize\W*$")).first.click()


def _starts_one_and_watches_it(server: Server, page: Page, shoot: Callable[..., None]) -> None:
    page.goto(f"{server.url}/asset-groups")
    for name in ("sales", "web", "sources"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()

    page.goto(f"{server.url}/assets/web/clicks")
    expect(page.get_by_text("Clicks, which come slowly").first).to_be_visible()
    _materialize(page)
    run = server.newest_run(page, "clicks")
    page.goto(f"{server.url}/runs/{run['runId']}")
    expect(page.get_by_text(re.compile(r"move: [\d,]+ rows, [\d.]+ MB, [\d,]+ rows/s")).first).to_be_visible()
    assert server.status(run["runId"]) == "STARTED", "progress is told while the run goes on"
    shoot("progress")
    ended = server.wait_for_new_run(page)
    assert (ended["runId"], ended["status"]) == (run["runId"], "SUCCESS")
    assert rows(server.root, "clicks") == 40_000
    page.goto(f"{server.url}/assets/web/clicks")
    expect(page.get_by_text("40,000").first).to_be_visible()


def _finds_the_line_of_a_mistake_within_two_clicks(server: Server, page: Page, shoot: Callable[..., None]) -> None:
    page.goto(f"{server.url}/assets/sales/refunds")
    expect(page.get_by_text("Refunds, with a mistake").first).to_be_visible()
    _materialize(page)
    failed = server.wait_for_new_run(page)
    assert failed["status"] == "FAILURE"
    page.goto(f"{server.url}/runs")
    page.get_by_role("link", name=failed["runId"][:8]).first.click()  # the one click
    line = FILES["jobs/refunds.yaml"].strip("\n").splitlines().index("            compresion: zstd") + 1
    expect(page.get_by_text(f"jobs/refunds.yaml:{line}:", exact=False).first).to_be_visible()
    expect(page.get_by_text("did you mean `compression`?", exact=False).first).to_be_visible()
    shoot("mistake", clip=(240, 410, 1260, 200))


def _fills_partitions(server: Server, page: Page, shoot: Callable[..., None]) -> None:
    page.goto(f"{server.url}/assets/web/visits")
    expect(page.get_by_text("Visits by day").first).to_be_visible()
    _materialize(page)
    page.get_by_text("All", exact=True).first.click()
    expect(page.get_by_text("4 partitions").first).to_be_visible()
    shoot("backfill")
    page.get_by_role("button", name="Launch backfill").click()
    ended = server.wait_for_new_run(page)
    assert ended["status"] == "SUCCESS"
    assert rows(server.root, "visits") == 4
    page.goto(f"{server.url}/assets/web/visits?view=partitions")
    expect(page.get_by_text("2024-03-04").first).to_be_visible()
    assert server.materialized_partitions(["web", "visits"]) == 4
    shoot("partitions")


def _sees_files_come_in(server: Server, page: Page, shoot: Callable[..., None]) -> None:
    took: list[float] = []
    for file in (1, 2, 3):
        arrived = time.monotonic()
        whole = server.root / "data/hour.part"
        whole.write_text("id,amount\n" + "".join(f"{file * 100 + n},{n}.5\n" for n in range(10)))
        whole.rename(server.root / f"data/orders/{file}.csv")
        while rows(server.root, "orders") < file * 10:
            assert time.monotonic() - arrived < 60, "no run loaded the file"
            page.wait_for_timeout(50)
        took.append(time.monotonic() - arrived)
        run = server.wait_for_new_run(page)
        assert run["status"] == "SUCCESS"
        assert server.rows_written(run["runId"]) == 10, "only what is new"
    # A run is a new process, which a busy machine may keep waiting: one of three shows what the way itself takes.
    assert min(took) < 10, f"seconds from a file's arrival to its rows: {took}"
    page.goto(f"{server.url}/assets/sales/orders?view=events")
    expect(page.get_by_text("Materialized", exact=False).first).to_be_visible()
    shoot("files_came_in")
    page.goto(f"{server.url}/automation")
    page.get_by_text("dativo_triggers").first.click()
    expect(page.get_by_text("watched", exact=False).or_(page.get_by_text("Tick")).first).to_be_visible()
    shoot("sensor")
