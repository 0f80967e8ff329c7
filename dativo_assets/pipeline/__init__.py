"""Runs one bound job: `run(plan) -> RunResult`."""

from .result import CheckOutcome, RunResult, StageMetrics
from .run import run
from .settings import CancelToken, Progress, RunSettings

__all__ = ["CancelToken", "CheckOutcome", "Progress", "RunResult", "RunSettings", "StageMetrics", "run"]
