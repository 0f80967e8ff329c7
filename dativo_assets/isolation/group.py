"""A control group (cgroup v2) for one child and all that it starts, where the run has been given a place for such groups.

<place>/dativo-<pid>-<number>/     gone with the child; those that a killed run left go with the next group that is made

The place is the folder that DATIVO_CGROUP names, or the one around the run's own group where systemd has delegated it
(Delegate=yes with DelegateSubgroup=).
"""

from __future__ import annotations

import itertools
import os
import time
from contextlib import suppress
from pathlib import Path

from .settings import Isolation

_PLACE = "DATIVO_CGROUP"
_PERIOD_US = 100_000
_END_S = 1.0
_numbers = itertools.count()


class Group:
    """A group that was made. ran_out_of_memory: once it has ended, whether the kernel killed it for that."""

    def __init__(self, folder: Path, settings: Isolation) -> None:
        self._folder = folder
        self.ran_out_of_memory = False
        self._held = {key for key, (file, value) in _wanted(settings).items() if self._set(file, value)}
        if "memory" in self._held:
            self._set("memory.swap.max", "0")
            self._set("memory.oom.group", "1")

    @classmethod
    def of(cls, settings: Isolation) -> Group | None:
        """A group with the settings' limits; None where there is no place for one."""
        place = _place()
        if place is None:
            return None
        _sweep(place)
        for name in ("memory", "pids", "cpu"):
            with suppress(OSError):  # it is no group's own yet, or not given to this place
                _write(place / "cgroup.subtree_control", f"+{name}")
        folder = place / f"dativo-{os.getpid()}-{next(_numbers)}"
        try:
            folder.mkdir()
        except OSError:
            return None
        return cls(folder, settings)

    def take(self, pid: int) -> set[str]:
        """Have a process in it, and all that it starts from then on; returns the limits that it is held to."""
        return set(self._held) if self._set("cgroup.procs", str(pid)) else set()

    def end(self) -> None:
        """Kill all that is in it, and remove it."""
        with suppress(OSError, ValueError):
            events = dict(line.split() for line in (self._folder / "memory.events").read_text().splitlines())
            self.ran_out_of_memory = int(events["oom_kill"]) > 0
        self._set("cgroup.kill", "1")
        deadline = time.monotonic() + _END_S
        while self._folder.exists() and time.monotonic() < deadline:
            with suppress(OSError):  # what was killed is not gone yet
                self._folder.rmdir()
                return
            time.sleep(0.005)

    def _set(self, name: str, value: str) -> bool:
        try:
            _write(self._folder / name, value)
        except OSError:
            return False
        return True


def _wanted(settings: Isolation) -> dict[str, tuple[str, str]]:
    """The file and the value of each limit that a group can hold a child to."""
    given = {
        "memory": ("memory.max", settings.memory_bytes),
        "tasks": ("pids.max", settings.tasks),
        "cores": ("cpu.max", settings.cores and f"{round(settings.cores * _PERIOD_US)} {_PERIOD_US}"),
    }
    return {key: (file, str(value)) for key, (file, value) in given.items() if value is not None}


def _place() -> Path | None:
    if named := os.environ.get(_PLACE):
        return Path(named)
    with suppress(OSError, StopIteration, AttributeError):
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        own = next(line.removeprefix("0::/") for line in lines if line.startswith("0::/"))
        around = (Path("/sys/fs/cgroup") / own).parent
        if os.getxattr(around, "user.delegate") == b"1":
            return around
    return None


def _sweep(place: Path) -> None:
    """Remove the groups of runs that are dead; one with processes stays."""
    for folder in place.glob("dativo-*-*"):
        pid = folder.name.split("-")[1]
        if not Path("/proc", pid).exists():
            with suppress(OSError):
                folder.rmdir()


def _write(path: Path, value: str) -> None:
    """Write to a file that is there."""
    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(handle, value.encode())
    finally:
        os.close(handle)
