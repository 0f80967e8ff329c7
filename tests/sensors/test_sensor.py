"""Ticks of the one sensor, over real files and real commits."""

from __future__ import annotations

import logging
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import dagster as dg
import pytest

from dativo_assets.assets import build_definitions
from dativo_assets.sensors import sensor
from dativo_assets.sensors.polling import Probe

JOB = """
    group: shop
    source: {reader: csv, files: ["data/NAME/*.csv"], incremental: {strategy: file_modified_time}}
    target: {writer: parquet, path: warehouse/NAME}
    trigger: {files: {poll: 5s}}
"""


class Shop:
    """A project whose jobs watch folders. A tick has a process of its own, as it were: definitions are loaded anew."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        self.root, self.instance = root, instance

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def job(self, name: str, rows: str | None = "1\n") -> None:
        self.write(f"jobs/{name}.yaml", JOB.replace("NAME", name))
        if rows is not None:
            self.write(f"data/{name}/a.csv", f"n\n{rows}")

    def tick(self, cursor: str | None = None) -> dg.SensorResult:
        return self.tick_of(build_definitions(self.root), cursor)

    def tick_of(self, definitions: dg.Definitions, cursor: str | None = None) -> dg.SensorResult:
        """Another one of the process that loaded these."""
        triggers = next(item for item in definitions.sensors or () if item.name == "dativo_triggers")
        assert isinstance(triggers, dg.SensorDefinition)
        with dg.build_sensor_context(instance=self.instance, cursor=cursor, definitions=definitions) as context:
            found = triggers(context)
        assert isinstance(found, dg.SensorResult)
        return found

    def run(self, name: str) -> None:
        assets = [item for item in build_definitions(self.root).assets or () if isinstance(item, dg.AssetsDefinition)]
        assert dg.materialize(assets, instance=self.instance, selection=[dg.AssetKey(["shop", name])]).success


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Shop(tmp_path, instance)


def test_new_files_ask_for_a_run_until_they_are_committed(shop: Shop) -> None:
    shop.job("orders")
    first = shop.tick()
    (request,) = first.run_requests
    assert request.asset_selection == [dg.AssetKey(["shop", "orders"])]
    assert request.run_key.startswith("orders:")
    assert [event.asset_key.path for event in first.asset_events] == [["source", "csv", "data", "orders"]]
    assert shop.tick().run_requests[0].run_key == request.run_key

    shop.run("orders")
    quiet = shop.tick()
    assert quiet.run_requests == []
    assert "1 watched" in quiet.skip_reason.skip_message

    shop.write("data/orders/b.csv", "n\n2\n")
    (later,) = shop.tick().run_requests
    assert later.run_key != request.run_key


def test_a_failing_probe_harms_only_its_job_and_says_why(shop: Shop) -> None:
    shop.job("orders")
    shop.job("gone", rows=None)
    text = (shop.root / "jobs/gone.yaml").read_text()
    shop.write("jobs/gone.yaml", text.replace("data/gone/*.csv", "data/gone/x.csv"))
    assert [request.run_key.split(":")[0] for request in shop.tick().run_requests] == ["orders"]
    shop.run("orders")
    assert "gone: the probe failed: file data/gone/x.csv does not exist" in shop.tick().skip_reason.skip_message


def test_a_probe_of_a_readers_own(shop: Shop) -> None:
    shop.write(
        "api.py",
        """
        from dativo_plugin_sdk import BaseReader
        class Api(BaseReader):
            def extract(self, state_manager=None):
                yield [{"n": 1}]
            def probe(self, cursor):
                return "version-7" * 100
        """,
    )
    shop.write(
        "jobs/api.yaml",
        "source: {reader: api.py:Api}\ntarget: {writer: parquet, path: w}\ntrigger: {probe: {poll: 5s}}\n",
    )
    (request,) = shop.tick().run_requests
    assert request.tags["dativo/trigger"] == "probe"
    assert len(request.run_key) < 160


def test_a_disabled_job_is_not_watched(shop: Shop) -> None:
    shop.job("orders")
    shop.job("off")
    shop.write("jobs/off.yaml", (shop.root / "jobs/off.yaml").read_text() + "enabled: false\n")
    assert len(shop.tick().run_requests) == 1


def test_a_secret_in_a_failing_probe_is_masked(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDING", "hidden-folder-name")
    shop.job("orders")
    text = (shop.root / "jobs/orders.yaml").read_text()
    shop.write("jobs/orders.yaml", text.replace("data/orders/*.csv", "${LANDING}/x.csv"))
    said = shop.tick().skip_reason.skip_message
    assert "probe failed" in said
    assert "hidden-folder-name" not in said


def started(shop: Shop, request: dg.RunRequest, status: dg.DagsterRunStatus) -> None:
    """The run of a request, as the daemon makes it, with what became of it."""
    job = build_definitions(shop.root).resolve_implicit_global_asset_job_def()
    run = shop.instance.create_run_for_job(job, tags={**request.tags, "dagster/run_key": str(request.run_key)})
    if status is dg.DagsterRunStatus.FAILURE:
        shop.instance.report_run_failed(run)
    elif status is dg.DagsterRunStatus.CANCELED:
        shop.instance.report_run_canceled(run)


def said(result: dg.SensorResult) -> str:
    assert result.skip_reason is not None
    return str(result.skip_reason.skip_message)


def at(monkeypatch: pytest.MonkeyPatch, later_s: float) -> None:
    """The sensor's clock, so long after now."""
    now = time.time()
    monkeypatch.setattr(sensor.time, "time", lambda: now + later_s)


