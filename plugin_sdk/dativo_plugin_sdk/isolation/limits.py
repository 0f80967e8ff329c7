"""What a child may use, set by itself before it loads its plugin, and by the kernel from then on."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .landlock import confine
from .seccomp import refuse_calls

_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_CAPABILITIES = 0x20080522  # the version of the interface
_OF_FILES = 0b1111  # chown, dac_override, dac_read_search, fowner


def apply_limits(limits: Mapping[str, Any]) -> list[str]:
    """Set what is given, and what every plugin is held to; returns the names of what this host holds a plugin to.

    memory: bytes of private writable memory (RLIMIT_DATA), which Linux alone counts. cpu: seconds. open_files. file_size: bytes
    of any one file. tasks: processes and threads. cores: processors. network, processes: False for none. files: as of `confine`.
    Every plugin is held to: rights, those of an administrator; calls, of `refuse_calls`; sight of other processes, and signals.
    """
    held = {key for key, limit in _LIMITS.items() if limits.get(key) is not None and _holds(limit, limits[key])}
    closed = {key for key in ("network", "processes") if limits.get(key) is False}
    if "network" in closed and _holds(_leave, _NEW_NETWORK):
        held.add("network")
    if _holds(_drop_capabilities, None):
        held.add("rights")
    held.update(confine(limits.get("files")))
    refused = {**{key: key in closed for key in ("network", "processes")}, "affinity": "cores" in held}
    if _holds(lambda refused: refuse_calls(**refused), refused):
        held |= {"calls", *closed}
    else:
        held.discard("cores")  # it may choose its processors itself
    return sorted(held)


def _holds(limit: Callable[[Any], None], value: Any) -> bool:
    try:
        limit(value)
    except (ImportError, AttributeError, OSError, ValueError):
        return False
    return True


def _limit_memory(size_bytes: int) -> None:
    if sys.platform != "linux":
        raise OSError("only Linux holds a process to it")
    _lower("RLIMIT_DATA", size_bytes)


def _limit_cpu(seconds: float) -> None:
    _lower("RLIMIT_CPU", max(1, round(seconds)), beyond=1)  # at the hard one comes a SIGKILL, which says nothing


def _limit_files(count: int) -> None:
    _lower("RLIMIT_NOFILE", count)


def _limit_file_size(size_bytes: int) -> None:
    _lower("RLIMIT_FSIZE", size_bytes)


def _limit_tasks(count: int) -> None:
    """The kernel counts a user's tasks: those of this process alone are counted where it is in a namespace of users."""
    if os.geteuid() == 0:
        raise OSError("an administrator is not held to it")
    _leave(0)
    _lower("RLIMIT_NPROC", count)


def _limit_cores(count: float) -> None:
    known = sorted(os.sched_getaffinity(0))
    if int(count) != count:
        raise OSError("a part of a processor can't be chosen")
    first = os.getpid() % len(known)  # not all plugins on the same ones
    os.sched_setaffinity(0, (known + known)[first : first + int(count)])


_LIMITS: Mapping[str, Callable[[Any], None]] = {
    "memory": _limit_memory,
    "cpu": _limit_cpu,
    "open_files": _limit_files,
    "file_size": _limit_file_size,
    "tasks": _limit_tasks,
    "cores": _limit_cores,
}


def _lower(name: str, value: int, beyond: int = 0) -> None:
    """Set a limit that can't be raised again by more than `beyond`; one that is lower already stays."""
    import resource

    kind = getattr(resource, name)
    hard = resource.getrlimit(kind)[1]
    most = value + beyond if hard == resource.RLIM_INFINITY else min(value + beyond, hard)
    resource.setrlimit(kind, (min(value, most), most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _leave(flags: int) -> None:
    """Into namespaces of its own: of an empty network, and of users where it takes one to be allowed to."""
    unshare = ctypes.CDLL(None, use_errno=True).unshare
    if flags and unshare(flags) == 0:
        return
    user, group = os.geteuid(), os.getegid()
    if unshare(_NEW_USER | flags) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    with suppress(OSError):  # it would only not know its own name
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _drop_capabilities(_: None) -> None:
    """Give up what an administrator may do beyond opening everybody's files: a look into other processes is part of it."""
    if sys.platform != "linux":
        if os.geteuid() == 0:
            raise OSError("only Linux divides them")
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = _Header(_CAPABILITIES, 0), (_Sets * 2)()
    if libc.capget(ctypes.byref(header), sets) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    for part, kept in zip(sets, (_OF_FILES, 0), strict=True):
        part.effective &= kept
        part.permitted &= kept
        part.inheritable = 0
    if libc.capset(ctypes.byref(header), sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")
