"""Runs one bound job: `run(plan) -> RunResult`. Its first rows alone are in `pipeline.preview`."""

from .result import CheckOutcome, RunResult, StageMetrics
from .run import run
from .settings import CancelToken, Progress, RunSettings
from .streams import run_all

__all__ = ["CancelToken", "CheckOutcome", "Progress", "RunResult", "RunSettings", "StageMetrics", "run", "run_all"]
