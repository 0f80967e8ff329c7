"""OpenLineage events of runs, sent by the official client from a thread of its own: they delay no run and fail none."""

from __future__ import annotations

import queue
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dativo_plugin_sdk import PluginError

from dativo_assets.config import Project, Redactor, resolve
from dativo_assets.pipeline import RunResult
from dativo_assets.pipeline.logs import logger
from dativo_assets.plan import JobPlan

if TYPE_CHECKING:
    from openlineage.client import OpenLineageClient
    from openlineage.client.event_v2 import RunEvent

_CLOSE_S = 3.0
_MOST_WAITING = 10_000
_END = {"succeeded": "COMPLETE", "unchanged": "COMPLETE", "failed": "FAIL", "cancelled": "ABORT"}

Go = Callable[[], RunResult]


class Events:
    """What is told of runs: nothing, unless dativo.yaml has `openlineage`."""

    def around(self, plan: JobPlan, run_id: str, go: Go) -> RunResult:
        """Run `go` and tell of its beginning and its end."""
        return go()


@contextmanager
def telling(project: Project, environment: Mapping[str, str]) -> Iterator[Events]:
    """Events of a project's runs, delivered when the context ends, or given up a few seconds later.

    Raises: PluginError: when dativo.yaml asks for them and the client is not installed. ConfigurationError: for a transport
    that the client refuses.
    """
    if project.config.openlineage is None:
        yield Events()
        return
    events = _OpenLineage(project, environment)
    try:
        yield events
    finally:
        events.close()


class _OpenLineage(Events):
    def __init__(self, project: Project, environment: Mapping[str, str]) -> None:
        wanted = project.config.openlineage
        assert wanted is not None
        self._environment = environment
        self._redactor = Redactor()
        self._namespace = wanted.namespace or project.name
        self._failed = 0
        transport = resolve(dict(wanted.transport), environment, self._redactor)
        if (path := transport.get("log_file_path")) and "://" not in str(path):
            transport["log_file_path"] = str(project.root / path)
            Path(transport["log_file_path"]).parent.mkdir(parents=True, exist_ok=True)
        self._client = self._connect(transport, project)
        self._waiting: queue.Queue[RunEvent | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._deliver, name="dativo-openlineage", daemon=True)
        self._thread.start()

    def _connect(self, transport: dict[str, Any], project: Project) -> OpenLineageClient:
        try:
            from openlineage.client import OpenLineageClient
        except ImportError as error:
            raise PluginError(
                "dativo.yaml asks for OpenLineage events, and the client is not installed",
                hint="pip install 'dativo-assets[openlineage]', or remove `openlineage`",
            ) from error
        try:
            return OpenLineageClient(config={"transport": transport})
        except Exception as error:  # whatever a transport's own checks raise
            from dativo_plugin_sdk import ConfigurationError

            text = self._redactor.redact(str(error))
            where = project.config.location("openlineage", "transport").details()
            raise ConfigurationError(f"the OpenLineage transport is refused: {text}", details=where) from error

    def around(self, plan: JobPlan, run_id: str, go: Go) -> RunResult:
        from . import openlineage

        run = str(uuid.uuid5(uuid.NAMESPACE_URL, f"dativo:{run_id}:{plan.job.name}"))
        facts = openlineage.Facts(self._namespace, plan, self._environment)
        self._put(lambda: openlineage.event("START", run, _now(), facts, None))
        result = go()
        ended = _now()
        self._put(lambda: openlineage.event(_END[result.status], run, ended, facts, result))
        return result

    def _put(self, make: Callable[[], RunEvent]) -> None:
        try:
            self._waiting.put_nowait(make())
        except Exception as error:  # a full queue, or what a plugin told: the run is not about its events
            self._missed(error)

    def _deliver(self) -> None:
        while (event := self._waiting.get()) is not None:
            try:
                self._client.emit(event)
            except Exception as error:
                self._missed(error)

    def _missed(self, error: Exception) -> None:
        self._failed += 1
        if self._failed == 1:
            text = self._redactor.redact(str(error).split("\n")[0]) or type(error).__name__
            logger.warning("an OpenLineage event was not delivered", error=text)

    def close(self) -> None:
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            self._failed += 1
        self._thread.join(_CLOSE_S)
        if self._thread.is_alive():
            logger.warning("OpenLineage events were given up", after_s=_CLOSE_S)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat()