def test_a_daemon_killed_between_request_and_cursor_starts_no_second_run(shop: Shop) -> None:
    shop.job("orders")
    (request,) = shop.tick().run_requests
    started(shop, request, dg.DagsterRunStatus.NOT_STARTED)
    again = shop.tick()  # with the cursor of before
    assert again.run_requests == []
    assert "is on its way" in said(again)


def test_a_failed_run_is_tried_again_later_each_time_and_never_dropped(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.job("orders")
    (request,) = shop.tick().run_requests
    keys = [request.run_key]
    for attempt, wait_s in ((1, 30), (2, 60), (3, 120)):
        started(shop, request, dg.DagsterRunStatus.FAILURE)
        at(monkeypatch, wait_s - 5)
        early = shop.tick()
        assert early.run_requests == []
        assert f"failed, attempt {attempt}; the next one is in" in said(early)
        at(monkeypatch, wait_s + 1)
        (request,) = shop.tick().run_requests
        keys.append(request.run_key)
        monkeypatch.undo()
    assert len(set(keys)) == 4  # Dagster would start no second run of the same key


def test_a_new_change_is_not_held_up_by_the_failure_of_the_last_one(shop: Shop) -> None:
    shop.job("orders")
    (request,) = shop.tick().run_requests
    started(shop, request, dg.DagsterRunStatus.FAILURE)
    shop.write("data/orders/b.csv", "n\n2\n")
    (other,) = shop.tick().run_requests
    assert other.run_key != request.run_key


def test_a_cancelled_run_is_not_started_against_the_will_of_who_cancelled_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.job("orders")
    started(shop, shop.tick().run_requests[0], dg.DagsterRunStatus.CANCELED)
    at(monkeypatch, 10_000)
    assert "was cancelled" in said(shop.tick())


def waits(shop: Shop, text: str) -> None:
    job = (shop.root / "jobs/orders.yaml").read_text()
    shop.write("jobs/orders.yaml", job.replace("poll: 5s", f"poll: 5s, {text}"))


def test_a_burst_of_files_is_one_run_once_it_is_over(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.job("orders")
    waits(shop, "debounce: 1m")
    first = shop.tick()
    assert "60 s of debounce left" in said(first)
    at(monkeypatch, 50)
    shop.write("data/orders/b.csv", "n\n2\n")
    second = shop.tick(first.cursor)
    assert second.run_requests == []
    monkeypatch.undo()
    at(monkeypatch, 100)
    third = shop.tick(second.cursor)  # a minute after the first, not after the second
    assert third.run_requests == []
    monkeypatch.undo()
    at(monkeypatch, 115)
    assert len(shop.tick(third.cursor).run_requests) == 1


def test_files_that_never_stop_coming_wait_for_the_maximum_lag_and_no_longer(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.job("orders")
    waits(shop, "debounce: 1m, max_lag: 2m")
    cursor = shop.tick().cursor
    found = []
    for number, later_s in enumerate((50, 100, 121)):
        at(monkeypatch, later_s)
        shop.write(f"data/orders/{number}.csv", f"n\n{number}\n")
        result = shop.tick(cursor)
        cursor = result.cursor
        found.append(len(result.run_requests))
        monkeypatch.undo()
    assert found == [0, 0, 1]


def test_a_quiet_period_passes_between_two_runs(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.job("orders")
    waits(shop, "quiet_period: 10m")
    (request,) = shop.tick().run_requests
    started(shop, request, dg.DagsterRunStatus.NOT_STARTED)
    shop.write("data/orders/b.csv", "n\n2\n")
    early = shop.tick()
    assert "of its quiet period left" in said(early)
    at(monkeypatch, 601)
    assert len(shop.tick(early.cursor).run_requests) == 1


def test_a_tick_says_of_each_job_why_it_runs_or_not(shop: Shop) -> None:
    for name in ("new", "old", "gone", "waiting"):
        shop.job(name)
    shop.run("old")
    for name, old, to in (("gone", "gone/*.csv", "gone/x.csv"), ("waiting", "poll: 5s", "poll: 5s, debounce: 1h")):
        shop.write(f"jobs/{name}.yaml", (shop.root / f"jobs/{name}.yaml").read_text().replace(old, to))
    shop.job("new", rows=None)
    lines = tick_log(shop)
    assert lines[0] == "4 watched, 4 asked, 1 without anything new"
    assert any(line.startswith("new: new since its last commit (") for line in lines)
    assert any(line.startswith("gone: the probe failed: file data/gone/x.csv does not exist") for line in lines)
    assert any(line.startswith("waiting: new, but it changed 0 s ago") for line in lines)
    assert "nothing new: old" in lines


def tick_log(shop: Shop) -> list[str]:
    definitions = build_definitions(shop.root)
    found = next(item for item in definitions.sensors or () if item.name == "dativo_triggers")
    assert isinstance(found, dg.SensorDefinition)
    lines: list[str] = []
    with dg.build_sensor_context(instance=shop.instance, definitions=definitions) as context:
        handler = logging.Handler()
        handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
        context.log.addHandler(handler)
        found(context)
    return lines


@pytest.mark.parametrize("cursor", ["", "17", "[]", '{"first": "no job", "waiting": {"orders": [1]}}', "\x00"])
def test_a_cursor_that_is_not_ours_is_none(shop: Shop, cursor: str) -> None:
    shop.job("orders")
    assert len(shop.tick(cursor).run_requests) == 1


def test_more_changes_than_one_tick_starts_runs_for_come_first_in_the_next(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensor, "_MAX_REQUESTS", 2)
    for name in "abcde":
        shop.job(name)
    begun: list[str] = []
    cursor = None
    for _ in range(3):
        result = shop.tick(cursor)
        cursor = result.cursor
        for request in result.run_requests:
            started(shop, request, dg.DagsterRunStatus.NOT_STARTED)
            begun.append(request.tags["dativo/job"])
    assert sorted(begun) == list("abcde")


def test_ticks_too_short_for_all_jobs_ask_each_of_them_in_turn(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    class Short(sensor.Poller):
        """Has time for seven."""

        def ask(self, probes: Mapping[str, Probe], order: Sequence[str]) -> list[sensor.Probed]:
            return [*super().ask(probes, order[:7]), *(sensor.Probed(name, "no time") for name in order[7:])]

    monkeypatch.setattr(sensor, "Poller", Short)
    names = [f"j{number:02}" for number in range(25)]
    for name in names:
        shop.job(name)
    asked: list[str] = []
    cursor = None
    for _ in range(8):  # each in a process of its own, where all jobs are due
        result = shop.tick(cursor)
        cursor = result.cursor
        asked += [request.tags["dativo/job"] for request in result.run_requests]
    assert asked == (names * 3)[: 8 * 7]


def test_a_probe_that_the_end_of_a_tick_cuts_short_has_its_turn_in_the_next(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cut(sensor.Poller):
        """Its first tick ends in the middle of the first probe."""

        is_first = True

        def ask(self, probes: Mapping[str, Probe], order: Sequence[str]) -> list[sensor.Probed]:
            if not self.is_first:
                return super().ask(probes, order)
            self.is_first = False
            return [sensor.Probed(order[0], "hanging"), *super().ask(probes, order[1:])]

    monkeypatch.setattr(sensor, "Poller", Cut)
    for name in "ab":
        shop.job(name)
    loaded = build_definitions(shop.root)
    begun = [[request.tags["dativo/job"] for request in shop.tick_of(loaded).run_requests] for _ in range(2)]
    assert begun == [["b"], ["a"]]
