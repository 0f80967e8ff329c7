"""Landlock: what this process may open, and whether it may look at or signal processes that are not its own. Linux alone."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # the numbers of the calls, the same on every architecture
_NO_NEW_PRIVILEGES = 38
_BENEATH = 1
_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
_MAKE_BLOCK_DEVICE, _REFER, _IOCTL = 1 << 11, 1 << 13, 1 << 15
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_OF_A_FILE = _EXECUTE | _READ_FILE | 1 << 1 | 1 << 14 | _IOCTL
# The rights that a version of the interface knows: the first has 13.
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_SCOPES = 0b11  # abstract sockets, and signals
_SCOPES_SINCE = 6


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _Rule(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def confine(files: Mapping[str, Iterable[str]] | None) -> list[str]:
    """Confine this thread and all that it starts; returns what this host holds them to, of files, sight and signals.

    files: {"read": paths, "write": paths}, with all below them; None for all files.
    """
    try:
        version = _call(_CREATE, None, 0, 1)
        if version < 2:  # the first could move no file from folder to folder
            raise OSError
    except (OSError, AttributeError):
        return []
    known = (1 << _RIGHTS.get(version, 16)) - 1
    scopes = _SCOPES if version >= _SCOPES_SINCE else 0
    # Without one rule about files there would be no rule at all for older versions; and then processes are apart too.
    handled = _MAKE_BLOCK_DEVICE | _REFER if files is None else known
    rules = _Ruleset(handled, 0, scopes)
    ruleset = _call(_CREATE, ctypes.byref(rules), ctypes.sizeof(rules), 0)
    try:
        if files is None:
            _allow(ruleset, "/", _REFER)
        else:
            for path in files["read"]:
                _allow(ruleset, path, _READ)
            for path in files["write"]:
                _allow(ruleset, path, known & ~_MAKE_BLOCK_DEVICE)
        if ctypes.CDLL(None, use_errno=True).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
        _call(_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)
    return ["sight", *(["signals"] if scopes else []), *([] if files is None else ["files"])]


def _allow(ruleset: int, path: str, rights: int) -> None:
    """Rights at and below a path, where there is one."""
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rule = _Rule(rights if Path(path).is_dir() else rights & _OF_A_FILE, handle)
        _call(_ADD_RULE, ruleset, _BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(handle)


def _call(number: int, *arguments: object) -> int:
    """Raises: OSError."""
    found = ctypes.CDLL(None, use_errno=True).syscall(number, *arguments)
    if found < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(found)
