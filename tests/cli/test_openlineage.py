"""OpenLineage events: what a lineage service is told of runs, and that it can harm none."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

pytest.importorskip("openlineage.client")

DAILY = """
source: {reader: sql, query: "SELECT sum(amount) AS revenue FROM orders"}
target: {writer: parquet, path: w/daily, mode: overwrite}
schema: [{name: revenue, type: double, min: 0}]
"""


@pytest.fixture
def shop(shell):
    shell.write(
        "dativo.yaml", "name: shop\nopenlineage:\n  transport: {type: file, log_file_path: ol/e.json, append: true}\n"
    )
    shell.write("data/orders.csv", "id,amount\n1,5\n2,7\n")
    shell.write(
        "jobs/orders.yaml",
        """
        source: {reader: csv, files: [data/orders.csv]}
        target: {writer: parquet, path: w/orders}
        schema: [{name: id, type: int64}, {name: amount, type: double}]
        """,
    )
    shell.write("jobs/daily.yaml", DAILY)
    return shell


def events(shell) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (shell.root / "ol/e.json").read_text().splitlines()]


def test_each_run_begins_and_ends_with_schema_columns_counts_and_checks(shop) -> None:
    assert shop("run").code == 0
    told = [(event["job"]["name"], event["eventType"]) for event in events(shop)]
    assert told == [("orders", "START"), ("orders", "COMPLETE"), ("daily", "START"), ("daily", "COMPLETE")]
    start, end = events(shop)[2:]
    assert start["run"]["runId"] == end["run"]["runId"] != events(shop)[0]["run"]["runId"]
    assert end["job"]["namespace"] == "shop"
    assert "sum(amount)" in end["job"]["facets"]["sql"]["query"]
    orders = {"namespace": "file", "name": str(shop.root / "w/orders")}
    (read,) = end["inputs"]
    assert {key: read[key] for key in orders} == orders
    assert events(shop)[1]["outputs"][0]["name"] == orders["name"]
    (wrote,) = end["outputs"]
    assert wrote["facets"]["schema"]["fields"][0]["name"] == "revenue"
    origin = wrote["facets"]["columnLineage"]["fields"]["revenue"]["inputFields"]
    assert [{key: item[key] for key in (*orders, "field")} for item in origin] == [{**orders, "field": "amount"}]
    assert wrote["outputFacets"]["outputStatistics"]["rowCount"] == 1
    checks = wrote["facets"]["dataQualityAssertions"]["assertions"]
    assert {check["name"]: check["success"] for check in checks} == {"types": True, "revenue_min": True}
    assert events(shop)[0]["inputs"][0]["name"] == str(shop.root / "data/orders.csv")


def test_a_run_that_fails_ends_in_fail_with_its_error(shop) -> None:
    shop.write("data/orders.csv", "id,amount\n1,five\n")
    assert shop("run", "orders").code == 2
    end = events(shop)[-1]
    assert end["eventType"] == "FAIL"
    assert "amount" in end["run"]["facets"]["errorMessage"]["message"]


def test_dagster_tells_the_same(shop) -> None:
    assert shop("materialize", "orders").code == 0
    assert [event["eventType"] for event in events(shop)] == ["START", "COMPLETE"]


@contextmanager
def service(answer: int, held: threading.Event | None = None) -> Iterator[tuple[str, list[bytes]]]:
    """A lineage service that answers everything with one status, once `held` is set. Yields: URL, bodies."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            if held is not None:
                held.wait(30)
            self.send_response(answer)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", bodies
    finally:
        if held is not None:
            held.set()
        server.shutdown()
        server.server_close()
        thread.join()


def over_http(shop, url: str) -> None:
    shop.write(
        "dativo.yaml",
        f"openlineage:\n  namespace: ours\n  transport: {{type: http, url: '{url}', retry: {{total: 0}}}}\n",
    )


def test_a_service_hears_of_runs_over_http(shop) -> None:
    with service(201) as (url, bodies):
        over_http(shop, url)
        assert shop("run", "orders").code == 0
    assert [json.loads(body)["eventType"] for body in bodies] == ["START", "COMPLETE"]
    assert json.loads(bodies[0])["job"]["namespace"] == "ours"


def test_a_service_that_is_down_fails_or_hangs_harms_no_run(shop) -> None:
    over_http(shop, "http://127.0.0.1:1")
    down = shop("run", "orders", "--log-format", "json")
    assert down.code == 0
    assert "an OpenLineage event was not delivered" in down.err
    with service(500) as (url, _):
        over_http(shop, url)
        assert shop("run", "orders").code == 0
    with service(201, threading.Event()) as (url, _):
        over_http(shop, url)
        start = time.monotonic()
        hangs = shop("run", "orders", "--log-format", "json")
        assert hangs.code == 0
        assert "OpenLineage events were given up" in hangs.err
        assert time.monotonic() - start < 20


def test_a_transport_that_is_wrong_is_an_error_with_its_line_and_without_its_secret(shop) -> None:
    shop.write("dativo.yaml", "openlineage:\n  transport: {type: htpp, url: 'http://u:${PASS}@h'}\n")
    said = shop("run", "orders", PASS="hunter2")
    assert said.code == 2
    assert "dativo.yaml:2" in said.err
    assert "hunter2" not in said.err + said.out
    assert not (shop.root / "w/orders").exists()
