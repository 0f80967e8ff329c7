"""What every reader promises, each as a check."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from dativo_plugin_sdk.adapt import lift_reader
from dativo_plugin_sdk.arrow import as_schema, iterate, parse_type
from dativo_plugin_sdk.errors import DativoError, SchemaMismatchError
from dativo_plugin_sdk.models import DiscoveryResult, Incremental, ReadPlan, ReadRequest, SourceConfig, Split
from dativo_plugin_sdk.reader import BaseReader
from dativo_plugin_sdk.rows import Rows

from .suite import SECRET, Conformance, NonConformance, expect, text_of

_APPLICABLE = frozenset({"columns", "schema", "cursor", "limit"})
_MAX_RESTARTS = 200
_PARALLELISM = 4


class ReaderConformance(Conformance):
    """The checks of a reader; it should read little, more than once: some thousand rows at most.

    reader: the class. source: what a job says under `source`: files, tables, query, connection, ... broken_source: the same for
    a source that is not there; default: a missing file, where `files` are read. expected_rows: how many rows there are, where
    that is known. incremental: where the reader keeps a cursor of its own. schema: of a contract, as Arrow.
    """

    reader: ClassVar[Any]
    kind: ClassVar[str] = "reader"
    source: ClassVar[Mapping[str, Any]] = {}
    broken_source: ClassVar[Mapping[str, Any]] = {}
    expected_rows: ClassVar[int | None] = None
    incremental: ClassVar[Incremental | None] = None
    schema: ClassVar[Any] = None

    @classmethod
    def plugin(cls) -> Any:
        return cls.reader

    @classmethod
    def factory(cls) -> Callable[[SourceConfig], BaseReader]:
        """What makes a reader of a SourceConfig."""
        return lift_reader(cls.reader, cls.name())

    def open(self, **more: Any) -> BaseReader:
        """A reader of the source. more: fields of SourceConfig in place of the suite's."""
        given: dict[str, Any] = {
            "job": "conformance",
            "reader": self.name(),
            "root": self.root or str(self.folder),
            "options": dict(self.options),
            "incremental": self.incremental,
            **self.source,
            **more,
        }
        return self.factory()(SourceConfig.model_validate(given))

    def request(self, **more: Any) -> ReadRequest:
        return replace(ReadRequest(schema=self.schema), **more)

    def use(self, options: Mapping[str, Any]) -> None:
        reader = self.open(options=dict(options))
        try:
            reader.plan(self.request())
        finally:
            reader.close()

    def once(self) -> None:
        self.read()

    def read(self, **request: Any) -> dict[str, Counter[str]]:
        """The rows of each split, counted, as the pipeline reads them: from the start where a column must be wider."""
        widen: dict[str, str] = {}
        for _ in range(_MAX_RESTARTS):
            reader = self.open()
            try:
                plan = reader.plan(self.request(widen=dict(widen), **request))
                rows = Rows(self.schema, widen, plan.schema)
                return {split.id: _counted(_batches(rows, reader.read(split))) for split in plan.splits}
            except SchemaMismatchError as error:
                name = str(error.column)
                expect(widen.get(name) != error.widen_to, f"column {name} does not become {error.widen_to}: {error}")
                widen[name] = error.widen_to
            finally:
                reader.close()
        raise NonConformance("columns change type without end")

    def planned(self) -> tuple[BaseReader, ReadPlan]:
        reader = self.open()
        return reader, reader.plan(self.request(parallelism=_PARALLELISM))

    # -- the answers -----------------------------------------------------------------------------------------------

    def test_it_is_a_reader_of_this_api(self) -> None:
        """It is a reader, made for this version of the plugin API."""
        try:
            reader = self.open()
        except DativoError as error:
            raise NonConformance(f"{error} ({error.hint})") from error
        expect(isinstance(reader, BaseReader), f"a {type(reader).__name__} was made, which is no BaseReader")

    def test_check_connection_answers(self) -> None:
        """check_connection tells, in JSON, whether the source answers."""
        self.answers(self.open().check_connection())

    def test_discover_answers(self) -> None:
        """discover lists objects with names, in JSON."""
        found: Any = self.open().discover()
        expect(isinstance(found, DiscoveryResult), f"discover() returned {type(found).__name__}, not DiscoveryResult")
        self.is_json(found.to_dict(), "discover()")
        nameless = [item for item in found.objects if not (isinstance(item, dict) and item.get("name"))]
        expect(not nameless, f"an object of discover() has no name: {nameless[:1]}")

    def test_probe_changes_with_the_source_alone(self) -> None:
        """probe answers the same, a text or None, while nothing is new."""
        answers = [self.open().probe(None) for _ in range(2)]
        expect(
            all(a is None or isinstance(a, str) for a in answers), f"probe() answered {answers[0]!r}, not text or None"
        )
        expect(answers[0] == answers[1], "probe() answered twice differently, though nothing changed")

    def test_close_may_come_early_and_twice(self) -> None:
        """close works before anything was read, and again."""
        reader = self.open()
        reader.close()
        reader.close()

    # -- the plan --------------------------------------------------------------------------------------------------

    def test_a_plan_is_json(self) -> None:
        """Splits and cursor survive JSON, so that a split can be read in another process."""
        reader, plan = self.planned()
        reader.close()
        expect(isinstance(plan, ReadPlan), f"plan() returned {type(plan).__name__}, not ReadPlan")
        for split in plan.splits:
            known: Any = split
            expect(isinstance(known, Split) and isinstance(known.id, str), f"{split!r} is no Split with a text as id")
            self.is_json(split.to_dict(), f"split {split.id}")
        self.is_json(plan.cursor, "the plan's cursor")
        expect(plan.applied <= _APPLICABLE, f"applied has {sorted(plan.applied - _APPLICABLE)}, which nobody knows")

    def test_split_ids_are_unique(self) -> None:
        """No two splits share an id."""
        reader, plan = self.planned()
        reader.close()
        twice = [name for name, count in Counter(split.id for split in plan.splits).items() if count > 1]
        expect(not twice, f"split id {twice[:1]} is there more than once")

    def test_plan_and_rows_are_deterministic(self) -> None:
        """Planned and read twice, an unchanged source gives the same splits with the same rows."""
        first, second = self.read(), self.read()
        expect(list(first) == list(second), "two plans of an unchanged source have different splits")
        for split, rows in first.items():
            expect(rows == second[split], f"split {split} has other rows when it is read again")

    def test_splits_cover_the_source_once(self) -> None:
        """However many threads are granted, the splits together hold every row once."""
        alone = _all(self.read(parallelism=1))
        expected = self.expected_rows
        expect(expected is None or alone.total() == expected, f"{alone.total()} rows were read, not {expected}")
        for parallelism in (2, _PARALLELISM, 16):
            found = _all(self.read(parallelism=parallelism))
            lost, more = (alone - found).total(), (found - alone).total()
            expect(
                not lost and not more, f"with parallelism {parallelism}, {lost} rows are lost and {more} are too many"
            )

    def test_a_split_is_read_by_another_instance(self) -> None:
        """A split that went through JSON is read the same by another instance that made the same plan."""
        whole = self.read(parallelism=_PARALLELISM)
        first, plan = self.planned()
        first.close()
        other, again = self.planned()
        rows = Rows(self.schema, None, again.schema)
        for split in reversed(plan.splits):
            try:
                found = _counted(_batches(rows, other.read(Split.from_dict(json.loads(json.dumps(split.to_dict()))))))
            except SchemaMismatchError:
                return self.not_applicable("columns are widened while they are read")
            expect(found == whole[split.id], f"split {split.id} has other rows when another instance reads it")
        return other.close()

    # -- the rows --------------------------------------------------------------------------------------------------

    def test_batches_have_the_planned_schema(self) -> None:
        """Every batch has the schema that the plan tells, and its buffers hold what they should."""
        reader, plan = self.planned()
        text = plan.schema_text
        known = None if plan.schema is None else as_schema(plan.schema)
        if text is not None:
            told = [(name, parse_type(kind)) for name, kind in text.items()]
            same = known is None or [(field.name, field.type) for field in known] == told
            expect(same, f"the plan's schema_text {dict(text)} is not its schema {known}")
        for split in plan.splits:
            for batch in _raw(reader.read(split)):
                try:
                    batch.validate(full=True)
                except Exception as error:
                    raise NonConformance(f"split {split.id} holds a batch that is not valid: {error}") from error
                found = {field.name: field.type for field in batch.schema}
                wanted = found if known is None else {field.name: field.type for field in known}
                wrong = [
                    f"{n} is {found.get(n)}, not {wanted.get(n)}"
                    for n in {**wanted, **found}
                    if found.get(n) != wanted.get(n)
                ]
                expect(not wrong, f"split {split.id} does not have the planned schema: {'; '.join(wrong)}")
        reader.close()

    def test_what_is_applied_is_applied(self) -> None:
        """A reader that says it does limit or columns itself does."""
        whole = self.open().plan(self.request())
        if not whole.applied & {"limit", "columns"}:
            return self.not_applicable("it applies neither limit nor columns")
        if "limit" in whole.applied:
            # A limit holds for each split: which of them comes first is not known.
            most = max((rows.total() for rows in self.read(limit=1).values()), default=0)
            expect(most <= 1, f"limit is applied, and with limit 1 a split gave {most} rows")
        if "columns" in whole.applied and whole.schema is not None and len(as_schema(whole.schema)) > 1:
            name = as_schema(whole.schema).names[-1]
            reader = self.open()
            plan = reader.plan(self.request(columns=(name,)))
            for split in plan.splits:
                for batch in _raw(reader.read(split)):
                    expect(
                        batch.schema.names == [name], f"columns is applied, and {batch.schema.names} came for {name}"
                    )
            reader.close()
        return None

    def test_nothing_comes_twice_past_its_own_cursor(self) -> None:
        """What is planned from the cursor of the last plan holds nothing, while nothing is new."""
        reader, plan = self.planned()
        reader.close()
        if plan.cursor is None:
            return self.not_applicable("it keeps no cursor of its own")
        again = self.open()
        next_plan = again.plan(self.request(cursor=plan.cursor))
        again.close()
        rows = 0 if next_plan.unchanged else _all(self.read(cursor=plan.cursor)).total()
        return expect(not rows, f"{rows} rows come again after they were committed with cursor {plan.cursor}")

    # -- threads, and stopping -------------------------------------------------------------------------------------

    def test_splits_are_read_at_once(self) -> None:
        """Splits read at the same time, by threads and in turns, hold the same rows as one by one."""
        whole = self.read(parallelism=_PARALLELISM)
        reader, plan = self.planned()
        readers: list[tuple[BaseReader, Split]] = [(reader, split) for split in plan.splits]
        if len(readers) == 1:  # then another job reads the same source
            other, same = self.planned()
            readers.append((other, same.splits[0]))
        try:
            streams = [_batches(Rows(self.schema, None, plan.schema), one.read(split)) for one, split in readers]
            in_turns = _in_turns(streams)
            together = _together([(one, split, Rows(self.schema, None, plan.schema)) for one, split in readers])
        except SchemaMismatchError:
            return self.not_applicable("columns are widened while they are read")
        for way, found in (("in turns", in_turns), ("by threads", together)):
            for (_, split), rows in zip(readers, found, strict=True):
                expect(rows == whole[split.id], f"split {split.id} has other rows when splits are read {way}")
        for one, _ in readers:
            one.close()
        return None

    def test_a_cancelled_read_ends_soon(self) -> None:
        """After cancel() a read gives a batch, ends or fails within a moment."""
        reader, plan = self.planned()
        started, cancelled, ended = threading.Event(), threading.Event(), threading.Event()

        def drain() -> None:
            try:
                for split in plan.splits:
                    for _ in _raw(reader.read(split)):
                        started.set()
                        if cancelled.is_set():
                            return
            except Exception:  # a cancelled read may fail
                return
            finally:
                started.set()
                ended.set()

        threading.Thread(target=drain, daemon=True).start()
        expect(started.wait(self.timeout_s), f"no batch came within {self.timeout_s:g} s")
        reader.cancel()
        cancelled.set()
        expect(
            ended.wait(self.cancel_s), f"the read went on for {self.cancel_s:g} s after cancel(): ask self.cancelled"
        )
        reader.close()

    # -- errors ----------------------------------------------------------------------------------------------------

    def test_a_source_that_is_not_there_is_an_error_of_the_tree(self) -> None:
        """A missing source is told by a DativoError with a message, and no secret in it."""
        broken = dict(self.broken_source) or ({"files": ("no-such-file",)} if self.source.get("files") else {})
        if not broken:
            return self.not_applicable("give `broken_source` to look at it")
        try:
            reader = self.open(**{"credentials": {"password": SECRET}, **broken})
            for split in reader.plan(self.request()).splits:
                for _ in _raw(reader.read(split)):
                    pass
        except DativoError as error:
            expect(str(error), f"{type(error).__name__} has no message")
            expect(
                SECRET not in json.dumps(error.to_dict(), default=str), f"a {type(error).__name__} tells the password"
            )
        except Exception as error:
            raise NonConformance(
                f"{type(error).__name__}: {error}; raise ConfigurationError, ConnectionError or ValidationError"
            ) from error
        else:
            raise NonConformance("a source that is not there was read as if it were")
        return None

    def test_secrets_are_not_told(self) -> None:
        """A password shows neither in what the reader answers nor in how it is printed."""
        reader = self.open(credentials={"password": SECRET})
        told = [repr(reader), repr(reader.source_config), text_of(reader.check_connection())]
        told.append(text_of(reader.discover()))
        told += (*reader.plan(self.request()).notes, *reader.notes)
        reader.close()
        expect(not any(SECRET in text for text in told), "the password is in what the reader tells")


