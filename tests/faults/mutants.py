"""The protocol broken on purpose, one step at a time. Each of them has to be found out by the fault it is listed with.

A change is made in every run of the harness; see also the mutants in test_protocol.py and test_power.py.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from dativo_plugin_sdk import Commit, Committable, DirectoryTable, directory, staging
from dativo_plugin_sdk.object_table import KEY
from dativo_plugin_sdk.object_writer import ObjectWriter
from dativo_plugin_sdk.parquet_footer import with_metadata
from dativo_plugin_sdk.sql_writer import SqlWriter

from dativo_assets.writers._delta_store import DeltaStore
from dativo_assets.writers._iceberg_store import IcebergStore
from dativo_assets.writers._lake import LakeWriter
from dativo_assets.writers._lake_table import Change, Fit, MovedError


@dataclass(frozen=True)
class Mutant:
    """change: done in each run. target, mode, fault: where it has to be found out. store: what its server is told."""

    change: Callable[[], None] | None
    target: str
    mode: str
    fault: str
    store: str = ""


def _replace_the_winner() -> None:
    def take(source: Path, folder: Path, seq: int) -> int:
        shutil.rmtree(folder / str(seq), ignore_errors=True)
        os.rename(source, folder / str(seq))
        return os.open(folder, os.O_RDONLY)

    def commit(table: DirectoryTable, record: Commit, **_: Any) -> Commit:
        return table._commit(record, record.mode == "overwrite", None)

    directory.take = take
    DirectoryTable.commit = commit  # type: ignore[assignment,method-assign]


def _name_before_data() -> None:
    rename = directory.take

    def take(source: Path, folder: Path, seq: int) -> int:
        data = list(source.glob("*.parquet"))
        aside = source.with_name("aside")
        aside.mkdir()
        for path in data:
            os.rename(path, aside / path.name)
        handle = rename(source, folder, seq)
        for path in data:
            os.rename(aside / path.name, folder / str(seq) / path.name)
        return handle

    directory.take = take


def _data_before_name() -> None:
    """Files appear in the table one by one, and the record last."""
    rename = directory.take

    def take(source: Path, folder: Path, seq: int) -> int:
        for path in source.glob("*.parquet"):
            os.rename(path, folder / path.name)
        return rename(source, folder, seq)

    directory.take = take


def _keep_the_losers_rejected_rows() -> None:
    DirectoryTable._withdraw_quarantine = lambda table, record: None  # type: ignore[method-assign]


def _sweep_the_living() -> None:
    staging.is_alive = lambda run: False


def _never_publish() -> None:
    DirectoryTable._publish = lambda table: None  # type: ignore[method-assign]


def _two_transactions() -> None:
    insert = SqlWriter._insert_record

    def late(writer: SqlWriter, connection: Any, commit: Commit) -> None:
        writer.run(connection, "COMMIT")
        writer.run(connection, writer.begin)
        insert(writer, connection, commit)

    SqlWriter._insert_record = late  # type: ignore[method-assign]


def _cursor_first() -> None:
    move, insert = SqlWriter._move_in, SqlWriter._insert_record

    def early(writer: SqlWriter, connection: Any, staged: list[Committable], commit: Commit, last: Any) -> Any:
        insert(writer, connection, commit)
        writer.run(connection, "COMMIT")
        writer.run(connection, writer.begin)
        return move(writer, connection, staged, commit, last)

    SqlWriter._move_in = early  # type: ignore[method-assign]
    SqlWriter._insert_record = lambda writer, connection, commit: None  # type: ignore[method-assign]


def _rebase() -> None:
    """Whoever lost takes the next sequence instead: the key no longer compares anything."""
    commit_of_base = SqlWriter.commit

    def commit(writer: SqlWriter, committables: Sequence[Committable], commit: Commit) -> Commit:
        newest = writer.last_commit()
        return commit_of_base(writer, committables, commit.model_copy(update={"seq": newest.seq + 1 if newest else 1}))

    SqlWriter.commit = commit  # type: ignore[method-assign]


def _no_condition() -> None:
    import obstore

    put = obstore.put
    obstore.put = lambda *place, **more: put(*place, **{**more, "mode": "overwrite"})


def _record_before_rows() -> None:
    """An object with the record takes the name, and the one with the rows replaces it."""
    swap = ObjectWriter._swap

    def early(writer: ObjectWriter, uri: str, record: Commit, data: bytes, base: Any, uploaded: list[str]) -> Commit:
        import pyarrow as pa
        import pyarrow.parquet as pq

        empty = pa.BufferOutputStream()
        pq.write_table(pq.read_schema(pa.BufferReader(data)).empty_table(), empty)
        first = with_metadata(empty.getvalue().to_pybytes(), KEY, record.model_dump_json())
        done = swap(writer, uri, record, first, base, uploaded)
        writer._files.put(uri, data, instead_of=writer._files.exists(uri))
        return done

    ObjectWriter._swap = early  # type: ignore[method-assign]


def _late_swap() -> None:
    """Whoever finds another version than it began with swaps from that."""
    swap = DeltaStore.swap

    def late(store: DeltaStore, table: Any, change: Change) -> None:
        try:
            swap(store, table, change)
        except MovedError:
            late(store, store.load(), change)

    DeltaStore.swap = late  # type: ignore[method-assign]


def _rebase_a_lake() -> None:
    commit_of_base = LakeWriter.commit

    def commit(writer: LakeWriter, committables: Sequence[Committable], commit: Commit) -> Commit:
        newest = writer.last_commit()
        return commit_of_base(writer, committables, commit.model_copy(update={"seq": newest.seq + 1 if newest else 1}))

    LakeWriter.commit = commit  # type: ignore[method-assign]


def _record_before_files() -> None:
    swap = IcebergStore.swap

    def early(store: IcebergStore, table: Any, change: Change) -> None:
        if table is not None:
            swap(store, table, Change(store.layout(table, table.columns, Fit("append", {})), change.commit))
            table = store.load()
            change = replace(change, layout=store.layout(table, table.columns, Fit("append", {})))
        swap(store, table, change)

    IcebergStore.swap = early  # type: ignore[method-assign]


def _do_not_ask_after() -> None:
    run = import_module("dativo_assets.pipeline.run")  # a function of the package has the module's name
    run.commit_once = lambda writer, committables, record: writer.commit(committables, record)


KILLED, RACED = "killed at each step", "two at once"
MUTANTS: dict[str, Mutant] = {
    "the rename replaces whoever was faster": Mutant(_replace_the_winner, "parquet", "append", RACED),
    "the name is taken before the data is there": Mutant(_name_before_data, "parquet", "append", KILLED),
    "the data appears before the name is taken": Mutant(_data_before_name, "parquet", "append", KILLED),
    "who lost keeps its rejected rows": Mutant(_keep_the_losers_rejected_rows, "parquet", "append", RACED),
    "what living runs staged is swept": Mutant(_sweep_the_living, "parquet", "append", RACED),
    "an overwrite is not published": Mutant(_never_publish, "parquet", "overwrite", "clock jumps"),
    "rows and record are two transactions": Mutant(_two_transactions, "sqlite", "append", KILLED),
    "the cursor is written first": Mutant(_cursor_first, "sqlite", "append", KILLED),
    "a run that lost takes the next sequence": Mutant(_rebase, "sqlite", "append", RACED),
    "a lost answer is taken for a failure": Mutant(_do_not_ask_after, "postgres", "append", "connection cut"),
    "a put does not ask that nobody was faster": Mutant(_no_condition, "parquet_s3", "append", RACED),
    "a store ignores what a put asks": Mutant(None, "parquet_s3", "append", RACED, store="lax"),
    "an object is there before its rows": Mutant(_record_before_rows, "parquet_s3", "append", KILLED),
    "a late swap goes on from whatever is there": Mutant(_late_swap, "delta", "append", RACED),
    "a lake's run that lost takes the next sequence": Mutant(_rebase_a_lake, "iceberg", "append", RACED),
    "a lake has the record before the files": Mutant(_record_before_files, "iceberg", "append", KILLED),
}
