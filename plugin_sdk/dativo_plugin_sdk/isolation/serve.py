"""The child's side: each call of the host comes on a channel of its own, and has a thread of its own."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from typing import NoReturn

from dativo_plugin_sdk.errors import DativoError

from .loaded import Loaded
from .reader import ReaderCalls
from .wire import ERROR, RESULT, Channel, Closed
from .writer import WriterCalls

# Calls that send or take batches beside their answer.
_STREAMS = ("read", "write")


def serve(
    control: socket.socket, load: Callable[[], Loaded], translate: Callable[[BaseException], DativoError]
) -> NoReturn:
    """Serve the host's calls until it goes away. control: brings a socket for each call.

    load: imports the plugin; what it raises is what every call answers. translate: whatever was raised as one of the tree.
    """
    calls: ReaderCalls | WriterCalls | DativoError
    try:
        loaded = load()
        calls = ReaderCalls(loaded) if loaded.kind == "reader" else WriterCalls(loaded)
    except (Exception, SystemExit) as error:
        calls = translate(error)
    while True:
        _, handles, _, _ = socket.recv_fds(control, 1, 1)
        if not handles:
            os._exit(0)  # whatever thread of the plugin is still there
        channel = Channel(socket.socket(fileno=handles[0]))
        threading.Thread(target=_answer, args=(calls, channel, translate), daemon=True).start()


def _answer(
    calls: ReaderCalls | WriterCalls | DativoError,
    channel: Channel,
    translate: Callable[[BaseException], DativoError],
) -> None:
    try:
        _, given = channel.receive()
        try:
            if isinstance(calls, DativoError):
                raise calls
            method = given["method"]
            result = calls.stream(channel, given) if method in _STREAMS else calls.call(method, given)
        except Closed:
            raise
        except (Exception, SystemExit) as error:
            channel.send(ERROR, translate(error).to_dict())
        else:
            channel.send(RESULT, result)
    except Closed:
        pass  # the host does not want it any more
    finally:
        channel.close()
