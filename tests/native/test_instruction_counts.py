"""The native reader and writer stay as fast as they were: in instructions, which other work on the machine can't change."""

from __future__ import annotations

import json

from benchmarks import instructions


def test_reading_and_writing_take_no_more_instructions_than_recorded() -> None:
    recorded = json.loads(instructions.RECORDED.read_text())
    counts = instructions.count()
    assert set(counts) == set(recorded["counts"])
    same = recorded["compiler"] == instructions.compiler()
    allowed = 1 + (instructions.TOLERANCE if same else instructions.OTHER_COMPILER)
    more = {name: found / recorded["counts"][name] for name, found in counts.items()}
    hint = "if it is worth it: python -m benchmarks.instructions --record"
    assert all(ratio <= allowed for ratio in more.values()), f"{more}; {hint}"
