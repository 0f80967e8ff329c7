"""The table of trials, the states explored and the mutants killed, at the end of a test run."""

from __future__ import annotations

import pytest

from .report import table


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    properties = [
        item
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        for item in report.user_properties
    ]
    rows = [value for name, value in properties if name == "faults"]
    lines = [str(value) for name, value in properties if name in ("explored", "mutant")]
    if rows or lines:
        terminalreporter.section("delivery")
    if rows:
        terminalreporter.write_line(table(rows))
    for line in lines:
        terminalreporter.write_line(line)
