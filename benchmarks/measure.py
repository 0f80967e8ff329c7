"""One command, measured: wall, CPU and peak memory of the whole process, and the time of its work where it tells it."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_MAX_ARGUMENT = 100_000  # bytes: the kernel takes 128 KiB


@dataclass(frozen=True)
class Measured:
    """One run of one command. wall_s: of the work alone, where the command prints it as {"seconds": s}, else of the process.
    peak_bytes: the most resident memory of the process. size_bytes: what it wrote.
    """

    wall_s: float
    cpu_s: float
    peak_bytes: int
    size_bytes: int = 0


@dataclass(frozen=True)
class Command:
    """What to run. before: brings the output's place back to how it was. output: the file or folder it writes. argument: the
    last one, JSON; a long one goes through a file.
    """

    label: str
    argv: Sequence[str]
    before: Callable[[], None] = lambda: None
    output: Path | None = None
    environment: Mapping[str, str] | None = None
    argument: str | None = None


def once(command: Command) -> Measured:
    """Run it once.

    This process imports nothing large: between fork and exec the kernel counts our memory as the child's.

    Raises: RuntimeError: when the command fails, with what it printed.
    """
    command.before()
    os.sync()  # what the command before left for the kernel to write is not this one's to wait for
    log = Path(os.environ.get("TMPDIR", "/tmp")) / f"dativo-bench-{os.getpid()}.log"
    with log.open("wb") as sink:
        start = time.perf_counter()
        child = subprocess.Popen(
            [*command.argv, *_last(command)],
            stdout=sink,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(command.environment or {})},
        )
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    text = log.read_text(errors="replace")
    log.unlink()
    if child.returncode != 0:
        raise RuntimeError(f"{command.label} ended with {child.returncode}:\n{text[-4000:]}")
    for line in text.splitlines():
        if line.startswith('{"seconds"'):
            wall = float(json.loads(line)["seconds"])
    unit = 1 if os.uname().sysname == "Darwin" else 1024
    return Measured(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit, size(command.output))


def _last(command: Command) -> list[str]:
    if command.argument is None:
        return []
    if len(command.argument) < _MAX_ARGUMENT:
        return [command.argument]
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"dativo-bench-{os.getpid()}.json"
    path.write_text(command.argument)
    return [f"@{path}"]


def size(path: Path | None) -> int:
    """Bytes of a file, or of the Parquet files under a folder."""
    if path is None or not path.exists():
        return 0
    if path.is_file():
        return path.stat().st_size
    # A table may be a symlink to its newest version.
    return sum(file.stat().st_size for file in path.resolve().rglob("*.parquet"))


def paired(commands: Sequence[Command], rounds: int, not_counted: int = 1) -> dict[str, list[Measured]]:
    """Every command once a round, in turn: what disturbs the machine meanwhile disturbs them all. The order turns round
    each time. not_counted: rounds before, which warm caches."""
    found: dict[str, list[Measured]] = {command.label: [] for command in commands}
    for number in range(not_counted + rounds):
        order = commands if number % 2 == 0 else list(reversed(commands))
        for command in order:
            measured = once(command)
            if number >= not_counted:
                found[command.label].append(measured)
    return found


def median(runs: Sequence[Measured], name: str) -> float:
    """The median of one figure over the runs."""
    return statistics.median(float(getattr(run, name)) for run in runs)


def ratio(runs: Sequence[Measured], base: Sequence[Measured]) -> float:
    """The median over the rounds of wall time against the base of the same round."""
    return statistics.median(run.wall_s / other.wall_s for run, other in zip(runs, base, strict=True))
