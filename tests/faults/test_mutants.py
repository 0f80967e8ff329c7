"""Each step of a target's commit, broken on purpose, is found out by the harness."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .mutants import MUTANTS

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(600)
def test_every_mutant_is_killed(record_property: Callable[[str, object], None]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", "--mutants"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    for mutant in found:
        record_property("mutant", f"harness: {mutant['mutant']}: {mutant['fault']}, trial {mutant['trials']}")
    assert [mutant["mutant"] for mutant in found if mutant["killed"]] == list(MUTANTS)
