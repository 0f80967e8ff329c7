"""A line to a server that can be cut: a process of its own, told what to do through shared memory."""

from __future__ import annotations

import asyncio
import mmap
import os
import re
import signal
import socket
import struct
from contextlib import suppress
from types import TracebackType

from typing_extensions import Self

from .children import Child

WAYS = ("pass", "before", "after", "bytes", "slow")
"""Cut when a commit is sent, before it is delivered or after the server did it and before its answer; or after so many
bytes; or slow."""
_SLOW_S = 0.005


class Line:
    """Listens on `port`. commit: matches a request that commits. `arm` says what becomes of the connections; what cuts
    does so once.
    """

    def __init__(self, server_port: int, commit: bytes) -> None:
        self._server_port, self._commit = server_port, re.compile(commit)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._told = mmap.mmap(-1, 16)

    def arm(self, way: str, after_bytes: int = 0) -> None:
        self._told[:16] = struct.pack("qq", WAYS.index(way), after_bytes)

    @property
    def way(self) -> str:
        """What it is told; `pass` once it has cut."""
        return WAYS[struct.unpack("qq", self._told[:16])[0]]

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
            ends, silenced = (writer, back), asyncio.Event()
            await asyncio.gather(self._ask(reader, back, ends, silenced), self._answer(there, writer, ends, silenced))

    async def _ask(
        self, client: asyncio.StreamReader, server: asyncio.StreamWriter, ends: Ends, silenced: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while data := await client.read(1 << 16):
                if await self._ends(data):
                    _cut(ends)
                    return
                if self.way in ("before", "after") and self._commit.search(data):
                    before = self.way == "before"
                    self.arm("pass")
                    if before:
                        _cut(ends)
                        return
                    silenced.set()
                server.write(data)
                await server.drain()
        server.close()

    async def _answer(
        self, server: asyncio.StreamReader, client: asyncio.StreamWriter, ends: Ends, silenced: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while data := await server.read(1 << 16):
                if silenced.is_set() or await self._ends(data):
                    _cut(ends)
                    return
                client.write(data)
                await client.drain()
        client.close()

    async def _ends(self, data: bytes) -> bool:
        """Whether so many bytes have come. Waits, where the line is slow."""
        way, left = struct.unpack("qq", self._told[:16])
        if WAYS[way] == "slow":
            await asyncio.sleep(_SLOW_S)
        if WAYS[way] != "bytes":
            return False
        if left < len(data):
            self.arm("pass")
            return True
        self.arm("bytes", left - len(data))
        return False


Ends = tuple[asyncio.StreamWriter, ...]


def _cut(ends: Ends) -> None:
    for end in ends:
        end.transport.abort()
