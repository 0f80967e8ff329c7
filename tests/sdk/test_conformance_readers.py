"""The reader suite: a correct reader passes it, and each of its checks catches the reader that breaks it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from dativo_plugin_sdk import (
    BaseReader,
    ConfigurationError,
    ConnectionTestResult,
    DiscoveryResult,
    Options,
    ReadPlan,
    ReadRequest,
    Split,
)
from dativo_plugin_sdk.testing import ReaderConformance, run_suite
from pydantic import Field, field_validator

SCHEMA = pa.schema([("n", pa.int64()), ("square", pa.int64())])
ROWS = 1000


class SquaresOptions(Options):
    to: int = Field(ROWS, ge=0, le=100_000)


class Squares(BaseReader):
    """Correct in everything the suite looks at."""

    Options = SquaresOptions

    def check_connection(self) -> ConnectionTestResult:
        return ConnectionTestResult(True, "numbers are there")

    def discover(self) -> DiscoveryResult:
        return DiscoveryResult([{"name": "squares", "rows": self.options.to}])

    def plan(self, request: ReadRequest) -> ReadPlan:
        if "nowhere" in self.source_config.files:
            raise ConfigurationError("there are no numbers in nowhere", hint="name another file")
        to = self.options.to if (request.cursor or {}).get("to") != self.options.to else 0
        step = max(1, -(-to // request.parallelism))
        splits = tuple(Split(f"from {at}", {"start": at, "end": min(to, at + step)}) for at in range(0, to, step))
        return ReadPlan(splits=splits, schema=SCHEMA, cursor={"to": self.options.to}, applied=frozenset({"cursor"}))

    def read(self, split: Split) -> Iterator[pa.RecordBatch]:
        for at in range(split.payload["start"], split.payload["end"], 100):
            self.raise_if_cancelled()
            yield self.batch(at, min(split.payload["end"], at + 100))

    def batch(self, start: int, end: int) -> pa.RecordBatch:
        return pa.record_batch([list(range(start, end)), [n * n for n in range(start, end)]], schema=SCHEMA)


class TestSquares(ReaderConformance):
    reader = Squares
    broken_source: ClassVar[Any] = {"files": ("nowhere",)}
    expected_rows = ROWS


class TestRowsOfDicts(ReaderConformance):
    class Planets(BaseReader):
        def extract(self, state_manager: Any = None) -> Iterator[Any]:
            yield [{"name": "Venus", "moons": 0}, {"name": "Earth", "moons": 1}]
            yield [{"name": "Mars", "moons": 2.5}]

    reader = Planets
    expected_rows = 3


BROKEN: dict[str, tuple[type[BaseReader], str]] = {}
"""By the check that must fail: the reader, and what the check must say."""


def breaks(check: str, says: str) -> Callable[[type[BaseReader]], type[BaseReader]]:
    def note(reader: type[BaseReader]) -> type[BaseReader]:
        BROKEN[check] = reader, says
        return reader

    return note


@breaks("test_it_is_a_reader_of_this_api", "needs plugin API 99")
class FromTheFuture(Squares):
    api_version = 99


@breaks("test_check_connection_answers", "returned bool")
class AnswersTrue(Squares):
    def check_connection(self) -> Any:
        return True


@breaks("test_discover_answers", "returned list")
class ListsNames(Squares):
    def discover(self) -> Any:
        return ["squares"]


@breaks("test_probe_changes_with_the_source_alone", "twice differently")
class ProbesTheClock(Squares):
    def probe(self, cursor: Any) -> str:
        return str(time.perf_counter_ns())


@breaks("test_close_may_come_early_and_twice", "connection")
class ClosesWhatItNeverOpened(Squares):
    def close(self) -> None:
        del self.connection


@breaks("test_a_plan_is_json", "what JSON can't")
class PlansSets(Squares):
    def plan(self, request: ReadRequest) -> ReadPlan:
        found = super().plan(request)
        return ReadPlan(tuple(Split(s.id, {**s.payload, "seen": {1}}) for s in found.splits), schema=SCHEMA)


@breaks("test_split_ids_are_unique", "more than once")
class CallsAllTheSame(Squares):
    def plan(self, request: ReadRequest) -> ReadPlan:
        return ReadPlan(tuple(Split("part", s.payload) for s in super().plan(request).splits), schema=SCHEMA)


@breaks("test_plan_and_rows_are_deterministic", "when it is read again")
class NeverTheSame(Squares):
    def batch(self, start: int, end: int) -> pa.RecordBatch:
        now = time.perf_counter_ns()
        return pa.record_batch([[now] * (end - start)] * 2, schema=SCHEMA)


@breaks("test_splits_cover_the_source_once", "8 rows are lost")
class LosesTheRemainder(Squares):
    def plan(self, request: ReadRequest) -> ReadPlan:
        step = self.options.to // request.parallelism
        starts = range(0, step * request.parallelism, step or 1)
        return ReadPlan(tuple(Split(f"{at}", {"start": at, "end": at + step}) for at in starts), schema=SCHEMA)


@breaks("test_a_split_is_read_by_another_instance", "when another instance reads it")
class RemembersInMemory(Squares):
    count = 0

    def plan(self, request: ReadRequest) -> ReadPlan:
        type(self).count += 1
        self.shift = self.count
        shifted = [Split(s.id, {k: v + self.shift for k, v in s.payload.items()}) for s in super().plan(request).splits]
        return ReadPlan(tuple(shifted), schema=SCHEMA)

    def read(self, split: Split) -> Any:
        return super().read(Split(split.id, {k: v - self.shift for k, v in split.payload.items()}))


@breaks("test_batches_have_the_planned_schema", "square is double, not int64")
class LiesAboutItsSchema(Squares):
    def batch(self, start: int, end: int) -> pa.RecordBatch:
        return super().batch(start, end).cast(pa.schema([("n", pa.int64()), ("square", pa.float64())]))


@breaks("test_what_is_applied_is_applied", "with limit 1 a split gave 1000 rows")
class SaysLimit(Squares):
    def plan(self, request: ReadRequest) -> ReadPlan:
        return ReadPlan(super().plan(request).splits, schema=SCHEMA, applied=frozenset({"limit"}))


@breaks("test_nothing_comes_twice_past_its_own_cursor", "1000 rows come again")
class ForgetsItsCursor(Squares):
    def plan(self, request: ReadRequest) -> ReadPlan:
        return super().plan(ReadRequest(parallelism=request.parallelism))


@breaks("test_splits_are_read_at_once", "when splits are read in turns")
class ReadsOneAtATime(Squares):
    def read(self, split: Split) -> Iterator[pa.RecordBatch]:
        self.at, self.end = split.payload["start"], split.payload["end"]
        while self.at < self.end:
            start, self.at = self.at, min(self.end, self.at + 100)
            yield self.batch(start, self.at)


@breaks("test_a_cancelled_read_ends_soon", "went on for 0.5 s after cancel()")
class WaitsForever(Squares):
    def read(self, split: Split) -> Iterator[pa.RecordBatch]:
        yield self.batch(0, 10)
        threading.Event().wait(5)
        yield self.batch(10, 20)


@breaks("test_a_source_that_is_not_there_is_an_error_of_the_tree", "tells the password")
class TellsThePassword(Squares):
    def plan(self, request: ReadRequest) -> ReadPlan:
        if "nowhere" in self.source_config.files:
            raise ConfigurationError(f"refused: {self.source_config.credentials}")
        return super().plan(request)


@breaks("test_secrets_are_not_told", "the password is in")
class NotesThePassword(Squares):
    def plan(self, request: ReadRequest) -> ReadPlan:
        self.note(f"connected with {self.source_config.credentials}")
        return super().plan(request)


@breaks("test_options_have_a_schema", "not a pydantic model")
class OptionsAreAClass(Squares):
    class Options:  # type: ignore[assignment]
        to = ROWS

        @classmethod
        def model_validate(cls, value: Any) -> Any:
            return cls()


@breaks("test_an_unknown_option_is_refused", "no_such_option was taken")
class TakesAnyOption(Squares):
    class Options(SquaresOptions, extra="ignore"):  # type: ignore[call-arg]
        pass


@breaks("test_hostile_option_values_are_refused_or_taken", "raised KeyError")
class Stumbles(Squares):
    class Options(SquaresOptions):
        name: str = "x"

        @field_validator("name")
        @classmethod
        def _known(cls, value: str) -> str:
            return {"x": "x"}[value]


@breaks("test_repeated_use_takes_no_more_memory", "bytes behind")
class KeepsWhatItRead(Squares):
    kept: ClassVar[list[Any]] = []

    def batch(self, start: int, end: int) -> pa.RecordBatch:
        self.kept.append(super().batch(start, end))
        return self.kept[-1]


CHECKS = sorted(name for name in dir(ReaderConformance) if name.startswith("test_"))


@pytest.mark.parametrize("check", CHECKS)
def test_each_check_catches_what_breaks_it(check: str) -> None:
    reader, says = BROKEN[check]
    suite = type("Suite", (TestSquares,), {"reader": reader, "expected_rows": None, "cancel_s": 0.5})
    (outcome,) = run_suite(suite, checks=[check]).outcomes
    assert not outcome.passed
    assert says in outcome.remark


def test_a_report_is_markdown_for_a_readme() -> None:
    report = run_suite(TestSquares)
    assert report.passed
    lines = report.to_markdown().splitlines()
    assert lines[0] == "## Conformance of reader Squares 1.0.0"
    assert f"{len(CHECKS)} checks, all passed" in lines[2]
    assert sum(line.startswith("| ") for line in lines) == len(CHECKS) + 1
    broken = run_suite(type("Suite", (TestSquares,), {"reader": AnswersTrue}), checks=["test_check_connection_answers"])
    assert not broken.passed
    assert "1 failed" in broken.to_markdown()
