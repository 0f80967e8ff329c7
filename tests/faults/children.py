"""Runs in forked children of a warm process without threads: as strong as a process of its own, and fifty times cheaper.

A child can be killed, stopped or refused at its n-th step: a step is a call by which the protocol changes something
outside of the process, or asks a database to. What a child returns comes back as JSON.
"""

from __future__ import annotations

import errno
import gc
import importlib
import json
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

STEPS = (
    *(
        f"os.{name}"
        for name in ("rename", "replace", "symlink", "link", "unlink", "rmdir", "mkdir", "open", "write", "fsync")
    ),
    *(f"dativo_plugin_sdk.directory.{name}" for name in ("exchange", "take")),
    *(f"dativo_plugin_sdk.sql_writer.SqlWriter.{name}" for name in ("run", "commit", "open")),
    "dativo_assets.writers.duckdb.DuckdbWriter.run",
    "dativo_assets.writers.postgres.PostgresWriter.load",
    "dativo_plugin_sdk.staged_rows.StagedRows.finish",
    "dativo_assets.writers._lake_run.RunFiles.note_swap",
    *(f"dativo_plugin_sdk.remote.RemoteFiles.{name}" for name in ("exists", "read", "put", "delete")),
    *(
        f"dativo_assets.writers.{store}.{name}"
        for store in ("_delta_store.DeltaStore", "_iceberg_store.IcebergStore")
        for name in ("load", "output", "settle", "swap", "remove")
    ),
)
"""Calls that count, where their module is loaded."""

TIMEOUT_S = 120.0


@dataclass(frozen=True)
class At:
    """What a child does to itself: `what` at its step `step`, counted from 1. what: kill | stop | full."""

    step: int
    what: str = "kill"

    def arm(self) -> Callable[[], int]:
        """Returns: what tells how many steps there were."""
        steps, lock = [0], threading.Lock()

        def counting(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **keywords: Any) -> Any:
                with lock:
                    steps[0] += 1
                    here = steps[0] == self.step
                if here:
                    self._do()
                return function(*arguments, **keywords)

            return call

        for name in STEPS:
            owner, attribute = _resolve(name)
            if owner is not None and hasattr(owner, attribute):
                setattr(owner, attribute, counting(getattr(owner, attribute)))
        return lambda: steps[0]

    def _do(self) -> None:
        if self.what == "full":
            raise OSError(errno.ENOSPC, "No space left on device")
        os.kill(os.getpid(), {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[self.what])


def _resolve(name: str) -> tuple[Any, str]:
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        owner: Any = sys.modules.get(".".join(parts[:cut]))
        if owner is None:
            continue
        for part in parts[cut:-1]:
            owner = getattr(owner, part, None)
        return owner, parts[-1]
    return None, parts[-1]


class Child:
    """One forked process that runs `body`."""

    def __init__(self, body: Callable[[], Any]) -> None:
        assert threading.active_count() == 1, "a process with threads of its own must not fork"
        gc.freeze()  # or its first collection has it copy what it shares with its parent
        self._read, write = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(self._read)
            _live(body, write)
        os.close(write)
        self.ended = False

    def result(self, timeout_s: float = TIMEOUT_S) -> Any:
        """What it returned; None where it was killed, or is once the time is over."""
        parts = []
        while select.select([self._read], [], [], timeout_s)[0]:
            part = os.read(self._read, 1 << 16)
            if not part:
                break
            parts.append(part)
        else:
            os.kill(self.pid, signal.SIGKILL)
        return self._end(b"".join(parts))

    def _end(self, text: bytes) -> Any:
        os.waitpid(self.pid, 0)
        os.close(self._read)
        self.ended = True
        try:
            value = json.loads(text)
        except ValueError:
            return None
        if isinstance(value, dict) and "crashed" in value:
            raise AssertionError(value["crashed"])
        return value

    def stopped(self) -> bool:
        """Wait until it stopped itself, or ended. Returns: whether it stopped."""
        while True:
            if select.select([self._read], [], [], 0.001)[0]:
                return False
            pid, status = os.waitpid(self.pid, os.WUNTRACED | os.WNOHANG)
            if pid and os.WIFSTOPPED(status):
                return True

    def wake(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


def _live(body: Callable[[], Any], write: int) -> None:
    try:
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 1)
            os.dup2(nothing.fileno(), 2)
        plain = os.write
        text = json.dumps(body())
    except BaseException:
        text = json.dumps({"crashed": traceback.format_exc()})
    data = text.encode()
    while data:
        data = data[plain(write, data) :]
    os._exit(0)


def warm(body: Callable[[], Any]) -> None:
    """Import here what `body` imports, so that its children find it."""

    def names() -> list[str]:
        body()
        return list(sys.modules)

    for name in ask(names):
        with suppress(ImportError):
            importlib.import_module(name)


def ask(body: Callable[[], Any]) -> Any:
    """What `body` returns in a child of its own, so that no thread it starts is left here."""
    return Child(body).result()
