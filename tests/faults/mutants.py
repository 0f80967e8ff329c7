"""The protocol broken on purpose, one step at a time. Each of them has to be found out by the fault it is listed with.

A change is made in every run of the harness; see also the mutants in test_protocol.py and test_power.py.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dativo_plugin_sdk import Commit, Committable, DirectoryTable, directory, staging
from dativo_plugin_sdk.sql_writer import SqlWriter


@dataclass(frozen=True)
class Mutant:
    """change: done in each run. target, mode, fault: where it has to be found out."""

    change: Callable[[], None]
    target: str
    mode: str
    fault: str


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
}
