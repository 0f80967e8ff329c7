"""A reader whose plugin runs in a child."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from dativo_plugin_sdk import (
    BaseReader,
    CancelledError,
    ConnectionTestResult,
    DativoError,
    DiscoveryResult,
    PluginError,
    ReadPlan,
    ReadRequest,
    SourceConfig,
    Split,
)
from dativo_plugin_sdk.isolation.control import read_plan, request_to_dict
from dativo_plugin_sdk.isolation.wire import Garbled

from .process import Child

T = TypeVar("T")
_GRACE_S = 0.2


class IsolatedReader(BaseReader):
    """Every call goes to the child. Its options are checked there, so `options` is None here."""

    def __init__(self, source_config: SourceConfig, child: Child) -> None:
        self.source_config = source_config
        self.options = None
        self.notes: list[str] = [
            f"{source_config.reader} is isolated, but this host can't limit its {what}" for what in child.missing
        ]
        self._child = child
        self._plan = ReadPlan(())
        self._stop = threading.Event()
        try:
            self._ask("open", config=json.loads(source_config.model_dump_json()))
        except BaseException:
            child.kill("close")
            raise

    @property
    def peak_rss_bytes(self) -> int:
        """The most memory that its process had resident; 0 where the system doesn't tell."""
        return self._child.peak_rss_bytes

    def check_connection(self) -> ConnectionTestResult:
        return self._made(ConnectionTestResult, "check_connection")

    def discover(self) -> DiscoveryResult:
        return self._made(DiscoveryResult, "discover")

    def probe(self, cursor: Mapping[str, Any] | None) -> str | None:
        found = self._ask("probe", cursor=cursor)
        return None if found is None else str(found)

    def new_files(self, cursor: Mapping[str, Any] | None) -> Mapping[str, str]:
        found = self._ask("new_files", cursor=cursor)
        return {str(file): str(text) for file, text in dict(found or {}).items()}

    def partition_values(self, column: str) -> Mapping[str, str] | None:
        found = self._ask("partition_values", column=column)
        return None if found is None else {str(value): str(text) for value, text in dict(found).items()}

    def get_total_records_estimate(self) -> int | None:
        found = self._ask("estimate")
        return found if isinstance(found, int) else None

    def column_tags(self) -> Mapping[str, str]:
        found = self._ask("column_tags")
        return {str(name): str(tag) for name, tag in dict(found or {}).items()}

    def plan(self, request: ReadRequest) -> ReadPlan:
        found = self._ask("plan", request=request_to_dict(request))
        with self._child.telling():
            self._plan = read_plan(found)
        return self._plan

    def read(self, split: Split) -> _Batches:
        return _Batches(self, split)

    def cancel(self) -> None:
        super().cancel()
        self._child.cancel(_GRACE_S)

    def close(self) -> None:
        self._child.close()

    def batches(self, split: Split, told: _Batches) -> Iterator[Any]:
        """The child's batches of a split; what it says at the end is kept in `told`."""

        def ended(answer: dict[str, Any]) -> None:
            told.metrics = json.dumps({"bad_rows": answer.get("bad_rows", 0)})
            self.notes.extend(map(str, answer.get("notes", ())))

        promised = None if self._plan.schema_text is None else self._plan.schema
        try:
            for batch in self._child.batches(split.to_dict(), ended):
                if promised is not None and not batch.schema.equals(promised):
                    raise PluginError(
                        f"reader {self.source_config.reader} gave a batch that is not in its plan's schema",
                        hint="tell the plugin's author",
                    )
                yield batch
        except DativoError as error:
            raise self._stopped(error) from error

    def _ask(self, method: str, **given: Any) -> Any:
        try:
            answer = self._child.call(method, **given)
        except DativoError as error:
            raise self._stopped(error) from error
        self.notes.extend(map(str, answer.get("notes", ())))
        return answer.get("value")

    def _made(self, kind: type[T], method: str) -> T:
        found = self._ask(method)
        with self._child.telling():
            try:
                return kind(**found)
            except TypeError as error:
                raise Garbled(f"sent what is no {kind.__name__}: {error}") from error

    def _stopped(self, error: DativoError) -> DativoError:
        """What a child says that was told to stop is not why it failed."""
        return CancelledError("the run was cancelled") if self.cancelled else error


class _Batches:
    """The stream of a split. metrics: JSON, once it has ended."""

    def __init__(self, reader: IsolatedReader, split: Split) -> None:
        self.metrics = "{}"
        self._batches = reader.batches(split, self)

    def __iter__(self) -> Iterator[Any]:
        return self._batches
