"""What a caller decides about a run, and what it may watch."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dativo_plugin_sdk import CancelledError

if TYPE_CHECKING:
    from dativo_plugin_sdk.partition_rows import PartitionSelection

    from .trace import Trace
_BATCH_BYTES = (256 << 10, 8 << 20)


class CancelToken:
    """Set from anywhere, seen by the run within a tenth of a second."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        self._event.set()

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Sleep, but wake when cancelled; returns whether it is."""
        return self._event.wait(timeout_s)

    def check(self) -> None:
        """Raises: CancelledError: once cancelled."""
        if self.cancelled:
            raise CancelledError("the run was cancelled", hint="nothing of it is visible; run the job again")


@dataclass(frozen=True)
class Progress:
    """A run under way. eta_s: seconds to go, None where the plan knows no size."""

    job: str
    stage: str
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0
    splits_done: int = 0
    splits: int = 0
    eta_s: float | None = None

    @property
    def rows_per_s(self) -> float:
        return self.rows / self.seconds if self.seconds > 0 else 0.0

    @property
    def bytes_per_s(self) -> float:
        return self.bytes / self.seconds if self.seconds > 0 else 0.0


def _cpus() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


@dataclass(frozen=True)
class RunSettings:
    """workers: threads. memory_bytes: budget for batches in flight and buffers of writers. full_refresh: forget the
    cursor and replace the table. environment: what `${NAME}` resolves from. retries: False for one attempt alone.
    checkpoint_s: how often a worker closes its files on the way, so that a run that follows a crash need not read them again;
    None for never. profile: whether the result tells what the rows look like. partition: load these partitions alone, in place
    of what the table has of them. trace: takes every call of a plugin.
    """

    workers: int = field(default_factory=_cpus)
    memory_bytes: int = 128 << 20
    full_refresh: bool = False
    retries: bool = True
    checkpoint_s: float | None = 10.0
    profile: bool = False
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    cancel: CancelToken = field(default_factory=CancelToken)
    on_progress: Callable[[Progress], None] | None = None
    progress_interval_s: float = 0.2
    partition: PartitionSelection | None = None
    trace: Trace | None = field(default=None, repr=False)

    @property
    def batch_bytes(self) -> int:
        """About how large a batch should be: those of all workers take an eighth of the budget, within reason."""
        low, high = _BATCH_BYTES
        return max(low, min(high, self.memory_bytes // (8 * max(1, self.workers))))
