"""Frames between a host and the child that holds its plugin: JSON as control, Arrow IPC streams of one batch as data.

A frame is a kind (a byte), a length (8 bytes) and that many bytes. Nothing else is ever parsed, and nothing is unpickled: what
comes from a child is taken for hostile.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from dativo_plugin_sdk.arrow import pyarrow
from dativo_plugin_sdk.twin import Original

CALL, RESULT, ERROR, BATCH = b"C", b"R", b"E", b"B"
_HEAD = struct.Struct("<cQ")
_MAX_JSON_BYTES = 256 << 20
_MAX_BATCH_BYTES = 1 << 30
_BUFFER_BYTES = 256 << 10  # more of it would not stay in the processor's cache


class Closed(Exception):
    """The other side is gone."""


class Garbled(Exception):
    """What came is not what was agreed on: the words for it go after the plugin's name."""


class Channel:
    """One end of a socket that carries frames; one thread sends and one receives. timeout_s: the longest wait for either."""

    def __init__(self, sock: socket.socket, timeout_s: float | None = None) -> None:
        self._sock = sock
        self._original = Original()
        self._filled: Any = None  # what batches are sent from, one after the other
        # The kernel's own timeouts: with those of Python a call would return after each part that came.
        sock.settimeout(None)
        if timeout_s is not None:
            limit = struct.pack("@ll", int(timeout_s), int(timeout_s % 1 * 1e6))
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                sock.setsockopt(socket.SOL_SOCKET, option, limit)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)

    def send(self, kind: bytes, value: Mapping[str, Any]) -> None:
        """Send a JSON object. Raises: Closed. TimeoutError."""
        self._send(kind, json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass"))

    def send_batch(self, batch: Any) -> None:
        """Send a pyarrow record batch, its schema and dictionaries with it. Raises: Closed. TimeoutError."""
        pa = pyarrow()
        size = pa.MockOutputStream()
        _write(size, batch.schema, batch)
        if self._filled is None or self._filled.size < size.size():
            self._filled = pa.allocate_buffer(size.size())
        _write(pa.FixedSizeBufferWriter(self._filled), batch.schema, batch)
        self._send(BATCH, memoryview(self._filled)[: size.size()])

    def receive(self) -> tuple[bytes, Any]:
        """A frame's kind, and its JSON object or its record batch, checked to be what its schema says.

        Raises: Closed: at the end. TimeoutError. Garbled: for what is no frame.
        """
        kind, size = _HEAD.unpack(self._exactly(bytearray(_HEAD.size)))
        if kind not in (CALL, RESULT, ERROR, BATCH) or size > (_MAX_BATCH_BYTES if kind == BATCH else _MAX_JSON_BYTES):
            raise Garbled("sent what is no frame")
        if kind == BATCH:
            return kind, read_batch(self._exactly(pyarrow().allocate_buffer(size)))
        try:
            value = json.loads(self._exactly(bytearray(size)).decode("utf-8", "surrogatepass"))
        except (ValueError, RecursionError) as error:
            raise Garbled(f"sent what is no JSON: {error}") from error
        if not isinstance(value, dict):
            raise Garbled(f"sent a {type(value).__name__} for an object")
        return kind, value

    def wake(self) -> None:
        """End it for whoever waits in another thread; that thread closes it."""
        with suppress(OSError):  # the other side was first
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._sock.close()

    def _send(self, kind: bytes, payload: Any) -> None:
        self._original.check()  # of two processes only the first may speak
        try:
            self._sock.sendall(_HEAD.pack(kind, len(payload)))
            self._sock.sendall(payload)
        except BlockingIOError as error:
            raise TimeoutError from error
        except OSError as error:
            raise Closed from error

    def _exactly(self, buffer: Any) -> Any:
        """The buffer, filled."""
        view = memoryview(buffer)
        while len(view):
            try:
                count = self._sock.recv_into(view, len(view), socket.MSG_WAITALL)
            except BlockingIOError as error:
                raise TimeoutError from error
            except OSError as error:
                raise Closed from error
            if count == 0:
                raise Closed
            view = view[count:]
        return buffer


def _write(sink: Any, schema: Any, batch: Any = None) -> None:
    with pyarrow().ipc.new_stream(sink, schema) as writer:
        if batch is not None:
            writer.write_batch(batch)


def schema_bytes(schema: Any) -> Any:
    """A pyarrow schema as a buffer that `read_schema` reads."""
    sink = pyarrow().BufferOutputStream()
    _write(sink, schema)
    return sink.getvalue()


def read_schema(data: Any) -> Any:
    """The schema of `schema_bytes`. Raises: Garbled."""
    pa = pyarrow()
    try:
        return pa.ipc.open_stream(data).schema
    except (pa.ArrowException, OSError) as error:
        raise Garbled(f"sent what is no Arrow schema: {error}") from error


def read_batch(data: Any) -> Any:
    """The batch of an IPC stream, every offset and text of it checked. Raises: Garbled."""
    pa = pyarrow()
    try:
        batch = pa.ipc.open_stream(data).read_next_batch()
        batch.validate(full=True)
    except (pa.ArrowException, OSError, StopIteration) as error:
        raise Garbled(f"gave a batch that is not what its schema says: {error}") from error
    return batch
