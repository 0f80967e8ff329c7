"""Where the time of runs goes, call by call, as a file that Perfetto (ui.perfetto.dev) and speedscope open."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from .metrics import Tell


class _Span(NamedTuple):
    """A call. start_s, end_s: of `time.perf_counter`."""

    job: int
    thread: int
    name: str
    stage: str
    start_s: float
    end_s: float


class Trace:
    """Calls of all jobs of a process, in Chrome's trace event format: a process a job, a track a thread."""

    def __init__(self) -> None:
        self._start_s = time.perf_counter()
        self._jobs: dict[str, int] = {}
        self._threads: dict[tuple[int, int], str] = {}
        self._spans: list[_Span] = []
        self._lock = threading.Lock()

    def teller(self, job: str, stage: str, called: str) -> Tell:
        """What takes the calls of one stage. called: a plugin, before the names of its methods."""
        with self._lock:
            number = self._jobs.setdefault(job, len(self._jobs) + 1)

        def tell(method: str, start_s: float, end_s: float) -> None:
            thread = threading.current_thread()
            ident = thread.ident or 0
            self._threads.setdefault((number, ident), thread.name)
            self._spans.append(_Span(number, ident, f"{called}.{method}", stage, start_s, end_s))

        return tell

    def events(self) -> list[dict[str, Any]]:
        """All of it; times in microseconds since the trace began."""
        found: list[dict[str, Any]] = [
            {"ph": "M", "name": "process_name", "pid": number, "tid": 0, "args": {"name": job}}
            for job, number in self._jobs.items()
        ]
        tracks = {key: place for place, key in enumerate(self._threads, 1)}
        for key, name in self._threads.items():
            found.append({"ph": "M", "name": "thread_name", "pid": key[0], "tid": tracks[key], "args": {"name": name}})
        # Of calls that begin together the outer one comes first.
        for span in sorted(self._spans, key=lambda span: (span.start_s, -span.end_s)):
            found.append(
                {
                    "ph": "X",
                    "name": span.name,
                    "cat": span.stage,
                    "pid": span.job,
                    "tid": tracks[span.job, span.thread],
                    "ts": round((span.start_s - self._start_s) * 1e6, 3),
                    "dur": round((span.end_s - span.start_s) * 1e6, 3),
                }
            )
        return found

    def write(self, path: Path) -> None:
        """Raises: OSError."""
        text = json.dumps({"displayTimeUnit": "ms", "traceEvents": self.events()})
        path.write_text(text, encoding="utf-8")
