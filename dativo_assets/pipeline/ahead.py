"""Reads ahead in a thread of its own, for an input that cannot be split: it is decompressed and parsed while the batch
before is checked and written."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

from dativo_plugin_sdk.twin import Original

from .metrics import Tell, timed
from .result import StageMetrics

_DEPTH = 2
_POLL_S = 0.1


class Ahead:
    """An iterator over `items` that stays up to two items ahead. Time spent producing goes to `stage.seconds`, time the
    consumer waits to `stage.waits_s`. `close` ends the thread once the item under way is there."""

    def __init__(self, items: Iterator[Any], stage: StageMetrics, tell: Tell | None = None) -> None:
        self._items = items
        self._stage = stage
        self._tell = tell
        self._ready: queue.Queue[tuple[Any, BaseException | None, bool]] = queue.Queue(_DEPTH)
        self._original = Original()
        self._stop = threading.Event()
        threading.Thread(target=self._produce, name="dativo-ahead", daemon=True).start()

    def _produce(self) -> None:
        while not self._stop.is_set():
            try:
                with timed(self._stage, "next", self._tell):
                    item = next(self._items, None)
            except BaseException as error:
                self._put((None, error, True))
                return
            self._put((item, None, item is None))
            if item is None:
                return

    def _put(self, entry: tuple[Any, BaseException | None, bool]) -> None:
        self._original.check()
        while not self._stop.is_set():
            try:
                self._ready.put(entry, timeout=_POLL_S)
            except queue.Full:
                continue
            return

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        start = time.perf_counter()
        item, error, done = self._ready.get()
        end = time.perf_counter()
        self._stage.waits_s += end - start
        if self._tell is not None:
            self._tell("wait", start, end)
        if error is not None:
            raise error
        if done:
            raise StopIteration
        return item

    def close(self) -> None:
        self._stop.set()
