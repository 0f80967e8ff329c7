"""A writer whose plugin runs in a child."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from typing import Any

from dativo_plugin_sdk import (
    AssetDefinition,
    BaseWriter,
    CancelledError,
    Checkpoint,
    Commit,
    Committable,
    ConnectionTestResult,
    DativoError,
    MaintainReport,
    MaintainRequest,
    Snapshot,
    SplitWriter,
    TargetConfig,
    WriteRequest,
    WriteTask,
)
from dativo_plugin_sdk.arrow import pyarrow
from dativo_plugin_sdk.isolation import control
from dativo_plugin_sdk.isolation.wire import CALL, Closed, Garbled

from .process import Child

_GRACE_S = 2.0


class IsolatedWriter(BaseWriter):
    """Every call goes to the child. A run whose child has died still asks what is committed: of a child that follows it."""

    def __init__(self, asset: AssetDefinition, target_config: TargetConfig, start: Callable[[], Child]) -> None:
        self.asset_definition = asset
        self.target_config = target_config
        self.output_base = ""
        self.options = None
        self._start = start
        self._cancelled = False
        self._numbers = itertools.count()
        self._child = start()
        self._missing = [
            f"{target_config.writer} is isolated, but this host can't limit its {what}" for what in self._child.missing
        ]
        self.notes: list[str] = [*self._missing]
        try:
            said = self._make()
        except BaseException:
            self._child.kill("close")
            raise
        self.modes = frozenset(said["modes"])  # type: ignore[misc]
        self.replaces_partitions = frozenset(said["replaces_partitions"])  # type: ignore[misc]
        self.quarantines = bool(said["quarantines"])  # type: ignore[misc]
        self.writes_empty = bool(said["writes_empty"])  # type: ignore[misc]
        self.needs_path = bool(said["needs_path"])  # type: ignore[misc]
        self.resumes = bool(said["resumes"])  # type: ignore[misc]

    def check_connection(self) -> ConnectionTestResult:
        found = self._ask("check_connection")
        with self._child.telling():
            try:
                return ConnectionTestResult(**found)
            except TypeError as error:
                raise Garbled(f"sent what is no ConnectionTestResult: {error}") from error

    def last_commit(self) -> Commit | None:
        return self._commit(self._look("last_commit"))

    def history(self) -> Sequence[Commit]:
        return [commit for item in self._look("history") if (commit := self._commit(item)) is not None]

    def commit_of(self, run_id: str) -> Commit | None:
        return self._commit(self._look("commit_of", run_id=run_id))

    def commit_of_file(self, path: str) -> Commit | None:
        return self._commit(self._look("commit_of_file", path=path))

    def open(self, request: WriteRequest) -> None:
        self._ask("open", request=control.write_request_to_dict(request))

    def writer(self, task: WriteTask) -> SplitWriter:
        return _IsolatedSplit(self._child, next(self._numbers), task, self._stopped)

    def finished(self, splits: Collection[str]) -> Sequence[Checkpoint]:
        found = self._ask("finished", splits=list(splits))
        with self._child.telling():
            return control.checkpoints(found)

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        self._ask("checkpoint", checkpoint=checkpoint.to_dict())

    def commit(self, committables: Sequence[Committable], commit: Commit) -> Commit:
        items = [asdict(item) for item in committables]
        found = self._commit(self._ask("commit", committables=items, commit=commit.model_dump()))
        with self._child.telling():
            if found is None:
                raise Garbled("sent no commit for what it was told to commit")
        return found

    def abort(self) -> None:
        """A child that is dead leaves its staging to the next run, which removes what dead runs left."""
        if self._child.is_alive:
            self._ask("abort")

    def suspend(self) -> None:
        """A child that is dead has left its checkpoints as they are."""
        if self._child.is_alive:
            self._ask("suspend")

    def snapshot(self) -> Snapshot | None:
        return self._table(self._look("snapshot"))

    def summary(self, commit: Commit) -> Snapshot | None:
        return self._table(self._look("summary", commit=commit.model_dump()))

    def store_connection(self) -> dict[str, Any]:
        return dict(self._look("store_connection"))

    def files_back_to(self, ends: Callable[[Commit], bool]) -> tuple[str, ...]:
        last = next((commit.seq for commit in reversed(self.history()) if ends(commit)), None)
        return tuple(map(str, self._look("files_back_to", seq=last)))

    def maintain(self, request: MaintainRequest) -> MaintainReport:
        found = self._ask("maintain", request=asdict(request))
        with self._child.telling():
            return control.maintain_report(found)

    def cancel(self) -> None:
        self._cancelled = True
        self._child.cancel(_GRACE_S, spare_idle=True)  # what can still abort removes its staging

    def close(self) -> None:
        self._child.close()

    # -- inside ----------------------------------------------------------------------------------------------------

    def _make(self) -> dict[str, Any]:
        asset = json.loads(self.asset_definition.model_dump_json())
        found = self._ask("make", asset=asset, config=json.loads(self.target_config.model_dump_json()))
        return dict(found)

    def _look(self, method: str, **given: Any) -> Any:
        """Ask about what is committed, of a new child where this one has died."""
        if not self._child.is_alive and not self._cancelled:
            self._child = self._start()
            self._make()
        return self._ask(method, **given)

    def _ask(self, method: str, **given: Any) -> Any:
        try:
            answer = self._child.call(method, **given)
        except DativoError as error:
            raise self._stopped(error) from error
        self.notes = [*self._missing, *map(str, answer.get("notes", ()))]
        return answer.get("value")

    def _stopped(self, error: DativoError) -> DativoError:
        """What a child says that was told to stop is not why it failed."""
        return CancelledError("the run was cancelled") if self._cancelled else error

    def _commit(self, value: Any) -> Commit | None:
        with self._child.telling():
            return control.commit(value)

    def _table(self, value: Any) -> Snapshot | None:
        with self._child.telling():
            return control.snapshot(value)


class _IsolatedSplit(SplitWriter):
    """Batches go to the child as they come; what it fails with comes with the next call."""

    def __init__(
        self, child: Child, number: int, task: WriteTask, stopped: Callable[[DativoError], DativoError]
    ) -> None:
        self._child = child
        self._stopped = stopped
        self._open = ExitStack()
        request = {"method": "write", "id": number, "task": control.task_to_dict(task)}
        try:
            self._channel = self._open.enter_context(child.asking(request))
        except DativoError as error:
            raise stopped(error) from error

    def write(self, batch: Any) -> None:
        pa = pyarrow()
        rows = batch if isinstance(batch, pa.RecordBatch) else pa.record_batch(batch)
        try:
            with self._child.telling():
                try:
                    self._channel.send_batch(rows)
                except Closed:
                    self._child.answer(*self._channel.receive())  # why it takes no more
                    raise
        except DativoError as error:
            self._open.close()
            raise self._stopped(error) from error

    def finish(self) -> Sequence[Committable]:
        found = self._end("finish")
        with self._child.telling():
            return control.committables(found)

    def abort(self) -> None:
        with suppress(DativoError):  # what is already gone is aborted
            self._end("abort")

    def _end(self, method: str) -> Iterable[Any]:
        try:
            with self._open, self._child.telling():
                with suppress(Closed):  # its error is there to be read
                    self._channel.send(CALL, {"method": method})
                return self._child.answer(*self._channel.receive()).get("value") or ()
        except DativoError as error:
            raise self._stopped(error) from error
