"""The bars: what each kind of work has to reach, what this run measured, and whether that is enough."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from . import report


@dataclass(frozen=True)
class Bar:
    """One figure that has to be reached. asked, measured: as a person reads them."""

    work: str
    asked: str
    measured: str
    is_met: bool


def at_least(work: str, limit: float, found: float) -> Bar:
    """A ratio of times that has to be as large. Compared as it is shown: to two digits."""
    return Bar(work, f"at least {report.times(limit)}", report.times(found), round(found, 2) >= limit)


def at_most(work: str, limit: float, found: float) -> Bar:
    """A ratio that must not be larger."""
    return Bar(work, f"at most {report.times(limit)}", report.times(found), round(found, 2) <= limit)


def at_most_bytes(work: str, limit: float, found: float) -> Bar:
    """A size that must not be larger."""
    return Bar(work, f"at most {report.megabytes(limit)}", report.megabytes(found), found <= limit)


def at_most_us(work: str, limit: float, found: float) -> Bar:
    """Microseconds that must not be more."""
    return Bar(work, f"at most {limit:.0f} µs", f"{found:.1f} µs", round(found, 1) <= limit)


def at_most_seconds(work: str, limit_s: float, found_s: float) -> Bar:
    """A time that must not be larger."""
    return Bar(work, f"at most {report.seconds(limit_s)}", report.seconds(found_s), found_s <= limit_s)


def average(work: str, limit: float, found: Sequence[float]) -> Bar:
    """The mean of several ratios has to be as large."""
    return at_least(work, limit, statistics.mean(found))


def table(bars: Sequence[Bar]) -> str:
    """All bars in one place, a line each."""
    rows = [[bar.work, bar.asked, bar.measured, "met" if bar.is_met else "**not met**"] for bar in bars]
    return "## Bars\n\n" + report.table(["work", "bar", "measured", ""], rows) + "\n"
