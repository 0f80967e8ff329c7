"""Kills, races, zombies, full disks and jumping clocks over every target: the short form of `make soak`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .report import good
from .targets import TARGETS

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("target", [name for name in TARGETS if name != "csv"])  # jsonl commits by the same code
def test_no_fault_loses_doubles_or_half_shows_a_row(
    target: str, record_property: Callable[[str, object], None]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", "--json", target], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    rows = json.loads(done.stdout)
    for row in rows:
        record_property("faults", row)
    bad = [row for row in rows if not good(row)]
    assert not bad, json.dumps(bad, indent=1)
    assert sum(row["trials"] for row in rows if row["fault"].startswith("killed")) >= 50
