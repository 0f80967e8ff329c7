"""Where a run's time went: by method in the result, call by call in a trace."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dativo_assets.pipeline import RunSettings
from dativo_assets.pipeline.trace import Trace

READER = """
class Rows(BaseReader):
    def plan(self, request):
        return ReadPlan(splits=tuple(Split(f'part "{n}"', {"n": n}) for n in range(3)))

    def read(self, split):
        for batch in range(2):
            time.sleep(0.01)
            yield [{"id": split.payload["n"] * 10 + batch}]

class Breaks(BaseReader):
    def extract(self, state_manager=None):
        yield [{"id": 1}]
        raise ValueError("broken")
"""
JOB = """
source: {reader: "plugin.py:Rows"}
target: {writer: parquet, path: out}
schema: [{name: id, type: int64, min: 0}]
"""


@pytest.fixture
def job(bench: Any, plugin: Callable[[str], None]) -> Any:
    plugin(READER)
    bench.job(JOB)
    return bench


def spans(trace: Trace) -> list[dict[str, Any]]:
    return [event for event in json.loads(json.dumps(trace.events())) if event["ph"] == "X"]


def test_a_result_tells_calls_and_seconds_of_each_method(job: Any) -> None:
    result = job.ok()
    stages = result.to_dict()["stages"]
    assert list(stages) == ["open", "plan", "read", "write", "contract", "commit", "report"]
    assert {name: list(stage["methods"]) for name, stage in stages.items()} == {
        "open": ["last_commit", "open"],
        "plan": ["plan"],
        "read": ["read", "next"],
        "contract": ["check"],
        "write": ["write", "finish"],
        "commit": ["commit"],
        "report": ["summary"],
    }
    read = stages["read"]
    assert read["plugin"] == "plugin.py:Rows 1.0.0" and read["rows"] == 6 and read["bytes"] > 0
    assert read["methods"]["read"]["calls"] == 3
    assert read["methods"]["next"]["calls"] == 9 and read["methods"]["next"]["seconds"] >= 0.06
    for stage in stages.values():
        assert sum(done["seconds"] for done in stage["methods"].values()) == pytest.approx(stage["seconds"])


@pytest.mark.parametrize("workers", [2, 5])  # 5: each split has a thread that reads ahead
def test_a_trace_has_every_call_within_its_split_on_the_thread_that_made_it(job: Any, workers: int) -> None:
    trace = Trace()
    result = job.ok(workers=workers, trace=trace)
    found = spans(trace)
    calls = defaultdict(list)
    for span in found:
        calls[span["name"], span["cat"]].append(span)
    assert len(calls["plugin.py:Rows.next", "read"]) == result.stages["read"].methods["next"].calls
    assert len(calls["contract.check", "contract"]) == len(calls["parquet.write", "write"]) == 6
    assert len(calls["parquet.commit", "commit"]) == 1
    assert sorted(name for name, stage in calls if stage == "split") == [f'split.part "{n}"' for n in range(3)]
    assert bool(calls["plugin.py:Rows.wait", "read"]) == (workers == 5)
    for track in {(span["pid"], span["tid"]) for span in found}:
        open_until: list[float] = []
        for span in (span for span in found if (span["pid"], span["tid"]) == track):
            start, end = span["ts"], span["ts"] + span["dur"]
            while open_until and open_until[-1] <= start + 0.002:  # times are rounded to nanoseconds
                open_until.pop()
            assert start >= 0 and (not open_until or end <= open_until[-1] + 0.002)
            open_until.append(end)
    named = {event["args"]["name"] for event in trace.events() if event["ph"] == "M"}
    assert {"job", "dativo-0", "dativo-1"} <= named


def test_a_failed_run_leaves_the_trace_of_what_it_did(job: Any) -> None:
    job.job(JOB.replace("Rows", "Breaks"))
    trace = Trace()
    assert job.run(settings=RunSettings(workers=2, trace=trace)).error is not None
    names = {span["name"] for span in spans(trace)}
    assert {"plugin.py:Breaks.plan", "plugin.py:Breaks.next", "split.all"} <= names
    assert "parquet.commit" not in names


def test_jobs_of_one_trace_are_processes_of_their_own(job: Any, tmp_path: Path) -> None:
    job.job(JOB.replace("path: out", "path: other"), "other")
    trace = Trace()
    job.ok(trace=trace)
    job.ok("other", trace=trace)
    trace.write(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert [e["args"]["name"] for e in events if e["name"] == "process_name"] == ["job", "other"]
    assert {e["pid"] for e in events if e["ph"] == "X"} == {1, 2}
