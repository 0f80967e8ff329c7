"""Seccomp: calls of the kernel that this process and all that it starts can't make any more. Linux alone."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator, Mapping

_ARCHITECTURES = {"x86_64": (0xC000003E, 0, 317), "aarch64": (0xC00000B7, 1, 277)}
# A call's numbers there; those from 424 on are the same everywhere.
_Numbers = tuple[int | None, int | None]
# What reaches into other processes, or changes the machine or what is mounted: a plugin that is root lacks the rights for most of
# it, and the rest is what holes in kernels were found in.
_NEVER: tuple[_Numbers, ...] = (
    *((101, 117), (310, 270), (311, 271), (438, 438)),  # ptrace, process_vm_readv, process_vm_writev, pidfd_getfd
    *((165, 40), (166, 39), (155, 41), (161, 51)),  # mount, umount2, pivot_root, chroot
    *((428, 428), (429, 429), (430, 430), (432, 432), (433, 433), (442, 442)),  # open_tree .. mount_setattr
    *((272, 97), (308, 268), (304, 265)),  # unshare, setns, open_by_handle_at
    *((321, 280), (298, 241), (323, 282)),  # bpf, perf_event_open, userfaultfd
    *((248, 217), (249, 218), (250, 219)),  # add_key, request_key, keyctl
    *((175, 105), (313, 273), (176, 106), (246, 104), (320, 294)),  # modules, and other kernels
)
# A ring makes its calls where no filter sees them, and clone3 has its flags where none can look; who finds that they are not
# there uses the older calls.
_UNKNOWN: tuple[_Numbers, ...] = ((425, 425), (435, 435))
# They do nothing: what a plugin starts stays in its process group, and ends with it.
_LEAVE_GROUP: tuple[_Numbers, ...] = ((112, 157), (109, 154))  # setsid, setpgid
_SOCKET: _Numbers = (41, 198)
_CLONE = (56, 220)
_FORK: tuple[_Numbers, ...] = ((57, None), (58, None))  # fork, vfork
_EXECUTE: tuple[_Numbers, ...] = ((59, 221), (322, 281))
_SET_AFFINITY: _Numbers = (203, 122)
_NEW_NAMESPACES, _THREAD = 0x7E020000, 0x00010000
_OLD_ABI = 0x40000000

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FLAGS = 0, 4, 16  # places in what a filter is given
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_NO_NEW_PRIVILEGES, _SET_FILTER, _ALL_THREADS = 38, 1, 1

_Instruction = tuple[int, int, int, int]


class _Program(ctypes.Structure):
    _fields_ = (("count", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def refuse_calls(*, network: bool, processes: bool, affinity: bool) -> None:
    """Refuse what no plugin needs. network: sockets that reach beyond this process. processes: any other process or
    program. affinity: a choice of its own of processors.

    Raises: OSError: where the system has no such filters, or this processor's calls are not known.
    """
    refused = {"network": network, "processes": processes, "affinity": affinity}
    code = b"".join(struct.pack("=HBBI", *item) for item in _instructions(refused))
    libc = ctypes.CDLL(None, use_errno=True)
    program = _Program(len(code) // 8, code)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    number = _ARCHITECTURES[platform.machine()][2]
    if libc.syscall(number, _SET_FILTER, _ALL_THREADS, ctypes.byref(program)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _instructions(refused: Mapping[str, bool]) -> Iterator[_Instruction]:
    """The filter: of each call the first rule that fits decides."""
    if platform.system() != "Linux" or platform.machine() not in _ARCHITECTURES:
        raise OSError(errno.ENOSYS, "no filter for this machine")
    architecture, column, _ = _ARCHITECTURES[platform.machine()]
    yield _LOAD, 0, 0, _ARCHITECTURE
    yield _EQUAL, 1, 0, architecture
    yield _RETURN, 0, 0, _ERROR | errno.ENOSYS  # calls of another kind have other numbers
    yield _LOAD, 0, 0, _NUMBER
    yield _AT_LEAST, 0, 1, _OLD_ABI
    yield _RETURN, 0, 0, _ERROR | errno.ENOSYS
    for numbers, code in _rules(refused):
        if (number := numbers[column]) is not None:
            yield _EQUAL, 0, 1, number
            yield _RETURN, 0, 0, _ERROR | code
    # The last rule is about clone, of its flags.
    yield _EQUAL, 1, 0, _CLONE[column]
    yield _RETURN, 0, 0, _ALLOW
    yield _LOAD, 0, 0, _FLAGS
    yield _ANY_BIT, 0, 1, _NEW_NAMESPACES
    yield _RETURN, 0, 0, _ERROR | errno.EPERM
    if refused["processes"]:
        yield _ANY_BIT, 1, 0, _THREAD
        yield _RETURN, 0, 0, _ERROR | errno.EAGAIN
    yield _RETURN, 0, 0, _ALLOW


def _rules(refused: Mapping[str, bool]) -> Iterator[tuple[_Numbers, int]]:
    """Calls, and the error that each ends with."""
    yield from ((call, errno.EPERM) for call in _NEVER)
    yield from ((call, errno.ENOSYS) for call in _UNKNOWN)
    yield from ((call, 0) for call in _LEAVE_GROUP)
    if refused["network"]:
        yield _SOCKET, errno.ENETUNREACH
    if refused["processes"]:
        yield from ((call, errno.EAGAIN) for call in _FORK)
        yield from ((call, errno.EPERM) for call in _EXECUTE)
    if refused["affinity"]:
        yield _SET_AFFINITY, errno.EPERM
