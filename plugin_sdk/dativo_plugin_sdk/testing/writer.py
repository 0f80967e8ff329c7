"""What every writer promises, each as a check."""

from __future__ import annotations

import csv
import datetime as dt
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from dativo_plugin_sdk.adapt import lift_writer
from dativo_plugin_sdk.arrow import as_schema, pyarrow, schema_text
from dativo_plugin_sdk.errors import CommitConflictError, DativoError
from dativo_plugin_sdk.models import AssetDefinition, Commit, Committable, TargetConfig, WriteRequest, WriteTask
from dativo_plugin_sdk.writer import BaseWriter, SplitWriter

from .suite import SECRET, Conformance, NonConformance, expect, text_of

_MODES = frozenset({"append", "overwrite", "merge"})
_WORKERS = 2
_BATCHES = 3
_KEY = "id"


class WriterConformance(Conformance):
    """The checks of a writer, each with a target of its own.

    writer: the class. target: what a job says under `target`: path, table, connection, ...; a relative path lies in the check's
    folder. broken_target: the same for one that can't be written; default: a path below a file. Rows are compared by
    `read_back`; override it where the default can't read the target.
    """

    writer: ClassVar[Any]
    kind: ClassVar[str] = "writer"
    target: ClassVar[Mapping[str, Any]] = {"path": "out"}
    broken_target: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def plugin(cls) -> Any:
        return cls.writer

    @classmethod
    def factory(cls) -> Callable[[AssetDefinition, TargetConfig], BaseWriter]:
        """What makes a writer of an AssetDefinition and a TargetConfig."""
        return lift_writer(cls.writer, cls.name())

    def read_back(self, writer: BaseWriter) -> Sequence[Mapping[str, Any]] | None:
        """The rows of the target as others see them; None where they can't be read. Values may be text."""
        table = writer.snapshot()
        if table is None:
            return [] if writer.last_commit() is None else None
        return _read_files(table.format, table.files)

    def rows(self, start: int, count: int) -> Any:
        """A table to write, its first column the key `id`. Override it for a writer that takes certain columns alone."""
        pa = pyarrow()
        numbers = range(start, start + count)
        when = dt.datetime(2024, 2, 29, 23, 59, 59)  # noqa: DTZ001 - a column without a zone
        return pa.table(
            {
                _KEY: pa.array(list(numbers), pa.int64()),
                "name": pa.array([None if n % 7 == 3 else f'Zoë "{n}", çà\n' for n in numbers], pa.string()),
                "amount": pa.array([None if n % 5 == 2 else n / 4 for n in numbers], pa.float64()),
                "active": pa.array([n % 2 == 0 for n in numbers], pa.bool_()),
                "at": pa.array([when + dt.timedelta(hours=n) for n in numbers], pa.timestamp("us")),
            }
        )

    def open(self, mode: str = "append", **more: Any) -> BaseWriter:
        """A writer of the target. more: fields of TargetConfig in place of the suite's."""
        given: dict[str, Any] = {
            "job": "conformance",
            "writer": self.name(),
            "root": self.root or str(self.folder),
            "mode": mode,
            "options": dict(self.options),
            **self.target,
            **more,
        }
        columns = tuple({"name": field.name, "type": str(field.type)} for field in as_schema(self.rows(0, 1).schema))
        return self.factory()(AssetDefinition(name="conformance", columns=columns), TargetConfig.model_validate(given))

    def stage(
        self, writer: BaseWriter, run_id: str, table: Any, base: int = 0, mode: str = "append"
    ) -> list[Committable]:
        """Write a table by several workers at once, up to the commit."""
        request = WriteRequest("conformance", run_id, base, schema=table.schema, parallelism=_WORKERS)
        writer.open(replace(request, mode=mode))  # type: ignore[arg-type]
        share = -(-table.num_rows // _WORKERS)
        gate = threading.Barrier(_WORKERS)
        found: list[list[Committable]] = [[] for _ in range(_WORKERS)]
        raised: list[BaseException] = []

        def work(index: int) -> None:
            try:
                split = writer.writer(WriteTask(index, "data", table.schema))
                gate.wait(self.timeout_s)
                _write(split, table.slice(index * share, share))
                found[index] = list(split.finish())
            except BaseException as error:
                gate.abort()
                raised.append(error)

        threads = [threading.Thread(target=work, args=(index,), daemon=True) for index in range(_WORKERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(self.timeout_s)
        expect(not any(thread.is_alive() for thread in threads), f"writing took more than {self.timeout_s:g} s")
        if raised:
            raise next((error for error in raised if not isinstance(error, threading.BrokenBarrierError)), raised[0])
        return [item for items in found for item in items]

    def record(self, run_id: str, table: Any, seq: int = 1, mode: str = "append") -> Commit:
        return Commit(
            job="conformance",
            seq=seq,
            run_id=run_id,
            mode=mode,  # type: ignore[arg-type]
            cursor={"at": "2024-02-29T23:59:59", "n": 2**53, "text": "çà"},
            schema_text=schema_text(table.schema),
            rows_read=table.num_rows,
            rows_written=table.num_rows,
            committed_at="2024-03-01T00:00:00.000+00:00",
        )

    def deliver(self, run_id: str, table: Any, base: int = 0, mode: str = "append") -> Commit:
        """A whole run."""
        writer = self.open(mode)
        try:
            staged = self.stage(writer, run_id, table, base, mode)
            return writer.commit(staged, self.record(run_id, table, base + 1, mode))
        finally:
            writer.close()

    def visible(self, wanted: Any, what: str) -> None:
        """The rows that others see must be those of `wanted`, in any order."""
        writer = self.open()
        try:
            found, total = self.read_back(writer), writer.snapshot()
        finally:
            writer.close()
        count = wanted.num_rows
        if total is not None and total.rows is not None:
            expect(total.rows == count, f"{what}: the snapshot tells {total.rows} rows, not {count}")
        if found is None:
            self.remark = "rows were counted, not compared: override read_back" if total else "rows were not compared"
            return
        expect(len(found) == count, f"{what}: there are {len(found)} rows, not {count}")
        by_key = {str(row[_KEY]): row for row in found}
        for row in wanted.to_pylist():
            other = by_key.get(str(row[_KEY]))
            expect(other is not None, f"{what}: the row with {_KEY} {row[_KEY]} is missing")
            assert other is not None
            for name, value in row.items():
                there = other.get(name)
                same = (
                    there == value if type(there) is type(value) else (there is None or there == "") == (value is None)
                )
                expect(same, f"{what}: {name} of row {row[_KEY]} is {there!r}, not {value!r}")

    def use(self, options: Mapping[str, Any]) -> None:
        writer = self.open(options=dict(options))
        try:
            table = self.rows(0, 2)
            self.stage(writer, "use", table)
            writer.abort()
        finally:
            writer.close()

    def once(self) -> None:
        self.use(self.options)

    # -- the answers -----------------------------------------------------------------------------------------------

    def test_it_is_a_writer_of_this_api(self) -> None:
        """It is a writer, made for this version of the plugin API, with modes that exist."""
        try:
            writer = self.open()
        except DativoError as error:
            raise NonConformance(f"{error} ({error.hint})") from error
        expect(isinstance(writer, BaseWriter), f"a {type(writer).__name__} was made, which is no BaseWriter")
        modes = frozenset(writer.modes)
        expect(modes and modes <= _MODES, f"modes are {sorted(modes)}; there are {sorted(_MODES)}")
        writer.close()

    def test_check_connection_answers(self) -> None:
        """check_connection tells, in JSON, whether the target can be written."""
        writer = self.open()
        self.answers(writer.check_connection())
        writer.close()

    def test_close_may_come_early_and_twice(self) -> None:
        """close works before anything was written, and again."""
        writer = self.open()
        writer.close()
        writer.close()

    # -- one run ---------------------------------------------------------------------------------------------------

    def test_rows_of_several_workers_land(self) -> None:
        """What several workers write at once is there after the commit: every row, its values, its nulls."""
        table = self.rows(0, 500)
        self.deliver("run-1", table)
        self.visible(table, "after the commit")

    def test_the_commit_is_kept(self) -> None:
        """The record comes back as it was committed: sequence, run, counts and cursor."""
        table = self.rows(0, 10)
        told = self.deliver("run-1", table)
        writer = self.open()
        kept, own, strange = writer.last_commit(), writer.commit_of("run-1"), writer.commit_of("run-0")
        writer.close()
        record = self.record("run-1", table)
        for name, found in (("commit() returned", told), ("last_commit() tells", kept), ("commit_of() tells", own)):
            expect(isinstance(found, Commit), f"{name} {found!r}, not the commit")
            assert found is not None
            for key in ("job", "seq", "run_id", "mode", "cursor", "rows_read", "rows_written", "schema_text"):
                value, wanted = getattr(found, key), getattr(record, key)
                expect(value == wanted, f"{name} {key} {value!r}, not {wanted!r}")
        expect(strange is None, f"commit_of() of a run that never was is {strange!r}")

    def test_nothing_is_visible_before_the_commit(self) -> None:
        """Until the commit nobody sees a row, a record, or a file at the target's path."""
        writer = self.open()
        self.stage(writer, "run-1", self.rows(0, 100))
        self.nothing_there("before the commit")
        writer.abort()
        writer.close()

    def test_an_aborted_run_leaves_nothing(self) -> None:
        """After abort the target is as it was, and abort may be called again."""
        self.deliver("run-1", self.rows(0, 10))
        before = self.listing()
        writer = self.open()
        self.stage(writer, "run-2", self.rows(10, 100), base=1)
        writer.abort()
        writer.abort()
        writer.close()
        more = sorted(self.listing() - before)
        expect(not more, f"abort left {', '.join(more[:3])}")
        self.visible(self.rows(0, 10), "after abort")

    def test_a_commit_without_rows_is_kept(self) -> None:
        """A commit without data sets the cursor and leaves the table as it is."""
        self.deliver("run-1", self.rows(0, 10))
        writer = self.open()
        empty = self.rows(0, 0)
        writer.open(WriteRequest("conformance", "run-2", 1, schema=empty.schema))
        writer.commit([], self.record("run-2", empty, 2))
        last = writer.last_commit()
        writer.close()
        expect(last is not None and last.seq == 2, f"the last commit is {last and last.seq}, not 2")
        self.visible(self.rows(0, 10), "after a commit without rows")

    def test_rejected_rows_stay_apart(self) -> None:
        """A writer that takes rejected rows keeps them beside the table."""
        writer = self.open()
        if not writer.quarantines:
            writer.close()
            return self.not_applicable("it takes no rejected rows")
        good, bad = self.rows(0, 10), self.rows(10, 5)
        staged = self.stage(writer, "run-1", good)
        rejects = writer.writer(WriteTask(_WORKERS, "quarantine", bad.schema))
        _write(rejects, bad)
        staged += rejects.finish()
        kept = writer.commit(
            staged, self.record("run-1", good).model_copy(update={"rows_rejected": 5, "rows_read": 15})
        )
        writer.close()
        expect(kept.quarantine, "the commit does not tell where the rejected rows are")
        return self.visible(good, "beside rejected rows")

    # -- several runs ----------------------------------------------------------------------------------------------

    def test_append_adds_and_overwrite_replaces(self) -> None:
        """append keeps the rows before it, overwrite replaces them all."""
        pa = pyarrow()
        modes = self.open().modes
        first, second, third = self.rows(0, 10), self.rows(10, 20), self.rows(30, 5)
        self.deliver("run-1", first, mode=next(mode for mode in ("append", "overwrite") if mode in modes))
        seq, wanted = 1, first
        if "append" in modes:
            self.deliver("run-2", second, seq)
            seq, wanted = 2, pa.concat_tables([first, second])
            self.visible(wanted, "after append")
        if "overwrite" in modes:
            self.deliver("run-3", third, seq, mode="overwrite")
            self.visible(third, "after overwrite")

    def test_a_crash_leaves_the_next_run_unharmed(self) -> None:
        """A run that died after open, write or finish shows nowhere, and its retry lands every row once."""
        table = self.rows(0, 100)
        dead: list[BaseWriter | SplitWriter] = []  # they live on, as what a killed process had open does for a while
        for step in ("open", "write", "finish"):
            writer = self.open()
            dead.append(writer)
            if step == "finish":
                self.stage(writer, "run-1", table)
            else:
                writer.open(WriteRequest("conformance", "run-1", 0, schema=table.schema, parallelism=_WORKERS))
            if step == "write":
                dead.insert(0, writer.writer(WriteTask(0, "data", table.schema)))
                _write(dead[0], table)  # type: ignore[arg-type]
            self.nothing_there(f"after a crash behind {step}")
        self.deliver("run-1", table)
        self.visible(table, "after the retry")
        for one in dead:
            one.abort()
        for one in dead:
            if isinstance(one, BaseWriter):
                one.close()
        self.visible(table, "after the dead runs were taken away")

    def test_a_run_that_is_tried_again_commits_once(self) -> None:
        """A second commit of the same run changes nothing: it finds the first."""
        table = self.rows(0, 50)
        self.deliver("run-1", table)
        try:
            again = self.deliver("run-1", table)
            expect(again.seq == 1, f"the same run was committed again, as sequence {again.seq}")
        except CommitConflictError:
            pass  # the pipeline then asks commit_of, which is another check
        self.visible(table, "after a second commit of the same run")

    def test_of_two_runs_from_one_commit_one_wins(self) -> None:
        """The later of two runs that began at one commit is refused, and nothing of it shows."""
        first, second = self.rows(0, 10), self.rows(100, 20)
        late, early = self.open(), self.open()
        staged = self.stage(late, "run-late", second)
        won = self.stage(early, "run-early", first)
        early.commit(won, self.record("run-early", first))
        early.close()
        try:
            late.commit(staged, self.record("run-late", second))
        except CommitConflictError:
            late.abort()
            late.close()
        else:
            raise NonConformance("a run committed a sequence that another one had: raise CommitConflictError")
        self.visible(first, "after a lost race")

    # -- stopping, and errors --------------------------------------------------------------------------------------

    def test_a_cancelled_run_ends_soon(self) -> None:
        """cancel may come at any time, and the run is over within a moment."""
        writer = self.open()
        table = self.rows(0, 100)
        writer.open(WriteRequest("conformance", "run-1", 0, schema=table.schema, parallelism=1))
        split = writer.writer(WriteTask(0, "data", table.schema))
        _write(split, table)

        def stop() -> None:
            split.cancel()
            writer.cancel()
            split.abort()
            writer.abort()
            writer.close()

        self.within(self.cancel_s, stop, f"stopping took more than {self.cancel_s:g} s")
        self.nothing_there("after cancel")

    def test_a_target_that_cannot_be_written_is_an_error_of_the_tree(self) -> None:
        """A target that can't be written is told by a DativoError with a message, and no secret in it."""
        broken = dict(self.broken_target)
        if not broken and "path" in self.target and "://" not in str(self.target["path"]):
            (self.folder / "a-file").write_text("")
            broken = {"path": "a-file/inside"}
        if not broken:
            return self.not_applicable("give `broken_target` to look at it")
        table = self.rows(0, 2)
        try:
            writer = self.open(**{"credentials": {"password": SECRET}, **broken})
            writer.last_commit()
            writer.commit(self.stage(writer, "run-1", table), self.record("run-1", table))
        except DativoError as error:
            expect(str(error), f"{type(error).__name__} has no message")
            expect(
                SECRET not in json.dumps(error.to_dict(), default=str), f"a {type(error).__name__} tells the password"
            )
        except OSError as error:  # the pipeline has words for these, once they say which file it was
            expect(error.filename, f"{type(error).__name__} names no file: {error}")
        except Exception as error:
            raise NonConformance(
                f"{type(error).__name__}: {error}; raise ConfigurationError or ConnectionError"
            ) from error
        else:
            raise NonConformance("a target that can't be written was written as if it could")
        return None

    def test_secrets_are_not_told(self) -> None:
        """A password shows neither in what the writer answers nor in how it is printed."""
        writer = self.open(credentials={"password": SECRET})
        told = [repr(writer), repr(writer.target_config)]
        try:
            told.append(text_of(writer.check_connection()))
        except DativoError as error:  # where that is no password
            told.append(json.dumps(error.to_dict(), default=str))
        writer.close()
        expect(not any(SECRET in text for text in told), "the password is in what the writer tells")

    # -- what is there ---------------------------------------------------------------------------------------------

    def listing(self) -> set[str]:
        """The files of the check's folder."""
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()}

    def nothing_there(self, when: str) -> None:
        """Raises: NonConformance: where a table that has no commit shows something."""
        writer = self.open()
        try:
            found = writer.last_commit()
            expect(found is None, f"{when} there is a commit: {found!r}")
            rows = self.read_back(writer)
        finally:
            writer.close()
        expect(not rows, f"{when} {len(rows or ())} rows are visible")
        seen = self.strays()
        expect(not seen, f"{when} there is {', '.join(seen[:3])}")

    def strays(self) -> list[str]:
        """Files that others would take for rows of a table that has no commit. Override it where a log says which count."""
        place = self.folder / str(self.target.get("path") or "\0")
        if "\0" in str(place) or not place.is_dir():
            return []
        return [str(path.relative_to(self.folder)) for path in place.rglob("*") if path.is_file()]


def _write(split: SplitWriter, table: Any) -> None:
    size = max(1, -(-table.num_rows // _BATCHES))
    for batch in table.to_batches(max_chunksize=size):
        split.write(batch)


def _read_files(kind: str, files: Sequence[str]) -> Sequence[Mapping[str, Any]] | None:
    """Rows of files in a format that pyarrow or the standard library reads."""
    if kind == "parquet":
        import pyarrow.parquet as pq

        return [row for path in files for row in pq.ParquetFile(path).read().to_pylist()]
    if kind not in ("csv", "jsonl"):
        return None
    found: list[Mapping[str, Any]] = []
    for path in files:
        with open(path, newline="", encoding="utf-8") as file:
            found += csv.DictReader(file) if kind == "csv" else map(json.loads, file)
    return found
