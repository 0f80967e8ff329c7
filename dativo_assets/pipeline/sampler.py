"""What Python code the threads of runs are in, looked at many times a second, beside the calls of a trace."""

from __future__ import annotations

import sys
import threading
import time
from types import CodeType, FrameType
from typing import NamedTuple

from .trace import Trace

SAMPLED = "Python, sampled"
_INTERVAL_S = 0.005
_MOST_FRAMES = 200
_OURS = "dativo-"


class _Open(NamedTuple):
    """A frame that a thread was in at the last look, and since when."""

    code: CodeType
    since_s: float


class Sampler:
    """Adds frames to a trace from `with` to its end. What a call into native code does is the frame that made it."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._open: dict[tuple[int, str], list[_Open]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="sampler", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look_on(self) -> None:
        while not self._stop.wait(_INTERVAL_S):
            self._look()
        for key in list(self._open):
            self._close(key, 0, time.perf_counter())

    def _look(self) -> None:
        now, frames = time.perf_counter(), sys._current_frames()
        running = {
            (thread.ident, thread.name): frames[thread.ident]
            for thread in threading.enumerate()
            if thread.name.startswith(_OURS) and thread.ident in frames
        }
        for key in self._open.keys() - running.keys():
            self._close(key, 0, now)
            del self._open[key]
        for key, frame in running.items():
            codes, stack = _codes(frame), self._open.setdefault(key, [])
            same = 0
            while same < min(len(codes), len(stack)) and codes[same] is stack[same].code:
                same += 1
            self._close(key, same, now)
            stack.extend(_Open(code, now) for code in codes[same:])

    def _close(self, key: tuple[int, str], kept: int, now_s: float) -> None:
        """End the innermost frames of a thread, but for the first `kept`."""
        stack = self._open[key]
        for code, since_s in stack[kept:]:
            self._trace.add(SAMPLED, *key, _name(code), "frame", since_s, now_s)
        del stack[kept:]


def _codes(frame: FrameType | None) -> list[CodeType]:
    """What a thread is in, outermost first."""
    found: list[CodeType] = []
    while frame is not None:
        found.append(frame.f_code)
        frame = frame.f_back
    return found[::-1][:_MOST_FRAMES]


def _name(code: CodeType) -> str:
    """`orders.py:12 Orders.extract`."""
    file = code.co_filename.replace("\\", "/").rpartition("/")[2]
    return f"{file}:{code.co_firstlineno} {getattr(code, 'co_qualname', code.co_name)}"
