"""One attempt in a thread of its own: whoever waits for it can always stop it, and a plugin that hangs is left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dativo_plugin_sdk import BaseReader, CancelledError, ConfigurationError, PluginError, ReadPlan, ReadRequest

from dativo_assets.errors import to_dativo_error

from .settings import CancelToken

_POLL_S = 0.1
_CALL_GRACE_S = 0.25
"""How long a call of a plugin may go on once the run is cancelled."""
_GRACE_S = 0.8


class Attendant:
    """Watches the calls that an attempt makes into plugins outside its workers, which ThreadExecutor watches.

    timeout_s: the longest such a call may take.
    """

    def __init__(self, job: str, cancel: CancelToken, timeout_s: float | None) -> None:
        self._job = job
        self._cancel = cancel
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._call: tuple[str, str, float] | None = None
        self._left_behind = False
        self._committing = False

    @contextmanager
    def calling(self, stage: str, plugin: str) -> Iterator[None]:
        """What a plugin raises inside names it, even an exit of the process.

        Raises: DativoError: in place of what was raised. CancelledError: when nobody waits for the attempt any more.
        """
        with self._lock:
            if self._left_behind:
                raise CancelledError("the attempt was left behind")
            self._committing = self._committing or stage == "commit"
            self._call = (stage, plugin, time.monotonic())
        try:
            yield
        except ConfigurationError as error:
            if "line" not in error.details:
                error.at(job=self._job, stage=stage, plugin=plugin)
            raise
        except (Exception, SystemExit) as error:
            raise to_dativo_error(error, job=self._job, stage=stage, plugin=plugin) from error
        finally:
            self._call = None

    def run(self, work: Callable[[], None]) -> None:
        """Return when `work` has ended.

        Raises: what it raised. CancelledError: when it was cancelled and does not end. PluginError: when a call of a
        plugin takes too long.
        """
        raised: list[BaseException] = []
        ended = threading.Event()

        def body() -> None:
            try:
                work()
            except BaseException as error:
                raised.append(error)
            finally:
                ended.set()

        threading.Thread(target=body, name=f"dativo-run-{self._job}", daemon=True).start()
        try:
            while not ended.wait(_POLL_S):
                if self._cancel.cancelled and not self._ends(ended) and self._leave():
                    self._cancel.check()
                self._check_hang()
        except BaseException as error:
            self._leave()
            if not isinstance(error, Exception):  # the caller is interrupted: nobody else would stop the workers
                self._cancel.cancel()
                ended.wait(_GRACE_S)
            raise
        if raised:
            raise raised[0]

    def _ends(self, ended: threading.Event) -> bool:
        """Wait for the end of a cancelled attempt, which a plugin that answers nobody does not come to."""
        return ended.wait(_CALL_GRACE_S) or (self._call is None and ended.wait(_GRACE_S - _CALL_GRACE_S))

    def _leave(self) -> bool:
        """Keep the attempt from ever committing; False when it is too late for that, because it is committing."""
        with self._lock:
            self._left_behind = not self._committing
            return self._left_behind

    def _check_hang(self) -> None:
        call = self._call
        if call is None or self._timeout_s is None or time.monotonic() - call[2] <= self._timeout_s:
            return
        stage, plugin, _ = call
        told = "whether this run is visible is unknown: `dativo state show` tells; " if stage == "commit" else ""
        raise PluginError(
            f"plugin {plugin} gave no answer for {self._timeout_s:g} s",
            "PLUGIN_TIMEOUT",
            {"job": self._job, "stage": stage, "plugin": plugin},
            hint=f"{told}raise `timeout` in the job if the plugin needs that long",
        )


def read_plan(reader: BaseReader, request: ReadRequest) -> ReadPlan:
    """What a reader would read. Raises: TypeError: for a plan that is none, besides all that a plugin may raise."""
    read = reader.plan(request)
    if not isinstance(read, ReadPlan):
        raise TypeError(f"plan() returned {type(read).__name__}, not ReadPlan")
    return read


def column_tags(reader: BaseReader, plugin: str) -> dict[str, str]:
    """What a source says of its columns. plugin: the reader's reference.

    Raises: DativoError: whatever the reader raised, naming it.
    """
    try:
        return {str(name): str(tag) for name, tag in reader.column_tags().items()}
    except Exception as error:
        raise to_dativo_error(error, stage="read", plugin=plugin) from error
