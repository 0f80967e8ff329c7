"""What a run tells while it runs."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from dativo_assets.cli import progress
from dativo_assets.pipeline import Progress

MOVING = Progress("flights", "move", rows=120_000, bytes=12_300_000, seconds=2.0, splits_done=3, splits=8, eta_s=11.6)


def test_a_line_has_rows_bytes_rate_splits_and_time_to_go() -> None:
    said = progress.describe(MOVING)
    assert said == "flights  move  120,000 rows  12.3 MB  60,000 rows/s  3/8 splits  12 s to go"


def test_a_long_run_off_a_terminal_tells_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    with progress.watching(on_terminal=True, logs=False) as watch:
        watch.tell(MOVING)
    assert capsys.readouterr().err == "", "not before the first interval is over"
    monkeypatch.setattr(progress, "_FIRST_LINE_S", 0.0)
    with progress.watching(on_terminal=False, logs=False) as watch:
        for _ in range(3):
            watch.tell(MOVING)
    said = capsys.readouterr()
    assert said.out == "" and said.err.splitlines()[0] == progress.describe(MOVING)


def test_where_a_log_is_asked_for_progress_is_one_of_its_entries(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    from dativo_assets.pipeline.logs import configure

    monkeypatch.setattr(progress, "_FIRST_LINE_S", 0.0)
    log = logging.getLogger("dativo")
    for name, value in (("handlers", []), ("level", log.level), ("propagate", log.propagate)):
        monkeypatch.setattr(log, name, value)  # as it was, once the test is over
    configure("json")
    with progress.watching(on_terminal=True, logs=True) as watch:
        watch.tell(MOVING)
    entry = json.loads(capsys.readouterr().err)
    assert (entry["event"], entry["rows"], entry["rows_per_s"], entry["eta_s"]) == ("progress", 120_000, 60_000, 11.6)
