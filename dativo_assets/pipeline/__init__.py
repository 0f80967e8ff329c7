"""Runs one bound job: `run(plan) -> RunResult`."""

from .preview import Preview, plan_read, preview
from .result import CheckOutcome, RunResult, StageMetrics
from .run import run
from .settings import CancelToken, Progress, RunSettings

__all__ = [
    "CancelToken",
    "CheckOutcome",
    "Preview",
    "Progress",
    "RunResult",
    "RunSettings",
    "StageMetrics",
    "plan_read",
    "preview",
    "run",
]
