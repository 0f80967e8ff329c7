"""Asks many sources whether there is something new, in parallel, within a budget of time; one that hangs holds up no other."""

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from dativo_assets.errors import DativoError, to_dativo_error

Probe = Callable[[], "Mapping[str, str]"]
"""Returns: {partition: watermark} of what is new, "" for a source that is not divided into partitions."""
_THREADS = 8


@dataclass(frozen=True)
class Probed:
    """What a probe found. news: {partition: watermark}. state: "answered", "failed", "hanging" or "no time"."""

    name: str
    state: str
    news: Mapping[str, str] = field(default_factory=dict)
    error: DativoError | None = None


class Poller:
    """Runs probes. It remembers those that did not come back, and leaves them alone until they do."""

    def __init__(self, budget_s: float, threads: int = _THREADS) -> None:
        self.budget_s = budget_s
        self._threads = threads
        self._hanging: set[str] = set()
        self._lock = threading.Lock()

    def ask(self, probes: Mapping[str, Probe], order: Sequence[str]) -> list[Probed]:
        """The outcome of each probe, in `order`; probes that the budget leaves no time for are told as such."""
        end = time.monotonic() + self.budget_s
        todo: queue.SimpleQueue[str] = queue.SimpleQueue()
        done: queue.SimpleQueue[Probed] = queue.SimpleQueue()
        found: dict[str, Probed] = {}
        with self._lock:
            for name in order:
                if name in self._hanging:
                    found[name] = Probed(name, "hanging")
                else:
                    todo.put(name)
        waiting = len(order) - len(found)
        started: set[str] = set()
        for index in range(min(self._threads, waiting)):
            # A daemon thread: one that hangs in a driver must not keep the process from ending.
            threading.Thread(
                target=self._work, args=(probes, todo, done, started, end), name=f"dativo-probe-{index}", daemon=True
            ).start()
        while waiting:
            left = end - time.monotonic()
            try:
                # Threads that ask leave this one little of the interpreter: what they have ready at the end counts.
                outcome = done.get(timeout=left) if left > 0 else done.get_nowait()
            except queue.Empty:
                break
            found[outcome.name] = outcome
            waiting -= 1
        for name in order:
            if name not in found:
                found[name] = Probed(name, "hanging" if name in started else "no time")
        return [found[name] for name in order]

    def _work(
        self,
        probes: Mapping[str, Probe],
        todo: "queue.SimpleQueue[str]",
        done: "queue.SimpleQueue[Probed]",
        started: set[str],
        end: float,
    ) -> None:
        while time.monotonic() < end:
            try:
                name = todo.get_nowait()
            except queue.Empty:
                return
            started.add(name)
            with self._lock:
                self._hanging.add(name)
            try:
                outcome = Probed(name, "answered", probes[name]())
            except (Exception, SystemExit) as error:
                outcome = Probed(name, "failed", error=to_dativo_error(error, job=name, stage="probe"))
            with self._lock:
                self._hanging.discard(name)
            done.put(outcome)
