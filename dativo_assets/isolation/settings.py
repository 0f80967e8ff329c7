"""What an isolated plugin may have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Isolation:
    """memory_bytes: private memory of its process. cpu_s: processor time of all its threads. time_s: how long the process may
    live. call_s: the longest wait for one answer or batch. env: variables of the run's environment that it sees.
    None: no limit.
    """

    memory_bytes: int | None = None
    cpu_s: float | None = None
    time_s: float | None = None
    call_s: float | None = None
    open_files: int | None = None
    network: bool = True
    env: tuple[str, ...] = ()

    @classmethod
    def of(cls, section: Any, call_s: float | None) -> Isolation | None:
        """As `isolation` of a job's source or target says; None for a plugin in this process."""
        given = section.isolation
        if given is None or given.mode == "none":
            return None
        return cls(given.memory_bytes, given.cpu_s, given.time_s, call_s, given.open_files, given.network, given.env)

    def limits(self) -> dict[str, Any]:
        """Those that the child sets for itself."""
        return {key: getattr(self, key) for key in ("memory_bytes", "cpu_s", "open_files", "network")}
