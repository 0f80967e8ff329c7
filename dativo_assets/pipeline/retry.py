"""How long to wait before the next attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dativo_plugin_sdk import DativoError, RateLimitError

if TYPE_CHECKING:
    from dativo_assets.config import Retry


def delay_s(retry: Retry, attempt: int, error: DativoError) -> float:
    """Seconds to wait after a failed attempt: grown, bounded, jittered, and never less than the source asked for."""
    import random  # what a run that succeeds does without

    factor = {"exponential": 2.0 ** (attempt - 1), "linear": float(attempt), "none": 1.0}[retry.backoff]
    delay = min(retry.delay_s * factor, retry.max_delay_s) * (0.5 + random.random() / 2)
    asked = error.details.get("retry_after_s") if isinstance(error, RateLimitError) else None
    return delay if asked is None else max(delay, float(asked))
