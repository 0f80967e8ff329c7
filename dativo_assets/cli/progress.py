"""A run's progress on a terminal: rows, bytes, rates, and the time to go where the plan knows a size."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dativo_assets.pipeline import Progress

from .output import size


class Watch:
    """Shows nothing; what a pipe or a log gets."""

    def tell(self, progress: Progress) -> None:
        """Take news of a run."""

    def done(self, job: str) -> None:
        """A job has ended."""

    def print(self, report: Callable[[], None]) -> None:
        """Print a report, with no progress in its way."""
        report()


class _Live(Watch):
    def __init__(self, live: Any) -> None:
        self._live = live

    def tell(self, progress: Progress) -> None:
        self._live.update(describe(progress))

    def done(self, job: str) -> None:
        self._live.update("")

    def print(self, report: Callable[[], None]) -> None:
        self._live.stop()
        report()
        self._live.start()


def describe(progress: Progress) -> str:
    """One line: `flights  move  120,000 rows  12.3 MB  61,000 rows/s  3/8 splits  12 s to go`."""
    parts = [progress.job, progress.stage]
    if progress.rows:
        parts += [f"{progress.rows:,} rows", size(progress.bytes), f"{progress.rows_per_s:,.0f} rows/s"]
    if progress.splits > 1:
        parts.append(f"{progress.splits_done}/{progress.splits} splits")
    if progress.eta_s is not None and progress.splits_done < progress.splits:
        parts.append(f"{progress.eta_s:.0f} s to go")
    return "  ".join(parts)


@contextmanager
def watching(*, quiet: bool) -> Iterator[Watch]:
    """A live line on standard error where that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield Watch()
        return
    from rich.console import Console
    from rich.live import Live

    with Live("", console=Console(stderr=True, highlight=False), refresh_per_second=8, transient=True) as live:
        yield _Live(live)
