"""What is told of a run whose process ends in the middle: by a plugin that calls `os._exit`, a crash in native code, a kill."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dativo_assets.errors import PluginError

from .output import print_error

_SURVIVED = (signal.SIGINT, signal.SIGTERM) + ((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ())


@contextmanager
def witnessed() -> Iterator[Callable[[str], None]]:
    """Tell what is begun: `job` names. Should this process end before the block does, a process beside it says so.

    It is a fork that sleeps on a pipe, so a run starts no slower; the exit code stays what it is.
    """
    if not hasattr(os, "fork"):
        yield lambda job: None
        return
    reader, writer = os.pipe()
    witness = os.fork()
    if witness == 0:
        os.close(writer)
        _watch(reader)
    os.close(reader)
    try:
        yield lambda job: _say(writer, f"{job}\n")
    finally:
        # Whatever else is raised in here is told by those who catch it.
        _say(writer, "\n")
        os.close(writer)
        os.waitpid(witness, 0)


def _say(writer: int, text: str) -> None:
    try:
        os.write(writer, text.encode("utf-8", "backslashreplace"))
    except OSError:
        return  # a witness that is gone says nothing


def _watch(reader: int) -> None:
    """The fork's whole life. An empty line is the good end, the end of the pipe without one is not."""
    try:
        for number in _SURVIVED:
            signal.signal(number, signal.SIG_IGN)
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)  # who reads our standard output is not to wait for this process
        heard = b""
        # The good end is one though a process that a plugin has started still holds the pipe.
        while not f"\n{heard.decode('utf-8', 'replace')}".endswith("\n\n") and (part := os.read(reader, 4096)):
            heard += part
        last = ["", *heard.decode("utf-8", "replace").split("\n")[:-1]][-1]
        if last:
            print_error(
                PluginError(
                    f"the process ended while job {last} ran: a plugin ended it or crashed, or it was killed",
                    "PROCESS_ENDED",
                    {"job": last},
                    hint="nothing of the run is visible, and the next run removes its traces; if it was no kill (as for "
                    "want of memory), look at the plugins of the job",
                )
            )
    finally:
        os._exit(0)
