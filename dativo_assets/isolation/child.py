"""The child of an isolated plugin: limits first, then the plugin, then calls until the host goes away."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys
from functools import partial
from pathlib import Path
from typing import NoReturn

from dativo_plugin_sdk.isolation.limits import apply_limits
from dativo_plugin_sdk.isolation.loaded import Loaded
from dativo_plugin_sdk.isolation.serve import serve
from dativo_plugin_sdk.isolation.wire import RESULT, Channel

from dativo_assets.errors import to_dativo_error
from dativo_assets.registry import PluginRef


def main() -> NoReturn:
    """Serve the plugin that the first frame names. argv: the number of the control socket, and of the host's lifeline."""
    number, lifeline = map(int, sys.argv[2:])
    _die_with(lifeline)
    control = socket.socket(fileno=number)
    channel = Channel(control)
    _, given = channel.receive()
    channel.send(RESULT, {"missing": apply_limits(given["limits"])})
    about = given["ref"]
    ref = PluginRef(**{**about, "path": about["path"] and Path(about["path"])})
    serve(control, lambda: _load(ref), partial(to_dativo_error, plugin=ref.reference))


def _load(ref: PluginRef) -> Loaded:
    plugin = ref.load()
    return Loaded(
        ref.kind, plugin.target, plugin.factory, {"version": plugin.version, "options_schema": plugin.options_schema()}
    )


def _die_with(lifeline: int) -> None:
    """Be killed when the host's end of a pipe is closed, whatever the plugin is doing then; where the system can't do that, the
    child ends once it reads its control socket.
    """
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
