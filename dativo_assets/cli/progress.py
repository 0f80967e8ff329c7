"""A run's progress on a terminal: rows, bytes, rates, and the time to go where the plan knows a size."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from dativo_assets.pipeline import Progress
from dativo_assets.pipeline.logs import logger

from .output import size

_FIRST_LINE_S = 10.0
_MAX_STEP_S = 60.0


class Watch:
    """What a run's progress is told to."""

    def tell(self, progress: Progress) -> None:
        """Take news of a run."""

    def done(self, job: str) -> None:
        """A job has ended."""

    def print(self, report: Callable[[], None]) -> None:
        """Print a report, with no progress in its way."""
        report()


class _Lines(Watch):
    """A line now and then, for what takes long."""

    def __init__(self, say: Callable[[Progress], None]) -> None:
        self._say = say
        self._step = _FIRST_LINE_S
        self._next = time.monotonic() + self._step

    def tell(self, progress: Progress) -> None:
        if time.monotonic() >= self._next:
            self._say(progress)
            self._step = min(self._step * 1.5, _MAX_STEP_S)
            self._next = time.monotonic() + self._step


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


def _log(progress: Progress) -> None:
    fields = {"job": progress.job, "stage": progress.stage, "rows": progress.rows, "bytes": progress.bytes}
    told = {"rows_per_s": round(progress.rows_per_s), "splits_done": progress.splits_done, "splits": progress.splits}
    logger.info("progress", **fields, **told, eta_s=None if progress.eta_s is None else round(progress.eta_s, 1))


@contextmanager
def watching(*, on_terminal: bool, logs: bool) -> Iterator[Watch]:
    """A live line on standard error where that is a terminal; elsewhere lines, or entries of the log."""
    if logs:
        yield _Lines(_log)
        return
    if not (on_terminal and sys.stderr.isatty()):
        yield _Lines(lambda progress: click.echo(describe(progress), err=True))
        return
    from rich.console import Console
    from rich.live import Live

    with Live("", console=Console(stderr=True, highlight=False), refresh_per_second=8, transient=True) as live:
        yield _Live(live)
