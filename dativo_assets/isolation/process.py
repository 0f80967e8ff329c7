"""A process that holds one plugin, as its host sees it: calls, streams, and why it died."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from dativo_plugin_sdk import CancelledError, DativoError, PluginError, SandboxError
from dativo_plugin_sdk.errors import from_dict
from dativo_plugin_sdk.isolation.wire import BATCH, CALL, ERROR, RESULT, Channel, Closed, Garbled

from dativo_assets.registry import PluginRef

from .group import Group
from .settings import ALWAYS, LIMITS, Isolation

_BOOT = "import json, sys; sys.path[{0}] = json.loads(sys.argv[1]); from {1} import main; main()"
_HERE = _BOOT.format(":", "dativo_assets.isolation.child")
_ELSEWHERE = _BOOT.format(":0", "dativo_plugin_sdk.isolation.main")
# What a program needs to find its way; none of these holds a secret.
_ALWAYS = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
_START_S = 60.0
_GRACE_S = 0.4
_CLOSE_S = 5.0
_LAST_LINES = 5
_LINE_CHARACTERS = 2_000


class Child:
    """Started by its construction; `close` ends it, and so does the end of this process, however that comes.

    redact: what the plugin prints goes through it to standard error. stdin: whether it gets what is piped into this process.

    Raises: PluginError: when it can't be started.
    """

    def __init__(self, ref: PluginRef, settings: Isolation, redact: Callable[[str], str], *, stdin: bool) -> None:
        self._plugin = ref.reference
        self._settings = settings
        self._lock = threading.Lock()
        self._channels: set[Channel] = set()
        self._killed_for: str | None = None
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._scratch = None if settings.files is None else tempfile.mkdtemp()
        python, boot, paths = _interpreter(settings)
        self._places = [str(python.parent.parent), sys.base_prefix, *paths]
        self._group = Group.of(settings)
        self._control, theirs = socket.socketpair()
        lifeline, ours = os.pipe()
        argv = [str(python), "-I", "-u", "-c", boot, json.dumps(paths)]
        with theirs:
            self._process = subprocess.Popen(
                [*argv, str(theirs.fileno()), str(lifeline)],
                stdin=None if stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                pass_fds=(theirs.fileno(), lifeline),
                start_new_session=True,
            )
        os.close(lifeline)
        self._end = weakref.finalize(self, _let_go, self._control, ours, self._scratch)
        pipe = self._process.stdout
        assert pipe is not None
        self._told = threading.Thread(target=_tell, args=(pipe, self._lines, redact), name="dativo-told", daemon=True)
        self._told.start()
        watch = (self._process, self._group, self._channels, self._lock)
        threading.Thread(target=_watch, args=watch, name="dativo-child", daemon=True).start()
        self._timer: threading.Timer | None = None
        if settings.time_s is not None:
            self._timer = threading.Timer(settings.time_s, _expire, args=(weakref.ref(self),))
            self._timer.daemon = True
            self._timer.start()
        try:
            self.missing = self._begin(ref)
        except BaseException:
            self.kill("close")
            raise

    def call(self, method: str, timeout_s: float | None = None, **given: Any) -> dict[str, Any]:
        """The answer to a call, {"value": JSON, "notes": texts}.

        Raises: DativoError: what the plugin raised; SandboxError for a limit that it met; PluginError when it died or gave no
        answer in time.
        """
        with self.asking({"method": method, **given}, timeout_s) as channel:
            return self.answer(*channel.receive())

    def batches(self, split: dict[str, Any], ended: Callable[[dict[str, Any]], None]) -> Iterator[Any]:
        """The record batches of a split. ended: is given what the child says at the end. Raises: as `call`."""
        with self.asking({"method": "read", "split": split}) as channel:
            while True:
                kind, value = channel.receive()
                if kind != BATCH:
                    ended(self.answer(kind, value))
                    return
                yield value

    def cancel(self, grace_s: float, *, spare_idle: bool = False) -> None:
        """Let it stop by itself for a moment, then kill it; returns at once. spare_idle: not if no call is left by then."""
        arguments = (grace_s, spare_idle)
        threading.Thread(target=self._cancel, args=arguments, name="dativo-cancel", daemon=True).start()

    def close(self) -> None:
        """Let the plugin close, and end the process."""
        if self._process.returncode is None and self._killed_for is None:
            with suppress(DativoError):
                self.call("close", _CLOSE_S)
        self.kill("close")
        self._told.join(_GRACE_S)  # the last that it printed is told before the run's result

    def kill(self, reason: str) -> None:
        """End the process and all that it has started. reason: close, cancel, time or timeout; the first one stays."""
        with self._lock:
            self._killed_for = self._killed_for or reason
        if self._timer is not None:
            self._timer.cancel()
        _kill_group(self._process)
        self._end()

    @property
    def is_alive(self) -> bool:
        """Whether it may still answer."""
        return self._process.poll() is None and self._killed_for is None

    @contextmanager
    def asking(self, request: dict[str, Any], timeout_s: float | None = None) -> Iterator[Channel]:
        """A channel on which a call was made and its answer comes. Raises: as `call`."""
        ours, theirs = socket.socketpair()
        channel = Channel(ours, timeout_s or self._settings.call_s)
        try:
            with self.telling():
                with theirs, self._lock:
                    self._channels.add(channel)
                    try:
                        socket.send_fds(self._control, [b"."], [theirs.fileno()])
                    except OSError as error:
                        raise Closed from error
                channel.send(CALL, request)
                yield channel
        finally:
            with self._lock:
                self._channels.discard(channel)
            channel.close()

    @contextmanager
    def telling(self) -> Iterator[None]:
        """What is wrong with the process inside, as an error that names the plugin."""
        try:
            yield
        except Garbled as error:
            self.kill("close")
            raise PluginError(
                f"plugin {self._plugin} {error}", details={"plugin": self._plugin}, hint="tell the plugin's author"
            ) from error
        except Closed as error:
            raise self._death() from error
        except TimeoutError as error:
            self.kill("timeout")
            raise PluginError(
                f"plugin {self._plugin} gave no answer for {self._settings.call_s or _START_S:g} s, and was killed",
                "PLUGIN_TIMEOUT",
                {"plugin": self._plugin},
                hint="raise `timeout` in the job if the plugin needs that long",
            ) from error

    def answer(self, kind: bytes, value: Any) -> dict[str, Any]:
        """What a frame answers. Raises: DativoError: the one that it holds. Garbled: for another frame."""
        if kind == ERROR:
            raise self._limited(from_dict(value)).at(plugin=self._plugin)
        if kind != RESULT:
            raise Garbled("answered with something else than it was asked for")
        return value  # type: ignore[no-any-return]

    # -- inside ----------------------------------------------------------------------------------------------------

    def _environment(self) -> dict[str, str]:
        names = (*_ALWAYS, *self._settings.env)
        given = {name: os.environ[name] for name in names if name in os.environ}
        given["OPENBLAS_NUM_THREADS"] = "1"  # its threads take memory, and nothing here computes with it
        return given if self._scratch is None else {**given, "TMPDIR": self._scratch}

    def _begin(self, ref: PluginRef) -> list[str]:
        """Say what it is for; returns the limits that this host can't hold it to. Raises: SandboxError: for one that it needs."""
        about = {
            "kind": ref.kind,
            "reference": ref.reference,
            "origin": ref.origin,
            "module": ref.module,
            "path": ref.path and str(ref.path),
            "attribute": ref.attribute,
        }
        limits = self._settings.limits()
        held = set() if self._group is None else self._group.take(self._process.pid)
        limits.update(dict.fromkeys(held - {"memory"}))
        if self._settings.files is not None and self._scratch is not None:
            limits["files"] = self._settings.files.with_python(self._places, ref.path, self._scratch)
        with self.telling():
            channel = Channel(self._control, _START_S)
            channel.send(CALL, {"ref": about, "limits": limits})
            held.update(map(str, self.answer(*channel.receive()).get("held", ())))
        missing = [key for key in (*self._settings.asked, *ALWAYS) if key not in held]
        if needed := sorted(self._settings.required.intersection(missing)):
            raise SandboxError(
                f"this host can't hold plugin {self._plugin} to its limit of {', '.join(LIMITS[key] for key in needed)}",
                details={"plugin": self._plugin, "limit": needed[0]},
                hint="`dativo doctor` says what it can; `isolation.best_effort: true` in the job runs the plugin all the same",
            )
        return sorted({**LIMITS, **ALWAYS}[key] for key in missing)

    def _limited(self, error: DativoError) -> DativoError:
        """What a plugin met under a limit, as an error that names the limit."""
        settings = self._settings
        if error.error_code == "OUT_OF_MEMORY" and settings.memory_bytes is not None:
            return self._refused(f"needs more memory than its {settings.memory_bytes:,} bytes", "memory")
        if error.error_code == "TOO_MANY_FILES" and settings.open_files is not None:
            return self._refused(f"opens more files than its {settings.open_files}", "open_files")
        if error.error_code == "FILE_TOO_LARGE" and settings.file_bytes is not None:
            return self._refused(f"writes a file larger than its {settings.file_bytes:,} bytes", "file_size")
        none_left = error.details.get("original_type") == "BlockingIOError" or "can't start new thread" in error.message
        if none_left and not settings.processes:
            return self._refused("starts a process, and may start none", "processes")
        if none_left and settings.tasks is not None:
            return self._refused(f"starts more processes and threads than its {settings.tasks}", "tasks")
        return error

    def _refused(self, what: str, key: str) -> SandboxError:
        return SandboxError(
            f"plugin {self._plugin} {what}",
            details={"plugin": self._plugin, "limit": key},
            hint=f"raise `isolation.{key}` in the job if it may have more",
        )

    def _death(self) -> DativoError:
        """Why the process is gone. One that only closed its sockets is ended."""
        if self._killed_for in ("cancel", "close"):
            return CancelledError("the run was cancelled")
        if self._killed_for == "time":
            return self._refused(f"runs for longer than its {self._settings.time_s:g} s", "time")
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_S)
        status = self._process.returncode
        self.kill("close")
        self._told.join(_GRACE_S)
        if status == -signal.SIGXCPU:
            return self._refused(f"used up its {self._settings.cpu_s:g} s of processor time", "cpu")
        if self._group is not None and self._group.ran_out_of_memory:
            return self._refused(f"needs more memory than its {self._settings.memory_bytes:,} bytes", "memory")
        return PluginError(
            f"plugin {self._plugin} {_ending(status)}",
            "PLUGIN_DIED",
            {"plugin": self._plugin},
            hint=self._last_words(status),
        )

    def _last_words(self, status: int | None) -> str:
        lines = [f"the last that it printed: {' | '.join(self._lines)}"] if self._lines else []
        if self._settings.memory_bytes is not None and status == -signal.SIGABRT:
            size = f"{self._settings.memory_bytes:,} bytes"
            lines.append(f"it may have met its limit of {size} of memory: `isolation.memory` in the job")
        lines.append("nothing else was harmed; mend the plugin, or tell its author")
        return "\n".join(lines)

    def _cancel(self, grace_s: float, spare_idle: bool) -> None:
        with suppress(DativoError):
            self.call("cancel", grace_s)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(grace_s)
        with self._lock:
            idle = not self._channels
        if not (idle and spare_idle):
            self.kill("cancel")