def _raw(found: Any) -> Iterator[Any]:
    """Record batches of what `read` gave, each item by itself."""
    for item in iterate(found):
        yield from Rows().convert(item)


def _batches(rows: Rows, found: Any) -> Iterator[Any]:
    for item in iterate(found):
        yield from rows.convert(item)


def _counted(batches: Iterator[Any]) -> Counter[str]:
    return Counter(repr(sorted(row.items())) for batch in batches for row in batch.to_pylist())


def _all(splits: Mapping[str, Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for rows in splits.values():
        total += rows
    return total


def _in_turns(streams: Sequence[Iterator[Any]]) -> list[Counter[str]]:
    found: list[Counter[str]] = [Counter() for _ in streams]
    open_ = dict(enumerate(streams))
    while open_:
        for index in list(open_):
            batch = next(open_[index], None)
            if batch is None:
                del open_[index]
            else:
                found[index] += _counted(iter((batch,)))
    return found


def _together(reads: Sequence[tuple[BaseReader, Split, Rows]]) -> list[Counter[str]]:
    from concurrent.futures import ThreadPoolExecutor

    if not reads:
        return []
    gate = threading.Barrier(len(reads))

    def read(one: tuple[BaseReader, Split, Rows]) -> Counter[str]:
        reader, split, rows = one
        gate.wait()
        return _counted(_batches(rows, reader.read(split)))

    with ThreadPoolExecutor(len(reads)) as pool:
        return list(pool.map(read, reads))
