"""How a child begins: limits first, then the plugin, then calls until the host goes away.

    python -c "...; from dativo_plugin_sdk.isolation.main import main; main()" PATHS SOCKET LIFELINE

`main` is for a plugin in an environment of its own, which has this SDK and not the platform.
"""

from __future__ import annotations

import fcntl
import importlib
import importlib.util
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, NoReturn

from dativo_plugin_sdk.adapt import lift_reader, lift_writer
from dativo_plugin_sdk.errors import ConfigurationError, DativoError, PluginError, wrap_exception
from dativo_plugin_sdk.native import api_version_of, describe

from .limits import apply_limits
from .loaded import Loaded
from .serve import serve
from .wire import RESULT, Channel

LIBRARIES = (".so", ".dylib", ".dll")
Translate = Callable[[BaseException, str], DativoError]


def serve_host(load: Callable[[Mapping[str, Any]], Loaded], translate: Translate) -> NoReturn:
    """Serve the plugin that the first frame names. argv: paths, and the numbers of the control socket and the host's lifeline.

    load: from {kind, reference, module, path, attribute}. translate: whatever was raised, by a plugin of that reference.
    """
    number, lifeline = map(int, sys.argv[2:])
    _die_with(lifeline)
    control = socket.socket(fileno=number)
    channel = Channel(control)
    _, given = channel.receive()
    channel.send(RESULT, {"held": apply_limits(given["limits"])})
    ref = given["ref"]
    serve(control, lambda: load(ref), lambda error: translate(error, ref["reference"]))


def main() -> NoReturn:
    """Serve a plugin of this environment, by a reference as a job writes it."""
    serve_host(_load, _translated)


def _translated(error: BaseException, plugin: str) -> DativoError:
    if type(error).__module__.startswith("pydantic") and hasattr(error, "errors"):
        # Without the values: one of them may be a secret.
        found = error.errors(include_input=False, include_url=False, include_context=False)
        text = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'options'}: {item['msg']}" for item in found)
        return ConfigurationError(text, details={"option": list(found[0]["loc"])})
    return wrap_exception(error, PluginError, f"plugin {plugin} failed")


def _load(ref: Mapping[str, Any]) -> Loaded:
    kind, reference = ref["kind"], ref["reference"]
    target = _find(kind, reference, ref["origin"])
    lift = lift_reader if kind == "reader" else lift_writer
    said = describe(target)
    options = None if "options_schema" in said else getattr(target, "Options", None)
    about = {
        "version": str(getattr(target, "__version__", None) or said.get("version") or "1.0.0"),
        "api_version": api_version_of(target),
    }
    schema = (lambda: said.get("options_schema")) if options is None else options.model_json_schema
    return Loaded(kind, target, lift(target, reference), about, schema)


def _find(kind: str, reference: str, folder: str) -> Any:
    """What a reference names. folder: what `path.py:Class` and `lib.so:symbol` are relative to."""
    from importlib.metadata import entry_points

    where, colon, attribute = reference.rpartition(":")
    if not colon:
        found = entry_points(group=f"dativo.{kind}s", name=reference)
        if not found:
            raise PluginError(
                f"{kind} {reference!r} is not in the environment of {folder}",
                hint="add the package that has it, then uv lock",
            )
        return next(iter(found)).load()
    path = os.path.join(folder, where)
    if where.endswith(LIBRARIES):
        from dativo_plugin_sdk.library import import_library

        return import_library(kind, path, attribute, reference)
    if where.endswith(".py"):
        spec = importlib.util.spec_from_file_location("_dativo_plugin", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(where)
    return reduce(getattr, attribute.split("."), module)


def _die_with(lifeline: int) -> None:
    """Be killed when the host's end of a pipe is closed, with all of this process's group and whatever the plugin is doing then;
    where the system can't do that, the child ends once it reads its control socket.
    """
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
