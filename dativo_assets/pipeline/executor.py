"""Splits over worker threads, watched by the caller's thread: progress, cancellation, a plugin that hangs."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence

from dativo_plugin_sdk import PluginError, Split

from .move import Shared, Worker
from .settings import Progress, RunSettings

_POLL_S = 0.05
_GRACE_S = 0.6
_CANCELLED_GRACE_S = 0.25
"""Of a run that a person ends: somebody waits, and no attempt goes on with what the others still finish."""


class ThreadExecutor:
    """Runs `Worker.move` over all splits. timeout_s: the longest a plugin may take over one call."""

    def __init__(self, shared: Shared, settings: RunSettings, timeout_s: float | None) -> None:
        self.shared = shared
        self.settings = settings
        self.timeout_s = timeout_s
        self.workers: list[Worker] = []
        self.ended = True
        """Whether no thread of it runs any more."""
        self._errors: list[BaseException] = []
        self._wake = threading.Condition()
        self._left = 0
        self._stop = threading.Event()

    def run(self, splits: Sequence[Split]) -> list[Worker]:
        """Move all splits; returns the workers with their counts and committables.

        Raises: DativoError: the first failure; every other worker was told to stop.
        """
        count = max(1, min(self.settings.workers, len(splits)))
        todo: queue.SimpleQueue[Split] = queue.SimpleQueue()
        for split in splits:
            todo.put(split)
        self.workers = [Worker(index, self.shared) for index in range(count)]
        self._left = count
        threads = [
            threading.Thread(target=self._work, args=(worker, todo), name=f"dativo-{worker.index}", daemon=True)
            for worker in self.workers
        ]
        for thread in threads:
            thread.start()
        try:
            self._watch(splits)
        except BaseException:
            self._halt(threads)
            raise
        for thread in threads:
            thread.join()
        return self.workers

    def _work(self, worker: Worker, todo: queue.SimpleQueue[Split]) -> None:
        try:
            while not self._stop.is_set():
                try:
                    split = todo.get_nowait()
                except queue.Empty:
                    break
                worker.move(split)
            if not self._stop.is_set():
                worker.finish()
        except BaseException as error:
            self._errors.append(error)
        finally:
            with self._wake:
                self._left -= 1
                self._wake.notify()

    def _watch(self, splits: Sequence[Split]) -> None:
        start = time.monotonic()
        total = sum(split.bytes or 0 for split in splits) if all(split.bytes for split in splits) else 0
        told = 0.0
        while True:
            with self._wake:
                if self._left > 0 and not self._errors:
                    self._wake.wait(_POLL_S)
                done = self._left == 0
            self.shared.cancel.check()
            if self._errors:
                raise self._errors[0]
            now = time.monotonic()
            if self.settings.on_progress is not None and (done or now - told >= self.settings.progress_interval_s):
                told = now
                self.settings.on_progress(self._progress(now - start, len(splits), total))
            if done:
                return
            self._check_hang(now)

    def _progress(self, seconds: float, splits: int, total: int) -> Progress:
        rows = sum(worker.rows_read for worker in self.workers)
        size = sum(worker.stages["read"].bytes for worker in self.workers)
        done = sum(worker.splits_done for worker in self.workers)
        moved = sum(worker.bytes_done for worker in self.workers)
        eta = seconds * (total - moved) / moved if total and moved else None
        return Progress(self.shared.job, "move", rows, size, seconds, done, splits, eta)

    def _check_hang(self, now: float) -> None:
        for worker in self.workers:
            if self.timeout_s is not None and worker.split and now - worker.beat > self.timeout_s:
                plugin = self.shared.reader.source_config.reader
                if worker.stage == "write":
                    plugin = self.shared.writer.target_config.writer
                raise PluginError(
                    f"plugin {plugin} gave no batch for {self.timeout_s:g} s",
                    "PLUGIN_TIMEOUT",
                    {"job": self.shared.job, "stage": worker.stage, "split": worker.split, "plugin": plugin},
                    hint="raise `timeout` in the job if the plugin needs that long",
                )

    def _halt(self, threads: Sequence[threading.Thread]) -> None:
        """Ask everything to stop, and leave threads behind that do not: they are daemons, and nothing waits for them."""
        self._stop.set()
        _quietly(self.shared.reader.cancel)
        _quietly(self.shared.writer.cancel)
        for worker in self.workers:
            _quietly(worker.cancel)
        deadline = time.monotonic() + (_CANCELLED_GRACE_S if self.shared.cancel.cancelled else _GRACE_S)
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self.ended = not any(thread.is_alive() for thread in threads)
        for worker, thread in zip(self.workers, threads, strict=True):
            if not thread.is_alive():
                _quietly(worker.abort)


def _quietly(call: Callable[[], None]) -> None:
    """For stopping: a plugin that fails to stop must not hide why it was stopped."""
    try:
        call()
    except Exception:
        return
