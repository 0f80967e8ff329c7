"""Where a run's time and memory went."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .result import StageMetrics

Tell = Callable[[str, float, float], None]
"""Takes the name of what was called, and when it began and ended, in seconds of `time.perf_counter`."""


@contextmanager
def timed(stage: StageMetrics, method: str, tell: Tell | None = None) -> Iterator[None]:
    """Add the time inside to the stage's busy seconds, as a call of a plugin's method."""
    start = time.perf_counter()
    try:
        yield
    finally:
        end = time.perf_counter()
        stage.called(method, end - start)
        if tell is not None:
            tell(method, start, end)


def peak_rss_bytes() -> int:
    """The most memory this process ever had resident; 0 where the platform can't tell."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
