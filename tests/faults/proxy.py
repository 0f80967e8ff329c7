"""A line to a server that can be cut: a process of its own, told what to do through shared memory."""

from __future__ import annotations

import asyncio
import mmap
import os
import signal
import socket
import struct
from contextlib import suppress
from types import TracebackType

from typing_extensions import Self

from .children import Child

WAYS = ("pass", "before", "after", "bytes", "slow")
"""Cut when the marker is sent, before it is delivered or after it and before its answer; or after so many bytes; or slow."""
_SLOW_S = 0.005


class Line:
    """Listens on `port`. `arm` says what becomes of the connections; what cuts does so once."""

    def __init__(self, server_port: int, marker: bytes) -> None:
        self._server_port, self._marker = server_port, marker
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._told = mmap.mmap(-1, 16)

    def arm(self, way: str, after_bytes: int = 0) -> None:
        self._told[:16] = struct.pack("qq", WAYS.index(way), after_bytes)

    def _way(self) -> tuple[str, int]:
        way, left = struct.unpack("qq", self._told[:16])
        return WAYS[way], left

    def __enter__(self) -> Self:
        self.arm("pass")
        self._child = Child(lambda: asyncio.run(self._serve()))
        self._listener.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.kill(self._child.pid, signal.SIGKILL)
        self._child.result()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connect, sock=self._listener)
        await server.serve_forever()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", self._server_port)
            ends = (writer, back)
            await asyncio.gather(self._pass_on(reader, back, ends, True), self._pass_on(there, writer, ends, False))

    async def _pass_on(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        ends: tuple[asyncio.StreamWriter, ...],
        asks: bool,
    ) -> None:
        with suppress(OSError):
            while data := await source.read(1 << 16):
                way, left = self._way()
                if way == "slow":
                    await asyncio.sleep(_SLOW_S)
                if way == "bytes":
                    self.arm("bytes", left - len(data))
                if (way == "bytes" and left < len(data)) or (
                    way in ("before", "after") and asks and self._marker in data
                ):
                    self.arm("pass")
                    await self._cut(data, way, sink, ends)
                    return
                sink.write(data)
                await sink.drain()
        sink.close()

    async def _cut(
        self, data: bytes, way: str, sink: asyncio.StreamWriter, ends: tuple[asyncio.StreamWriter, ...]
    ) -> None:
        client, server = ends
        client.transport.abort()
        if way == "after":
            sink.write(data)
            await sink.drain()
            server.write_eof()  # the server ends the session once it has done what it was sent
        else:
            server.transport.abort()