def _interpreter(settings: Isolation) -> tuple[Path, str, list[str]]:
    """A plugin's Python, how it begins there, and where it looks for modules before others."""
    if settings.environment is None:
        return Path(sys.executable), _HERE, [path or os.getcwd() for path in sys.path]
    from .environment import python_of

    return python_of(settings.environment, settings.root), _ELSEWHERE, [str(settings.environment)]


def _let_go(control: socket.socket, lifeline: int, scratch: str | None) -> None:
    control.close()
    os.close(lifeline)
    if scratch is not None:
        shutil.rmtree(scratch, ignore_errors=True)


def _expire(child: weakref.ref[Child]) -> None:
    if (found := child()) is not None:
        found.kill("time")


def _watch(process: subprocess.Popen[bytes], group: Group | None, channels: set[Channel], lock: threading.Lock) -> None:
    """Once the process has died: end what it has started, and wake whoever waits for it."""
    with suppress(ChildProcessError):
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    _kill_group(process)
    if group is not None:
        group.end()
    process.wait()
    with lock:
        for channel in channels:
            channel.wake()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that leads its group, and the group; its number is its own until it is waited for."""
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _tell(pipe: IO[bytes], lines: deque[str], redact: Callable[[str], str]) -> None:
    with pipe:
        for line in iter(lambda: pipe.readline(_LINE_CHARACTERS), b""):
            text = redact(line.decode("utf-8", "replace").rstrip("\n"))
            lines.append(text)
            with suppress(OSError, ValueError):  # standard error may be closed, and the child must not wait for it
                sys.stderr.write(f"{text}\n")


def _ending(status: int | None) -> str:
    if status is None:
        return "left its process without an end"
    if status >= 0:
        return f"ended its process (status {status})"
    number = -status
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    return (
        f"killed its process ({name})"
        if number != signal.SIGKILL
        else "was killed (SIGKILL), perhaps for want of memory"
    )
