"""Conformance suites: one subclass is a complete pytest file, and `dativo plugin test` runs the same checks.

    from dativo_plugin_sdk.testing import ReaderConformance
    from planets import Planets

    class TestPlanets(ReaderConformance):
        reader = Planets

They need pyarrow, and no test framework.
"""

from __future__ import annotations

from .reader import ReaderConformance
from .report import Outcome, Report, run_suite
from .suite import Conformance, NonConformance
from .writer import WriterConformance

__all__ = [
    "Conformance",
    "NonConformance",
    "Outcome",
    "ReaderConformance",
    "Report",
    "WriterConformance",
    "run_suite",
]
