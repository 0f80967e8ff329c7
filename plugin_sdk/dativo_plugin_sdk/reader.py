"""What a reader plugin subclasses.

Level 1: write `extract`. Level 2: add an `Options` model, `check_connection`, `discover`, `probe`.
Level 3: override `plan` and `read` for parallel reads and pushdown.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from .deferred import deferred, options_of
from .errors import CancelledError, ConfigurationError, PluginError
from .models import ConnectionTestResult, DiscoveryResult, ReadPlan, ReadRequest, SourceConfig, Split
from .version import API_VERSION, ApiVersions

if TYPE_CHECKING:
    from .options import Options

_WHOLE = "all"


class BaseReader:
    """A source. One instance serves one run; `read` is called from several threads, a split each.

    source_config: what the job says, connections resolved. options: validated by `Options`.
    """

    __version__: ClassVar[str] = "1.0.0"
    api_version: ClassVar[ApiVersions] = API_VERSION
    """The version of the plugin API that it was made for, or (oldest, newest) that it works with."""
    Options: ClassVar[type[Options]] = deferred("dativo_plugin_sdk.options:Options")

    def __init__(self, source_config: SourceConfig) -> None:
        self.source_config = source_config
        self.options: Any = options_of(self, source_config)
        self.notes: list[str] = []
        self._request = ReadRequest()
        self._stop = threading.Event()

    @classmethod
    def at(cls, source_config: SourceConfig) -> BaseReader:
        """The reader of a source, for classes that are constructed with something else."""
        return cls(source_config)

    def extract(self, state_manager: Any = None) -> Iterator[Any]:
        """Level 1: yield batches (lists of dicts, record batches, tables, frames, anything with `__arrow_c_stream__`)."""
        raise PluginError(
            f"reader {type(self).__name__} has neither extract() nor plan() and read()",
            hint="write extract() and yield lists of dicts",
        )

    def check_connection(self) -> ConnectionTestResult:
        """Level 2: whether the source answers."""
        return ConnectionTestResult(True, f"{type(self).__name__} has no connection test")

    def discover(self) -> DiscoveryResult:
        """Level 2: what the source offers."""
        return DiscoveryResult([])

    def probe(self, cursor: Mapping[str, Any] | None) -> str | None:
        """Level 2: a short text that changes whenever there is something new since `cursor`; None: nothing new.

        Called by a sensor every few seconds, so it must be cheap. The default plans a read and looks at its splits.
        """
        plan = self.plan(ReadRequest(cursor=cursor))
        if plan.unchanged or not plan.splits:
            return None
        return "|".join(split.id for split in plan.splits)

    def new_files(self, cursor: Mapping[str, Any] | None) -> Mapping[str, str]:
        """Level 3, for a reader of files, each of which may be a partition: {file: a text that changes as it does} of those that
        are new or have changed since `cursor`, the oldest first. `plan` then reads `request.partition.file` alone, and says so
        by "file" in `applied`.
        """
        raise ConfigurationError(
            f"reader {self.source_config.reader} knows of no files, so they can't be partitions",
            hint="divide the job by a column: partitions: {dynamic: {column: ...}}",
        )

    def partition_values(self, column: str) -> Mapping[str, str] | None:
        """Level 3, for jobs divided by the values of a column, such as tenants: {value: a text that changes as its rows do} of
        all there are now. None: that has to be read, which is done where each split of a plan has its `version`.

        Called by a sensor, and again whenever `probe` tells of something new.
        """
        return None

    @classmethod
    def query_tables(cls, query: str) -> frozenset[str]:
        """For a reader of queries: the tables a query names; those that are jobs of the project become upstream."""
        return frozenset()

    @classmethod
    def column_lineage(cls, source: SourceConfig) -> Mapping[str, Sequence[tuple[str, str]]]:
        """For a reader that renames or computes columns: {column: [(table, its column), ...]}; {}: they keep their names.

        A table is a job of the project that the query reads, or one of the source's tables or objects; "" where the source is
        one. source: as the job writes it, without secrets; nothing is read.
        """
        return {}

    def get_total_records_estimate(self) -> int | None:
        """Rows the source will give, where it knows without reading."""
        return None

    def column_tags(self) -> Mapping[str, str]:
        """Level 2: what the source says of its columns, {column: tag}; asked once all is read, shown in the catalog."""
        return {}

    def plan(self, request: ReadRequest) -> ReadPlan:
        """Level 3: divide the input into splits and pin its upper bound, before anything is read."""
        self._request = request
        return ReadPlan(splits=(Split(_WHOLE, rows=self.get_total_records_estimate()),))

    def read(self, split: Split) -> Any:
        """Level 3: the batches of one split: one Arrow stream, or an iterator of what `extract` may yield.

        All of one run's splits must give the plan's schema.
        """
        return self.extract()

    def note(self, text: str) -> None:
        """Tell a person something about this run, such as how many lines were left out; shown with its result."""
        self.notes.append(text)

    def cancel(self) -> None:
        """Called from another thread when the run stops: `read` should end soon; `cancelled` tells it to."""
        self._stop.set()

    @property
    def cancelled(self) -> bool:
        """Whether the run was asked to stop."""
        return self._stop.is_set()

    def raise_if_cancelled(self) -> None:
        """Raises: CancelledError: once the run was asked to stop."""
        if self._stop.is_set():
            raise CancelledError("the run was cancelled")

    def sleep(self, seconds: float) -> None:
        """Wait, but no longer than the run goes on. Raises: CancelledError: once the run was asked to stop."""
        self._stop.wait(seconds)
        self.raise_if_cancelled()

    def close(self) -> None:
        """Called once at the end of the run, whatever its outcome."""
