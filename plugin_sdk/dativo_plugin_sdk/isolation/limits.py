"""What a child may use, set by itself before it loads its plugin, and by the kernel from then on."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from .landlock import confine

_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_CAPABILITIES = 0x20080522  # the version of the interface
_OF_FILES = 0b1111  # chown, dac_override, dac_read_search, fowner


def apply_limits(limits: Mapping[str, Any]) -> list[str]:
    """Set memory_bytes, cpu_s, open_files, network and files; returns what this host can't hold a plugin to.

    memory_bytes: private writable memory (RLIMIT_DATA), which Linux alone counts. network: False for none. files: as of
    `confine`.
    """
    missing = [
        words
        for key, words, limit in (
            ("memory_bytes", "memory", _limit_memory),
            ("cpu_s", "processor time", _limit_cpu),
            ("open_files", "open files", _limit_files),
        )
        if limits.get(key) is not None and not _holds(limit, limits[key])
    ]
    if limits.get("network") is False and not _holds(_leave_network, None):
        missing.append("network access")
    if not _holds(_drop_capabilities, None):
        missing.append("rights of an administrator")
    return missing + confine(limits.get("files"))


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


def _lower(name: str, value: int, beyond: int = 0) -> None:
    """Set a limit that can't be raised again by more than `beyond`; one that is lower already stays."""
    import resource

    kind = getattr(resource, name)
    hard = resource.getrlimit(kind)[1]
    most = value + beyond if hard == resource.RLIM_INFINITY else min(value + beyond, hard)
    resource.setrlimit(kind, (min(value, most), most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _leave_network(_: None) -> None:
    """Into a network of its own, which is empty."""
    unshare = ctypes.CDLL(None, use_errno=True).unshare
    if unshare(_NEW_NETWORK) != 0 and unshare(_NEW_USER | _NEW_NETWORK) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


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
