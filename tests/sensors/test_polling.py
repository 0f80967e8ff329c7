"""Probes in parallel: a budget, a failure, one that hangs."""

from __future__ import annotations

import threading
import time

import pytest

from dativo_assets.sensors import Poller, polling


def test_one_that_fails_or_hangs_harms_no_other_and_is_asked_again_once_it_is_back() -> None:
    release = threading.Event()

    def hang() -> dict[str, str]:
        release.wait(20)
        return {"": "late"}

    def fail() -> dict[str, str]:
        raise RuntimeError("no route")

    probes = {"hang": hang, "fail": fail, "new": lambda: {"": "w1"}, "old": dict}
    poller = Poller(budget_s=0.5)
    start = time.monotonic()
    first = {item.name: item for item in poller.ask(probes, list(probes))}
    assert time.monotonic() - start < 3
    assert [first[name].state for name in probes] == ["hanging", "failed", "answered", "answered"]
    assert first["new"].news == {"": "w1"}
    assert "no route" in str(first["fail"].error)

    assert {item.name: item.state for item in poller.ask(probes, list(probes))}["hang"] == "hanging"
    release.set()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        again = {item.name: item for item in poller.ask(probes, list(probes))}
        if again["hang"].state == "answered":
            break
    assert again["hang"].news == {"": "late"}


def test_what_the_budget_leaves_no_time_for_is_told() -> None:
    probes = {str(number): lambda: time.sleep(0.2) for number in range(50)}
    found = Poller(budget_s=0.5, threads=2).ask(probes, list(probes))  # type: ignore[arg-type]
    assert [item.name for item in found] == list(probes)
    assert found[0].state == "answered"
    assert found[-1].state == "no time"


def test_what_is_ready_when_the_budget_ends_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [0.0]

    class AtOnce(threading.Thread):
        """All its work is done before the thread that waits for it comes to look."""

        def start(self) -> None:
            self.run()

    monkeypatch.setattr(polling.threading, "Thread", AtOnce)
    monkeypatch.setattr(polling.time, "monotonic", lambda: now_s[0])

    def last() -> dict[str, str]:
        now_s[0] = 2.0
        return {}

    found = Poller(budget_s=1.0, threads=1).ask({"a": dict, "b": last, "c": dict}, "abc")
    assert [item.state for item in found] == ["answered", "answered", "no time"]
