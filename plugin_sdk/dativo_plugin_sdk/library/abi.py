"""The structs of dativo_plugin.h, as ctypes has them. A call of one of their functions lets go of Python's lock."""

from __future__ import annotations

import ctypes
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int32, c_int64, c_uint32, c_void_p
from typing import Any, ClassVar

MAGIC = 0x56544144
READER, FORMAT, WRITER = 1, 2, 3


class ArrowSchema(Structure):
    """Arrow's own."""

    format: bytes | None
    n_children: int
    children: Any
    dictionary: Any
    release: Any


class ArrowArray(Structure):
    """Arrow's own."""

    length: int
    null_count: int
    offset: int
    n_buffers: int
    n_children: int
    buffers: Any
    children: Any
    dictionary: Any
    release: Any


class ArrowArrayStream(Structure):
    """Arrow's own."""

    get_schema: Any
    get_next: Any
    get_last_error: Any
    release: Any


ArrowSchema._fields_ = [
    ("format", c_char_p),
    ("name", c_char_p),
    ("metadata", c_void_p),
    ("flags", c_int64),
    ("n_children", c_int64),
    ("children", POINTER(POINTER(ArrowSchema))),
    ("dictionary", POINTER(ArrowSchema)),
    ("release", CFUNCTYPE(None, POINTER(ArrowSchema))),
    ("private_data", c_void_p),
]
ArrowArray._fields_ = [
    ("length", c_int64),
    ("null_count", c_int64),
    ("offset", c_int64),
    ("n_buffers", c_int64),
    ("n_children", c_int64),
    ("buffers", POINTER(c_void_p)),
    ("children", POINTER(POINTER(ArrowArray))),
    ("dictionary", POINTER(ArrowArray)),
    ("release", CFUNCTYPE(None, POINTER(ArrowArray))),
    ("private_data", c_void_p),
]
_stream = POINTER(ArrowArrayStream)
ArrowArrayStream._fields_ = [
    ("get_schema", CFUNCTYPE(c_int32, _stream, POINTER(ArrowSchema))),
    ("get_next", CFUNCTYPE(c_int32, _stream, POINTER(ArrowArray))),
    ("get_last_error", CFUNCTYPE(c_char_p, _stream)),
    ("release", CFUNCTYPE(None, _stream)),
    ("private_data", c_void_p),
]

_pointer, _out, _schema, _array = c_void_p, POINTER(c_void_p), POINTER(ArrowSchema), POINTER(ArrowArray)
Log = CFUNCTYPE(None, c_void_p, c_int32, c_char_p)


def _fails(*arguments: Any) -> Any:
    """A function that may fail: its last argument is the answer."""
    return CFUNCTYPE(c_int32, *arguments, _out)


class Host(Structure):
    """dativo_host."""

    _fields_: ClassVar = [
        ("api_version", c_uint32),
        ("size", c_uint32),
        ("context", c_void_p),
        ("log", Log),
        ("oldest_api_version", c_uint32),
    ]


class Head(Structure):
    """dativo_plugin: what every table begins with."""

    magic: int
    api_version: int
    size: int
    kind: int
    about: bytes | None
    free_text: Any

    _fields_: ClassVar = [
        ("magic", c_uint32),
        ("api_version", c_uint32),
        ("size", c_uint32),
        ("kind", c_uint32),
        ("about", c_char_p),
        ("free_text", CFUNCTYPE(None, c_void_p)),
    ]


class Table(Structure):
    """A table after its head. required: the functions that must be there."""

    head: Head
    required: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def functions(cls) -> tuple[str, ...]:
        return tuple(item[0] for item in cls._fields_[1:])


class ReaderTable(Table):
    """dativo_reader."""

    required = ("create", "close", "read")
    _fields_: ClassVar = [
        ("head", Head),
        ("create", _fails(c_char_p, _out)),
        ("close", CFUNCTYPE(None, _pointer)),
        ("read", _fails(_pointer, c_char_p, _stream)),
        ("cancel", CFUNCTYPE(None, _pointer)),
        ("plan", _fails(_pointer, c_char_p, _schema, _schema)),
        ("check", _fails(_pointer)),
        ("discover", _fails(_pointer)),
        ("probe", _fails(_pointer, c_char_p)),
        ("metrics", _fails(_pointer, _stream)),
    ]


class FormatTable(Table):
    """dativo_format."""

    required = ("create", "close", "write", "finish")
    _fields_: ClassVar = [
        ("head", Head),
        ("create", _fails(c_char_p, _schema, c_char_p, c_char_p, _out)),
        ("close", CFUNCTYPE(None, _pointer)),
        ("write", _fails(_pointer, _array)),
        ("finish", _fails(_pointer)),
        ("cancel", CFUNCTYPE(None, _pointer)),
        ("bytes_written", CFUNCTYPE(c_int64, _pointer)),
    ]


class WriterTable(Table):
    """dativo_writer."""

    required = (
        "create",
        "close",
        "last_commit",
        "open",
        "split",
        "split_close",
        "write",
        "finish",
        "commit",
        "abort",
    )
    _fields_: ClassVar = [
        ("head", Head),
        ("create", _fails(c_char_p, _out)),
        ("close", CFUNCTYPE(None, _pointer)),
        ("last_commit", _fails(_pointer)),
        ("open", _fails(_pointer, c_char_p, _schema)),
        ("split", _fails(_pointer, c_char_p, _schema, _out)),
        ("split_close", CFUNCTYPE(None, _pointer)),
        ("write", _fails(_pointer, _array)),
        ("finish", _fails(_pointer)),
        ("commit", _fails(_pointer, c_char_p, c_char_p)),
        ("abort", CFUNCTYPE(None, _pointer)),
        ("cancel", CFUNCTYPE(None, _pointer)),
        ("check", _fails(_pointer)),
        ("history", _fails(_pointer)),
        ("snapshot", _fails(_pointer)),
    ]


TABLES: dict[int, type[Table]] = {READER: ReaderTable, FORMAT: FormatTable, WRITER: WriterTable}


def field_offset(table: type[Structure], name: str) -> int:
    """Where a field lies in a struct."""
    found: int = getattr(table, name).offset
    return found


def size_of(table: type[Structure]) -> int:
    return ctypes.sizeof(table)
