"""The key-value metadata of a finished Parquet file, set without writing its rows again.

A footer is a struct in Thrift's compact protocol, its field 5 a list of keys and values; all else is copied as it is.
"""

from __future__ import annotations

import struct

from .errors import ValidationError

_MAGIC = b"PAR1"
_KEY_VALUES = 5
_LIST = 9
_STRUCT = 12


def with_metadata(file: bytes, key: str, value: str) -> bytes:
    """The file with this pair in its footer, in place of one of that key.

    Raises: ValidationError: for bytes that are no Parquet file.
    """
    if len(file) < 12 or file[-4:] != _MAGIC:
        raise ValidationError("these bytes are no Parquet file")
    (size,) = struct.unpack("<I", file[-8:-4])
    start = len(file) - 8 - size
    footer = _with_pair(file[start:-8], key.encode(), value.encode())
    return file[:start] + footer + struct.pack("<I", len(footer)) + _MAGIC


def _with_pair(footer: bytes, key: bytes, value: bytes) -> bytes:
    head_of_pair = b"\x18" + _varint(len(key)) + key
    pair = head_of_pair + b"\x18" + _varint(len(value)) + value + b"\x00"
    out = bytearray()
    at, before, written = 0, 0, 0
    pending = True
    while True:
        kind = footer[at] & 15
        if kind:
            field, body = (before + (footer[at] >> 4), at + 1) if footer[at] >> 4 else _long_field(footer, at + 1)
        else:
            field, body = 1 << 15, at + 1
        if pending and field >= _KEY_VALUES:
            pending = False
            found, elements = 0, b""
            if field == _KEY_VALUES:
                found, first = _list_head(footer, body)
                end = _skip(footer, body, kind)
                kept = _without(footer, first, found, head_of_pair)
                found, elements = len(kept), b"".join(kept)
            head = bytes([found + 1 << 4 | _STRUCT]) if found < 14 else bytes([0xF0 | _STRUCT]) + _varint(found + 1)
            out += bytes([_KEY_VALUES - written << 4 | _LIST]) + head + elements + pair
            written = _KEY_VALUES
            if field == _KEY_VALUES:
                at, before = end, field
                continue
        if not kind:
            return bytes(out) + b"\x00"
        end = _skip(footer, body, kind)
        out += bytes([field - written << 4 | kind]) + footer[body:end]
        at, before, written = end, field, field


def _without(data: bytes, at: int, count: int, head: bytes) -> list[bytes]:
    """The structs of a list but those that begin so."""
    kept = []
    for _ in range(count):
        end = _skip(data, at, _STRUCT, element=True)
        if not data.startswith(head, at):
            kept.append(data[at:end])
        at = end
    return kept


def _long_field(data: bytes, at: int) -> tuple[int, int]:
    number, at = _read_varint(data, at)
    return number >> 1, at


def _list_head(data: bytes, at: int) -> tuple[int, int]:
    """Elements of a list, and where the first one begins."""
    size = data[at] >> 4
    return _read_varint(data, at + 1) if size == 15 else (size, at + 1)


def _skip(data: bytes, at: int, kind: int, *, element: bool = False) -> int:
    """Where a value ends."""
    if kind in (1, 2):  # a field's boolean is in its type
        return at + element
    if kind == 3:
        return at + 1
    if kind in (4, 5, 6):
        return _read_varint(data, at)[1]
    if kind == 7:
        return at + 8
    if kind == 8:
        size, at = _read_varint(data, at)
        return at + size
    if kind in (9, 10):
        inner = data[at] & 15
        size, at = _list_head(data, at)
        for _ in range(size):
            at = _skip(data, at, inner, element=True)
        return at
    if kind == _STRUCT:
        while data[at]:
            inner = data[at] & 15
            at = _skip(data, at + 1 if data[at] >> 4 else _long_field(data, at + 1)[1], inner)
        return at + 1
    raise ValidationError(f"a Parquet footer has no values of kind {kind}")


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return number, at
        shift += 7
