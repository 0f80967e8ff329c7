"""A job that names several tables: each has a target, a cursor and a commit of its own, and fails alone."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from dativo_assets.config import load_project
from dativo_assets.pipeline import CancelToken, RunResult, RunSettings, run_all
from dativo_assets.plan import bind

from .targets import Target

READER = """
class Shop(BaseReader):
    def extract(self, state_manager=None):
        import json, pathlib
        (name,) = self.source_config.objects
        rows = json.loads(pathlib.Path(self.source_config.root, "shop.json").read_text())[name]
        if rows == "gone":
            raise ValueError(f"no such object: {name}")
        yield rows
"""
SHOP = """
source: {reader: plugin.py:Shop, objects: [orders, customers]}
retry: {max_attempts: 1}
"""
INCREMENTAL = """
source:
  reader: plugin.py:Shop
  objects: [{name: orders, cursor_field: at}, {name: customers, cursor_field: id}]
  incremental: {strategy: append}
retry: {max_attempts: 1}
"""


class Shop:
    """A source of two objects, and the job that loads them."""

    def __init__(self, bench: Any, plugin: Any, target: Target) -> None:
        self.bench, self.target = bench, target
        plugin(READER)
        self.offer(orders=[{"id": 1, "at": 10}, {"id": 2, "at": 20}], customers=[{"id": 7, "at": 1}])

    def offer(self, **objects: Any) -> None:
        self.bench.write("shop.json", json.dumps(objects))

    def job(self, text: str = SHOP) -> None:
        self.bench.job(text + self.target.yaml(), "shop")

    def run(
        self, *streams: str, run_id: str | None = None, settings: RunSettings | None = None
    ) -> dict[str, RunResult]:
        project = load_project(self.bench.root)
        assert not project.broken, project.broken
        parts = [part for part in project.jobs["shop"].parts if not streams or part.stream in streams]
        plans = [bind(part, project) for part in parts]
        return {str(result.stream): result for result in run_all(plans, settings or RunSettings(workers=2), run_id)}

    def ids(self, stream: str) -> list[int]:
        apart = "/" if self.target.kind in ("parquet", "delta") else "_"
        return [row[0] for row in self.target.rows("id", f"out{apart}{stream}")]


@pytest.fixture
def shop(bench: Any, plugin: Any, target: Target) -> Shop:
    return Shop(bench, plugin, target)


def test_each_stream_lands_in_its_own_table_by_its_own_commit(shop: Shop) -> None:
    shop.job()
    found = shop.run()
    assert {name: (result.status, result.rows_written) for name, result in found.items()} == {
        "orders": ("succeeded", 2),
        "customers": ("succeeded", 1),
    }
    assert (shop.ids("orders"), shop.ids("customers")) == ([1, 2], [7])
    commits = {name: result.commit for name, result in found.items()}
    assert {(c.job, c.stream, c.seq) for c in commits.values() if c} == {
        ("shop", "orders", 1),
        ("shop", "customers", 1),
    }


def test_each_stream_goes_on_from_its_own_cursor(shop: Shop) -> None:
    shop.job(INCREMENTAL)
    shop.run()
    shop.offer(orders=[{"id": 1, "at": 10}, {"id": 3, "at": 30}], customers=[{"id": 7, "at": 1}, {"id": 8, "at": 0}])
    shop.run("orders")
    assert (shop.ids("orders"), shop.ids("customers")) == ([1, 2, 3], [7])
    found = shop.run()
    assert (shop.ids("orders"), shop.ids("customers")) == ([1, 2, 3], [7, 8])
    fields = {name: (result.commit.cursor or {})["field"] for name, result in found.items() if result.commit}
    assert fields == {"orders": "at", "customers": "id"}


def test_a_stream_that_fails_leaves_the_others_committed_and_its_own_table_as_it_was(shop: Shop) -> None:
    shop.job(INCREMENTAL)
    shop.run()
    shop.offer(orders="gone", customers=[{"id": 7, "at": 1}, {"id": 9, "at": 1}])
    found = shop.run()
    assert (found["orders"].status, found["customers"].status) == ("failed", "succeeded")
    assert "shop.orders" in str(found["orders"].error and found["orders"].error.details)
    assert (shop.ids("orders"), shop.ids("customers")) == ([1, 2], [7, 9])


def test_a_retry_of_the_run_commits_no_stream_twice(shop: Shop) -> None:
    shop.job(INCREMENTAL)
    shop.offer(orders=[{"id": 1, "at": 10}], customers="gone")
    assert shop.run(run_id="one")["customers"].status == "failed"
    shop.offer(orders=[{"id": 1, "at": 10}, {"id": 2, "at": 20}], customers=[{"id": 7, "at": 1}])
    found = shop.run(run_id="one")
    assert [found[name].commit and found[name].commit.seq for name in ("orders", "customers")] == [1, 1]
    assert (shop.ids("orders"), shop.ids("customers")) == ([1], [7])


def test_streams_share_threads_and_memory_and_run_side_by_side(bench: Any, plugin: Any) -> None:
    plugin(
        """
        meet = threading.Barrier(2, timeout=20)
        class Shop(BaseReader):
            def plan(self, request):
                self.asked = (request.parallelism, request.memory_bytes)
                return super().plan(request)
            def extract(self, state_manager=None):
                meet.wait()
                yield [{"threads": self.asked[0], "memory": self.asked[1]}]
        """
    )
    text = "source: {reader: plugin.py:Shop, objects: [a, b]}\ntarget: {writer: parquet, path: out}\n"
    bench.job(text)
    project = load_project(bench.root)
    plans = [bind(part, project) for part in project.jobs["job"].parts]
    found = list(run_all(plans, RunSettings(workers=4, memory_bytes=64 << 20)))
    assert [result.error for result in found] == [None, None]
    assert bench.rows() == [{"threads": 2, "memory": 32 << 20}] * 2


def test_a_cancelled_run_stops_all_streams_and_leaves_nothing(bench: Any, plugin: Any) -> None:
    plugin(
        """
        class Shop(BaseReader):
            def extract(self, state_manager=None):
                yield [{"a": 1}]
                while not self.cancelled:
                    time.sleep(0.01)
                yield [{"a": 2}]
        """
    )
    bench.job("source: {reader: plugin.py:Shop, objects: [a, b, c]}\ntarget: {writer: parquet, path: out}\n")
    project = load_project(bench.root)
    plans = [bind(part, project) for part in project.jobs["job"].parts]
    token = CancelToken()
    reading = threading.Event()
    settings = RunSettings(
        workers=2, cancel=token, on_progress=lambda p: reading.set() if p.rows else None, progress_interval_s=0.01
    )
    threading.Thread(target=lambda: (reading.wait(20), token.cancel()), daemon=True).start()
    assert {result.status for result in run_all(plans, settings)} == {"cancelled"}
    assert bench.rows() == []
