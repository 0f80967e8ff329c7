"""Merges as a state machine: whatever runs bring, in whatever order, each target agrees with a dictionary."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import pyarrow as pa
import pytest
from dativo_plugin_sdk import AssetDefinition, BaseWriter, Commit, TargetConfig, WriteRequest, WriteTask
from deltalake import DeltaTable
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dativo_assets.writers.delta import DeltaWriter
from dativo_assets.writers.duckdb import DuckdbWriter
from dativo_assets.writers.parquet import ParquetWriter
from dativo_assets.writers.sqlite import SqliteWriter

EXAMPLES = 200 if os.environ.get("HYPOTHESIS_PROFILE") == "soak" else 6
SCHEMA = pa.schema([("id", pa.int64()), ("part", pa.string()), ("version", pa.int64()), ("gone", pa.bool_())])
Key = tuple[int, str]
Row = tuple[int, str, int | None, bool | None]
ROWS = st.lists(
    st.tuples(
        st.integers(0, 7),
        st.sampled_from(["a", "b"]),
        st.one_of(st.none(), st.integers(0, 9)),
        st.sampled_from([None, False, False, True]),
    ),
    max_size=12,
)


def parquet(root: Path) -> list[Any]:
    return duckdb.sql(f"SELECT id, part, version FROM '{root}/t/**/*.parquet'").fetchall()


def in_duckdb(root: Path) -> list[Any]:
    with duckdb.connect(root / "t") as connection:
        return connection.execute("SELECT id, part, version FROM t").fetchall()


def in_sqlite(root: Path) -> list[Any]:
    with closing(sqlite3.connect(root / "t")) as connection:
        return connection.execute("SELECT id, part, version FROM t").fetchall()


def delta(root: Path) -> list[Any]:
    found = DeltaTable(str(root / "t")).to_pyarrow_table().select(["id", "part", "version"])
    return [tuple(row.values()) for row in found.to_pylist()]


KINDS: dict[str, tuple[type[BaseWriter], Callable[[Path], list[Any]]]] = {
    "parquet": (ParquetWriter, parquet),
    "duckdb": (DuckdbWriter, in_duckdb),
    "sqlite": (SqliteWriter, in_sqlite),
    "delta": (DeltaWriter, delta),
}


class Merges(RuleBasedStateMachine):
    """Two keys, a cursor that may be null, and a soft delete. truth: {key: cursor} of the rows that are alive."""

    kind: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="dativo-merge-"))
        self.truth: dict[Key, int | None] = {}
        self.seq = 0

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    @rule(first=ROWS, second=ROWS)
    def run(self, first: list[Row], second: list[Row]) -> None:
        """Two splits, the second one's rows after the first one's."""
        self._deliver([first, second], "merge")
        newest: dict[Key, Row] = {}
        for row in (*first, *second):
            before = newest.get(row[:2])
            if before is None or _is_as_new(row[2], before[2]):
                newest[row[:2]] = row
        for key, (*_, at, gone) in newest.items():
            if key in self.truth and not _replaces(at, self.truth[key]):
                continue
            self.truth.pop(key, None)
            if not gone:
                self.truth[key] = at

    @rule(rows=ROWS)
    def run_anew(self, rows: list[Row]) -> None:
        """A full refresh merges with nothing."""
        self.truth.clear()
        self._deliver([], "overwrite")
        self.run(rows, [])

    @invariant()
    def agrees(self) -> None:
        if self.seq:
            found = KINDS[self.kind][1](self.root)
            assert len(found) == len(self.truth)
            assert {(number, part): at for number, part, at in found} == self.truth

    def _deliver(self, splits: list[list[Row]], mode: str) -> None:
        self.seq += 1
        more: dict[str, Any] = {"table": "t"} if self.kind in ("duckdb", "sqlite") else {}
        config = TargetConfig(
            writer=self.kind,
            job="j",
            root=str(self.root),
            path="t",
            mode="merge",
            keys=("id", "part"),
            options={"delete_column": "gone"},
            **more,
        )
        writer = KINDS[self.kind][0](AssetDefinition(name="j"), config)
        run, done = f"r{self.seq}", []
        writer.open(
            WriteRequest(
                "j",
                run,
                self.seq - 1,
                mode=mode,  # type: ignore[arg-type]
                keys=("id", "part"),
                cursor_field="version",
                parallelism=2,
                full_refresh=mode == "overwrite",
            )
        )
        for index, rows in enumerate(splits or [[]]):
            split = writer.writer(WriteTask(index, "data", SCHEMA))
            split.write(
                pa.record_batch([list(column) for column in zip(*rows, strict=True)] or [[]] * 4, schema=SCHEMA)
            )
            done.extend(split.finish())
        text = {"id": "int64", "part": "string", "version": "int64", "gone": "bool"}
        record = Commit(job="j", seq=self.seq, run_id=run, mode=mode, schema_text=text)  # type: ignore[arg-type]
        writer.commit(done, record)
        writer.close()


def _is_as_new(at: int | None, before: int | None) -> bool:
    """Of two rows of one run the later one counts, unless its cursor is lower; none is lower than any."""
    return before is None or (at is not None and at >= before)


def _replaces(at: int | None, there: int | None) -> bool:
    """Whether a row of a run takes the place of the table's."""
    return there is None or (at is not None and at >= there)


@pytest.mark.parametrize("kind", KINDS)
def test_merges_of_any_order_agree_with_a_dictionary(kind: str) -> None:
    machine = type("Merges", (Merges,), {"kind": kind})
    case = machine.TestCase  # type: ignore[attr-defined]
    case.settings = settings(
        max_examples=EXAMPLES,
        stateful_step_count=6,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    case().runTest()
