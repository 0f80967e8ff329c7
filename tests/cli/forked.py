"""The command in processes that begin with its modules loaded: a fork takes a fraction of a start."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path

from dativo_assets.cli import main

_FORKS = multiprocessing.get_context("forkserver")
# What `dativo run` ends up with. No test of what is loaded, and when, may run here.
_FORKS.set_forkserver_preload(
    [
        "dativo_assets.cli.run",
        "dativo_assets.readers.csv",
        "dativo_assets.writers.parquet",
        "pyarrow.compute",
        "pyarrow.dataset",
        "rich.console",
        __name__,
    ]
)


def dativo(
    arguments: tuple[str, ...], folder: Path, environment: Mapping[str, str], timeout_s: float = 60
) -> tuple[int, str, str]:
    """Returns: its exit code (a signal's is negative), and what it printed. Raises: AssertionError: when it goes on too long."""
    (out, out_end), (err, err_end) = _FORKS.Pipe(duplex=False), _FORKS.Pipe(duplex=False)
    process = _FORKS.Process(target=_run, args=(arguments, folder, dict(environment), out_end, err_end))
    process.start()
    out_end.close()
    err_end.close()
    late = threading.Timer(timeout_s, process.kill)
    late.start()
    with os.fdopen(os.dup(out.fileno())) as printed, os.fdopen(os.dup(err.fileno())) as told:
        errors: list[str] = []
        reading = threading.Thread(target=lambda: errors.append(told.read()))
        reading.start()
        text = printed.read()
        reading.join()
    process.join()
    in_time = late.is_alive()
    late.cancel()
    assert in_time and process.exitcode is not None, f"dativo {' '.join(arguments)} had no end after {timeout_s} s"
    return process.exitcode, text, errors[0]


def _run(
    arguments: tuple[str, ...], folder: Path, environment: dict[str, str], out: Connection, err: Connection
) -> None:
    """In the fork."""
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    out.close()
    err.close()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv = ["dativo", *arguments]
    try:
        main()
    finally:
        atexit._run_exitfuncs()  # multiprocessing leaves them out
