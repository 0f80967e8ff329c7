"""Where a run's time and memory went."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .result import StageMetrics


@contextmanager
def timed(stage: StageMetrics) -> Iterator[None]:
    """Add the time inside to the stage's busy seconds."""
    start = time.perf_counter()
    try:
        yield
    finally:
        stage.seconds += time.perf_counter() - start


def peak_rss_bytes() -> int:
    """The most memory this process ever had resident; 0 where the platform can't tell."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
