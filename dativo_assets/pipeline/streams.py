"""run_all(plans): the streams of one job side by side, each to a commit of its own."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from dativo_assets.plan import JobPlan

from .result import RunResult
from .run import run
from .settings import RunSettings


def run_all(
    plans: Sequence[JobPlan],
    settings: RunSettings | None = None,
    run_id: str | None = None,
    go: Callable[[JobPlan, RunSettings, str], RunResult] = run,
) -> Iterator[RunResult]:
    """The result of each plan, as they end; what fails fails alone. Threads and memory are shared out among those that run at
    the same time. run_id: of all of them, for each has a table of its own. go: what runs one.

    Whoever stops listening cancels what is left.
    """
    from concurrent.futures import ThreadPoolExecutor, as_completed  # of no use to a job of one table

    settings = settings or RunSettings()
    run_id = run_id or uuid.uuid4().hex
    at_once = max(1, min(len(plans), settings.workers))
    share = replace(
        settings, workers=max(1, settings.workers // at_once), memory_bytes=settings.memory_bytes // at_once
    )
    with ThreadPoolExecutor(at_once, thread_name_prefix="dativo-stream") as pool:
        waiting = [pool.submit(go, plan, share, run_id) for plan in plans]
        try:
            for done in as_completed(waiting):
                yield done.result()
        except BaseException:
            settings.cancel.cancel()
            raise
