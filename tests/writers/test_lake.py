"""Tables of lakes: Iceberg and Delta, each with real catalogs and stores, read back by their own libraries."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import deltalake
import duckdb
import polars as pl
import pyarrow as pa
import pytest
from dativo_plugin_sdk import (
    Commit,
    CommitConflictError,
    ConfigurationError,
    ConnectionError,
    DativoError,
    ValidationError,
    WriteRequest,
    WriteTask,
)
from pyiceberg.expressions import visitors

from dativo_assets.state import commit_once, look
from dativo_assets.writers import _lake
from tests.s3 import SECRET

from .lake import Cutter, Target

SOAK = bool(os.environ.get("DATIVO_SOAK"))


@pytest.fixture
def target(lake: Target) -> Target:
    return lake


def ids(*values: int) -> pa.Table:
    return pa.table({"id": pa.array(values, pa.int64())})


def test_appends_and_overwrites_are_visible_whole(target: Target) -> None:
    assert target.writer().last_commit() is None
    assert target.deliver("r1", ids(1), ids(2)).seq == 1
    assert target.deliver("r2", ids(3)).seq == 2
    assert target.rows() == [(1,), (2,), (3,)]
    target.deliver("r3", ids(7), mode="overwrite")
    assert target.rows() == [(7,)]
    history = target.writer().history()
    assert [commit.run_id for commit in history] == ["r1", "r2", "r3"]
    assert {file for commit in history for file in commit.files} == target.data_files()
    assert target.named_files() == set(history[-1].files)


def test_one_run_id_writes_once(target: Target) -> None:
    target.deliver("r1", ids(1))
    target.deliver("r2", ids(2))
    writer = target.writer()
    staged = target.stage(writer, "r1", ids(1))
    assert writer.commit(staged, Commit(job="j", seq=3, run_id="r1")).seq == 1
    assert target.rows() == [(1,), (2,)]
    assert target.data_files() == target.named_files()


@pytest.mark.parametrize("first", [True, False])
def test_of_two_runs_that_follow_one_commit_one_wins(target: Target, first: bool) -> None:
    if not first:
        target.deliver("r0", ids(0))
    seq = 1 if first else 2
    slow, fast = target.writer(), target.writer()
    one, two = target.stage(slow, "slow", ids(1)), target.stage(fast, "fast", ids(2))
    fast.commit(two, Commit(job="j", seq=seq, run_id="fast"))
    with pytest.raises(CommitConflictError, match=f"run fast committed sequence {seq}"):
        slow.commit(one, Commit(job="j", seq=seq, run_id="slow"))
    slow.abort()
    assert target.rows() == ([] if first else [(0,)]) + [(2,)]
    assert target.data_files() == target.named_files()


def test_a_run_that_was_stopped_between_its_look_and_its_swap_has_lost(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.deliver("r0", ids(0))
    zombie = target.writer()
    staged = target.stage(zombie, "zombie", ids(1))
    swap, stopped = zombie._main.swap, []

    def late(table: Any, change: Any) -> None:
        if not stopped:
            stopped.append(True)
            target.deliver("newer", ids(2))
        swap(table, change)

    monkeypatch.setattr(zombie._main, "swap", late)
    with pytest.raises(CommitConflictError, match="run newer committed sequence 2"):
        zombie.commit(staged, Commit(job="j", seq=2, run_id="zombie"))
    zombie.abort()
    assert target.rows() == [(0,), (2,)]
    assert target.data_files() == target.named_files()


def test_two_jobs_share_a_table_and_each_has_its_own_sequence(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    target.deliver("r1", ids(1))
    writer = target.writer(job="other")
    assert writer.last_commit() is None
    staged = target.stage(writer, "o1", ids(2))
    with pytest.raises(CommitConflictError):
        writer.commit(staged, Commit(job="other", seq=2, run_id="o1"))
    swap, between = writer._main.swap, []

    def overtaken(table: Any, change: Any) -> None:
        if not between:
            between.append(True)
            target.deliver("r2", ids(3))
        swap(table, change)

    monkeypatch.setattr(writer._main, "swap", overtaken)
    assert writer.commit(staged, Commit(job="other", seq=1, run_id="o1")).seq == 1
    assert target.rows() == [(1,), (2,), (3,)]
    assert [c.run_id for c in target.writer().history()] == ["r1", "r2"]
    assert [c.run_id for c in target.writer(job="other").history()] == ["o1"]


@pytest.mark.parametrize("lands", [True, False])
def test_a_lost_answer_commits_once(target: Target, monkeypatch: pytest.MonkeyPatch, lands: bool) -> None:
    target.deliver("r1", ids(1))
    writer = target.writer()
    staged = target.stage(writer, "r2", ids(2))
    swap, cut = writer._main.swap, []

    def unanswered(table: Any, change: Any) -> None:
        if lands or cut:
            swap(table, change)
        if not cut:
            cut.append(True)
            raise OSError("connection reset")

    monkeypatch.setattr(writer._main, "swap", unanswered)
    assert commit_once(writer, staged, Commit(job="j", seq=2, run_id="r2")).seq == 2
    writer.close()
    assert target.rows() == [(1,), (2,)]
    target.deliver("r3", ids(3))
    assert target.data_files() == target.named_files()


def test_a_run_looks_at_a_bucket_no_more_than_it_must(tmp_path: Path, bucket: dict[str, str]) -> None:
    with Cutter(bucket["endpoint"], " /lake") as counter:
        target = Target("delta_s3", tmp_path, {**bucket, "endpoint": counter.url})
        asked = []
        for number in range(7):
            before = counter.count()
            writer = target.writer()
            assert look(writer, f"r{number}")[1] is None
            staged = target.stage(writer, f"r{number}", ids(number), base=number)
            commit_once(writer, staged, Commit(job="j", seq=number + 1, run_id=f"r{number}"))
            writer.close()
            asked.append(counter.count() - before)
    assert asked[6] - asked[2] <= 4 * 7, "of each entry of the log"


@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize("kind", ["iceberg_rest", "delta_s3"])
def test_a_connection_cut_at_the_commit_commits_once(
    kind: str, how: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    connection = request.getfixturevalue("rest" if kind == "iceberg_rest" else "bucket")
    named = Target(kind, tmp_path, connection).place()
    if kind == "iceberg_rest":
        key, mark = "uri", f"POST /v1/namespaces/{named['table'].replace('.', '/tables/')} HTTP"
    else:
        key, mark = "endpoint", f"PUT {named['path'].removeprefix('s3:/')}/_delta_log/0"
    with Cutter(connection[key], mark) as cutter:
        target = Target(kind, tmp_path, {**connection, key: cutter.url})
        target.deliver("r1", ids(1))
        for number in (2, 3):
            writer = target.writer()
            staged = target.stage(writer, f"r{number}", ids(number), base=number - 1)
            cutter.arm(how)
            assert commit_once(writer, staged, Commit(job="j", seq=number, run_id=f"r{number}")).seq == number
            writer.close()
            assert cutter.has_cut()
        assert target.rows() == [(1,), (2,), (3,)]
        assert target.data_files() == target.named_files()


def test_files_of_a_commit_nobody_knows_of_stay_until_it_is_known(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.deliver("r1", ids(1))
    writer = target.writer()
    staged = target.stage(writer, "r2", ids(2))
    swap = writer._main.swap

    def gone(table: Any, change: Any) -> None:
        swap(table, change)
        raise OSError("connection reset")

    monkeypatch.setattr(writer._main, "swap", gone)
    with pytest.raises(DativoError):
        writer.commit(staged, Commit(job="j", seq=2, run_id="r2"))
    writer.abort()  # the run ends without an answer: what it wrote may be in the table
    assert target.rows() == [(1,), (2,)]
    unsent = target.writer()
    target.stage(unsent, "r3", ids(9))
    unsent._run._staging.leave()  # as one that was killed
    target.deliver("r4", ids(4))
    assert target.rows() == [(1,), (2,), (4,)]
    assert target.data_files() == target.named_files()


def rows(*values: tuple[int, str, int, bool | None]) -> pa.Table:
    names = ("id", "part", "version", "gone")
    types = (pa.int64(), pa.string(), pa.int64(), pa.bool_())
    return pa.table({n: pa.array(c, t) for n, t, c in zip(names, types, zip(*values, strict=True), strict=True)})


MERGE: dict[str, Any] = {
    "mode": "merge",
    "keys": ("id", "part"),
    "options": {"delete_column": "gone"},
    "cursor": "version",
}


def test_merge_takes_the_newest_row_of_a_key_and_leaves_a_newer_one_alone(target: Target) -> None:
    target.deliver("r1", rows((1, "a", 1, False), (1, "b", 5, None), (2, "a", 1, False)), **MERGE)
    target.deliver("r2", rows((9, "z", 1, False)), **MERGE)
    untouched = target.named_files() - {*target.writer().history()[0].files}
    done = target.deliver(
        "r3",
        rows((1, "a", 3, False), (1, "a", 2, False), (1, "b", 4, False), (2, "a", 2, True)),
        rows((3, "a", 1, False), (3, "a", 1, False), (4, "a", 1, True)),
        **MERGE,
    )
    assert target.rows() == [(1, "a", 3), (1, "b", 5), (3, "a", 1), (9, "z", 1)]
    assert done.details["merge"] == {"superseded": 2, "deleted": 2}
    assert untouched <= target.named_files(), "a file that no key is in was written anew"
    whole = {**MERGE, "mode": "merge"}
    writer = target.writer(**{key: whole[key] for key in ("mode", "keys", "options")})
    staged = target.stage(writer, "r4", rows((5, "a", 1, False), (5, "a", 2, False)), base=3, cursor="version")
    writer.commit(staged, Commit(job="j", seq=4, run_id="r4", mode="overwrite"))
    assert target.rows() == [(5, "a", 2)], "a full refresh of a merge merges with nothing"


def test_merges_agree_with_a_dictionary(local: Target) -> None:
    import random

    chance, truth = random.Random(7), dict[tuple[int, str], int]()
    for run in range(6):
        news = [
            (chance.randrange(60), chance.choice("ab"), chance.randrange(50), chance.random() < 0.2) for _ in range(40)
        ]
        newest: dict[tuple[int, str], tuple[int, bool]] = {}
        for number, part, version, gone in news:
            if version >= newest.get((number, part), (-1, False))[0]:
                newest[number, part] = (version, gone)
        for key, (version, gone) in newest.items():
            if version >= truth.get(key, -1):
                truth.pop(key, None)
                if not gone:
                    truth[key] = version
        local.deliver(f"r{run}", rows(*news[:20]), rows(*news[20:]), **MERGE)
        assert local.rows() == [(*key, version) for key, version in sorted(truth.items())]


def test_keys_that_two_rows_of_a_run_share_are_an_error_where_they_should_be(local: Target) -> None:
    unique: dict[str, Any] = {"mode": "merge", "keys": ("id",), "options": {"duplicate_keys": "error"}}
    local.deliver("r1", ids(1, 2), **unique)
    with pytest.raises(ValidationError, match="1 rows have the key"):
        local.deliver("r2", ids(2), ids(2), **unique)
    assert local.rows() == [(1,), (2,)]


def test_a_commit_without_rows_sets_the_cursor_and_leaves_the_table(target: Target) -> None:
    def set_cursor(seq: int) -> None:
        writer = target.writer()
        writer.open(WriteRequest("j", f"set-{seq}", seq - 1))
        try:
            writer.commit([], Commit(job="j", seq=seq, run_id=f"set-{seq}", cursor={"value": seq}))
        finally:
            writer.close()

    with pytest.raises(ConfigurationError, match="not made yet"):
        set_cursor(1)
    target.deliver("r1", ids(1))
    set_cursor(2)
    last = target.writer().last_commit()
    assert last is not None and (last.seq, last.cursor) == (2, {"value": 2})
    assert target.rows() == [(1,)]


def test_a_full_refresh_replaces_partitions_that_no_new_row_is_in(local: Target) -> None:
    options: dict[str, Any] = {"partition_by": ("kind",), "mode": "overwrite", "options": {"overwrite": "partitions"}}
    local.deliver("r1", days((1, 1, "a"), (2, 1, "b")), **options)
    writer = local.writer(**options)
    rows = days((3, 1, "a"))
    writer.open(WriteRequest("j", "r2", 1, mode="overwrite", full_refresh=True))
    split = writer.writer(WriteTask(0, "data", rows.schema))
    split.write(rows.to_batches()[0])
    writer.commit(split.finish(), local.record(writer, "r2", 2, rows))
    writer.close()
    assert [row[0] for row in local.rows()] == [3]


def test_a_merge_needs_its_keys(local: Target) -> None:
    with pytest.raises(ConfigurationError, match=r"needs target\.keys"):
        local.writer(mode="merge")
    with pytest.raises(ValidationError, match="'key', which is not a column"):
        local.deliver("r1", ids(1), mode="merge", keys=("key",))
    with pytest.raises(ValidationError, match="1 rows have no value in a key column"):
        local.deliver("r2", pa.table({"id": pa.array([1, None], pa.int64())}), mode="merge", keys=("id",))
    assert local.writer().last_commit() is None


def days(*values: tuple[int, int | None, str]) -> pa.Table:
    numbers, dates, kinds = zip(*values, strict=True)
    when = pa.array([None if day is None else dt.datetime(2024, 1, day) for day in dates], pa.timestamp("us"))
    return pa.table({"id": pa.array(numbers, pa.int64()), "at": when, "kind": pa.array(kinds)})


def test_an_overwrite_of_partitions_leaves_the_others_alone(target: Target) -> None:
    by = ("kind",) if target.is_delta else ("day(at)", "bucket(4, id)", "truncate(2, kind)")
    where: dict[str, Any] = {"partition_by": by}
    target.deliver("r1", days((1, 1, "a b"), (2, 1, "a/b%="), (3, 2, "c"), (4, None, "d")), **where)
    target.deliver("r2", days((5, 3, "e")), **where)
    assert len(target.named_files()) == 5
    target.deliver("r3", days((1, 1, "a b")), mode="overwrite", options={"overwrite": "partitions"}, **where)
    target.deliver(
        "r4", days((4, None, "d"), (6, 9, "new")), mode="overwrite", options={"overwrite": "partitions"}, **where
    )
    assert [row[0] for row in target.rows()] == [1, 2, 3, 4, 5, 6]
    assert len(target.writer().history()[-1].files) == 2
    with pytest.raises(ValidationError, match="is divided by"):
        target.deliver("r5", days((7, 1, "a")), partition_by=("id",))
    target.deliver("r6", days((8, 1, "a b")), mode="overwrite")
    assert [row[0] for row in target.rows()] == [8]


def test_a_run_with_the_right_clock_follows_one_whose_clock_was_ahead(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run, ahead_s in enumerate((0, 1e9, -1e9, 0)):
        with monkeypatch.context() as clock:
            clock.setattr(time, "time", lambda now=time.time, ahead_s=ahead_s: now() + ahead_s)
            target.deliver(f"r{run}", ids(run))
    assert target.rows() == [(0,), (1,), (2,), (3,)]


@pytest.mark.parametrize("again", ["a", "bb"])
def test_manifests_that_are_looked_at_at_once_do_not_hide_each_others_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    iceberg = Target("iceberg", tmp_path, {})
    where: dict[str, Any] = {"partition_by": ("kind",)}
    for kind in ("a", "bb"):
        iceberg.deliver(f"r{kind}", days((len(kind), 1, kind)), **where)
    both, visit, first = threading.Barrier(2), visitors.visit, iter(range(2))

    def together(expression: Any, visitor: Any) -> Any:
        looks = isinstance(visitor, visitors._ManifestEvalVisitor)
        if looks and threading.current_thread() is not threading.main_thread() and next(first, None) is not None:
            both.wait(30)
        return visit(expression, visitor)

    monkeypatch.setattr(visitors, "visit", together)
    iceberg.deliver("r3", days((3, 1, again)), mode="overwrite", options={"overwrite": "partitions"}, **where)
    assert both.broken is False and next(first, None) is None
    assert {row[0] for row in iceberg.rows()} == {1, 2, 3} - {len(again)}


def test_a_table_that_is_not_divided_has_no_partitions_to_overwrite(local: Target) -> None:
    with pytest.raises(ConfigurationError, match=r"needs target\.partition_by"):
        local.deliver("r1", ids(1), mode="overwrite", options={"overwrite": "partitions"})
    with pytest.raises(ValidationError, match="'at', which is not a column"):
        local.deliver("r1", ids(1), partition_by=("at",))


def test_partitions_that_a_format_can_not_have_are_refused(tmp_path: Path) -> None:
    iceberg, delta = Target("iceberg", tmp_path, {}), Target("delta", tmp_path, {})
    for wrong in ("week(at)", "bucket(at)", "truncate(0, kind)"):
        with pytest.raises((ConfigurationError, ValidationError), match="partition_by"):
            iceberg.deliver("r1", days((1, 1, "a")), partition_by=(wrong,))
    with pytest.raises(ConfigurationError, match="day"):
        iceberg.deliver("r1", days((1, 1, "a")), partition_by=("day(kind)",))
    with pytest.raises(ConfigurationError, match="divided by price"):
        delta.deliver("r1", pa.table({"price": [1.5]}), partition_by=("price",))
    with pytest.raises(ValidationError, match="empty text"):
        delta.deliver("r1", days((1, 1, "")), partition_by=("kind",))


BAD = pa.table({"id": pa.array([9], pa.int64()), "rule": ["range"]})


def test_rejected_rows_land_beside_the_table(target: Target) -> None:
    record = target.deliver("r1", ids(1), rejected=BAD)
    assert [path.rpartition("/")[2] for path in record.quarantine] == [*target.data_files("t_quarantine")]
    target.deliver("r2", ids(2))
    target.deliver("r3", ids(3), rejected=BAD)
    assert target.rows() == [(1,), (2,), (3,)]
    assert target.rows("t_quarantine") == [(9, "range", 1, "r1"), (9, "range", 3, "r3")]


def test_rejected_rows_of_a_run_that_died_after_its_commit_come_once(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as dies:
        dies.setattr(_lake.LakeWriter, "_settle_rejects", lambda *_: None)
        target.deliver("r1", ids(1), rejected=BAD)
    assert target.data_files("t_quarantine") or not target.is_delta
    target.deliver("r2", ids(2))
    target.deliver("r3", ids(3))
    assert target.rows("t_quarantine") == [(9, "range", 1, "r1")]


def test_rejected_rows_of_a_run_that_died_before_its_commit_never_come(local: Target) -> None:
    writer = local.writer()
    local.stage(writer, "r1", ids(1), rejected=BAD)
    writer._run._staging.leave()
    local.deliver("r2", ids(2))
    assert local.rows() == [(2,)]
    assert local.data_files("t_quarantine") == set()


UTC = dt.timezone.utc
VALUES: dict[str, tuple[pa.DataType, list[Any]]] = {
    "int8": (pa.int8(), [-128, 127]),
    "uint32": (pa.uint32(), [0, 2**32 - 1]),
    "uint64": (pa.uint64(), [0, 2**64 - 1]),
    "int64": (pa.int64(), [-(2**63), 2**63 - 1]),
    "float": (pa.float64(), [-0.1, 1e300]),
    "truth": (pa.bool_(), [True, False]),
    "text": (pa.string(), ["", "a'b\"c\n\u00e4 \U0001f600"]),
    "bytes": (pa.binary(), [b"\x00\xff", b""]),
    "date": (pa.date32(), [dt.date(1, 1, 1), dt.date(9999, 12, 31)]),
    "at": (pa.timestamp("us"), [dt.datetime(1969, 1, 1, 0, 0, 0, 1), dt.datetime(2024, 2, 29, 23, 59, 59)]),
    "instant": (pa.timestamp("us", "UTC"), [dt.datetime(2024, 1, 1, tzinfo=UTC), dt.datetime(1970, 1, 1, tzinfo=UTC)]),
    "price": (pa.decimal128(20, 4), [decimal.Decimal("-1.5000"), decimal.Decimal("1234567890123456.7890")]),
    "kind": (pa.dictionary(pa.int32(), pa.string()), ["a", "b"]),
    "list": (pa.list_(pa.int64()), [[1, 2], []]),
    "struct": (
        pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))]),
        [{"a": 1, "b": ["x"]}, {"a": None, "b": None}],
    ),
}


def test_every_value_comes_back(local: Target) -> None:
    columns = {name: pa.array([*values, None], data_type) for name, (data_type, values) in VALUES.items()}
    table = pa.table({"n": [1, 2, 3], **columns})
    local.deliver("r1", table)
    local.deliver("r2", table, mode="overwrite")
    found = local.arrow().sort_by("n")
    for name, (_, values) in VALUES.items():
        assert found.column(name).to_pylist() == [*values, None], name


def test_what_a_format_has_no_type_for_is_refused(local: Target) -> None:
    for data_type in (pa.duration("us"), pa.decimal256(50, 2)):
        with pytest.raises(ValidationError, match=f"{local.kind} has no type for"):
            local.deliver("r1", pa.table({"v": pa.array([None], data_type)}))
    with pytest.raises(ValidationError, match="column at"):
        local.deliver("r1", pa.table({"at": pa.array([1], pa.timestamp("ns"))}))
    assert local.data_files() == set()


def test_columns_are_added_and_widened_as_the_job_allows(target: Target) -> None:
    target.deliver("r1", pa.table({"id": pa.array([1], pa.int32())}))
    target.deliver("r2", pa.table({"id": pa.array([2**40], pa.int64()), "more": ["x"]}))
    target.deliver("r3", ids(3))
    assert target.rows() == [(1, None), (3, None), (2**40, "x")]
    target.deliver("r4", pa.table({"id": ["007"], "more": ["y"]}))
    assert sorted(target.arrow().select(["id", "more"]).to_pylist(), key=str) == [
        {"id": "007", "more": "y"},
        {"id": "1", "more": None},
        {"id": "1099511627776", "more": "x"},
        {"id": "3", "more": None},
    ]


def test_a_wider_key_is_still_found_by_a_merge(local: Target) -> None:
    merge: dict[str, Any] = {"mode": "merge", "keys": ("id",)}
    local.deliver("r1", pa.table({"id": pa.array([1, 2], pa.int32()), "v": ["a", "b"]}), **merge)
    local.deliver("r2", pa.table({"id": pa.array([2, 3], pa.int64()), "v": ["c", "d"], "w": [1, 1]}), **merge)
    local.deliver("r3", pa.table({"id": ["3"], "v": ["e"], "w": [2]}), **merge)
    found = sorted(local.arrow().select(["id", "v", "w"]).to_pylist(), key=str)
    assert [tuple(row.values()) for row in found] == [("1", "a", None), ("2", "c", 1), ("3", "e", 2)]


def test_a_column_that_somebody_dropped_or_retyped_is_told(tmp_path: Path) -> None:
    target = Target("iceberg", tmp_path, {})
    both = pa.table({"id": [1], "v": ["a"]})
    target.deliver("r1", both)
    with target.catalog() as catalog:
        table = catalog.load_table(f"{target.place()['table']}")
        with table.update_schema(allow_incompatible_changes=True) as update:
            update.delete_column("v")
    with pytest.raises(ValidationError, match=r"column v of .* is gone, though commit 1 wrote it"):
        target.deliver("r2", both)
    with target.catalog() as catalog, catalog.load_table(f"{target.place()['table']}").update_schema() as update:
        from pyiceberg.types import LongType

        update.add_column("v", LongType())
    with pytest.raises(ValidationError, match=r"column v of .* is int64, and the data is string"):
        target.deliver("r3", both)
    target.deliver("r4", both, mode="overwrite")
    assert target.rows() == [(1, "a")]


def test_a_table_that_was_taken_back_is_told(local: Target) -> None:
    local.deliver("r1", ids(1))
    local.deliver("r2", ids(2))
    if local.is_delta:
        local.delta().restore(0)
    else:
        with local.catalog() as catalog:
            table = catalog.load_table(local.place()["table"])
            table.manage_snapshots().rollback_to_snapshot(table.snapshots()[0].snapshot_id).commit()
    assert local.rows() == [(1,)]
    with pytest.raises(ValidationError, match="taken back behind commit 2"):
        local.deliver("r3", ids(3))
    local.deliver("r4", ids(4), mode="overwrite")
    assert local.rows() == [(4,)]


def test_a_table_that_somebody_dropped_begins_anew_and_a_run_on_the_way_is_told(target: Target) -> None:
    target.deliver("r1", ids(1))
    writer = target.writer()
    staged = target.stage(writer, "r2", ids(2))
    target.drop()
    with pytest.raises(CommitConflictError, match="its commits are gone"):
        writer.commit(staged, Commit(job="j", seq=2, run_id="r2"))
    writer.abort()
    assert target.writer().last_commit() is None
    assert target.deliver("r3", ids(3)).seq == 1
    assert target.rows() == [(3,)]


@pytest.mark.parametrize(
    ("text", "words"), [('{"format_version": 99}', "newer version"), ('{"job": 1}', "can't be read")]
)
def test_a_record_that_can_not_be_read_is_told(local: Target, text: str, words: str) -> None:
    local.deliver("r1", ids(1))
    if local.is_delta:
        log = local.root / "t" / "_delta_log" / "00000000000000000000.json"
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        lines[0]["commitInfo"]["dativo"]["records"]["j"] = json.loads(text)
        log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    else:
        with local.catalog() as catalog, catalog.load_table(local.place()["table"]).transaction() as change:
            change.set_properties({"dativo.commit.j": text})
    with pytest.raises(ValidationError, match=words):
        local.writer().last_commit()


def test_a_delta_log_that_lost_its_record_is_told(tmp_path: Path) -> None:
    target = Target("delta", tmp_path, {})
    target.deliver("r1", ids(1))
    for number in range(2):
        deltalake.write_deltalake(target.delta(), ids(10 + number), mode="append")
    assert target.deliver("r2", ids(2)).seq == 2, "entries of others are no trouble"
    target.delta().create_checkpoint()
    deltalake.write_deltalake(target.delta(), ids(20), mode="append")
    for name in range(4):
        (tmp_path / "t" / "_delta_log" / f"{name:020d}.json").unlink()
    with pytest.raises(ValidationError, match="at commit 2 of j, but its log does not hold the record"):
        target.writer().last_commit()


def test_the_record_of_a_job_that_rests_is_carried_on(tmp_path: Path) -> None:
    target = Target("delta", tmp_path, {})
    target.deliver("rare", ids(1), job="rare")
    target.deliver("r1", ids(2))
    target.delta().create_checkpoint()
    (tmp_path / "t" / "_delta_log" / f"{0:020d}.json").unlink()
    found = target.writer(job="rare").last_commit()
    assert found is not None and (found.seq, found.run_id) == (1, "rare")


def test_rows_deleted_beside_the_files_are_not_brought_back(tmp_path: Path) -> None:
    target = Target("iceberg", tmp_path, {})
    merge: dict[str, Any] = {"mode": "merge", "keys": ("id",)}
    target.deliver("r1", ids(1, 2), **merge)
    writer = target.writer(**merge)
    staged = target.stage(writer, "r2", ids(2))
    load = writer._main.load

    def with_deletes() -> Any:
        found: Any = load()
        found.iceberg.current_snapshot().summary.additional_properties["total-delete-files"] = "1"
        return found

    writer._main.load = with_deletes  # type: ignore[method-assign]
    with pytest.raises(ValidationError, match="deleted by delete files"):
        writer.commit(staged, Commit(job="j", seq=2, run_id="r2"))


def test_hostile_names_are_names(local: Target) -> None:
    name = "x\"; DROP TABLE t; -- ?'%2F"
    local.deliver("r1", pa.table({name: [1], "a.b": [2], "ü d": ["x"]}))
    local.deliver("r2", pa.table({name: [1, 5], "a.b": [3, 3], "ü d": ["y", "z"]}), mode="merge", keys=(name,))
    assert local.arrow().column_names == [name, "a.b", "ü d"]
    assert local.rows() == [(1, 3, "y"), (5, 3, "z")]
    table = "t; -- ü#?'" if local.is_delta else "t_ü"
    local.deliver("h1", ids(1), table=table)
    assert local.rows(table) == [(1,)]


@pytest.mark.parametrize("name", ["a%20b", "a[b]", "a\\b"])
def test_a_folder_that_deltalake_would_mistake_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="takes for another one"):
        Target("delta", tmp_path, {}).writer(name)


def test_other_readers_see_the_committed_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")
    delta, iceberg = Target("delta", tmp_path, {}), Target("iceberg", tmp_path, {})
    for target in (delta, iceberg):
        by = ("kind",) if target.is_delta else ("day(at)",)
        target.deliver("r1", days((1, 1, "a"), (2, 2, "b")), partition_by=by)
        pending = target.writer(partition_by=by)
        target.stage(pending, "r2", days((3, 3, "c")))
        found = target.writer().snapshot()
        assert found is not None and found.rows == 2
        assert duckdb.sql(f"SELECT id FROM read_parquet({list(found.files)}) ORDER BY id").fetchall() == [(1,), (2,)]
        pending.abort()
    assert sorted(pl.read_delta(str(tmp_path / "t"))["id"]) == [1, 2]
    with iceberg.catalog() as catalog:
        metadata = catalog.load_table(iceberg.place()["table"]).metadata_location
    assert sorted(pl.scan_iceberg(metadata).collect()["id"]) == [1, 2]


def test_large_runs_end_files_at_their_size(local: Target) -> None:
    rows = pa.table({"id": range(200_000)})
    writer = local.writer(options={"target_file_bytes": 100_000, "row_group_bytes": 200_000, "compression": "none"})
    staged = local.stage(writer, "r1", *[rows.slice(start, 50_000) for start in range(0, 200_000, 50_000)])
    writer.commit(staged, local.record(writer, "r1", 1, rows))
    assert len(local.named_files()) >= 4
    assert local.arrow().num_rows == 200_000


def test_secrets_are_in_no_error(tmp_path: Path, bucket: dict[str, str]) -> None:
    nowhere = {"type": "rest", "uri": f"http://user:{SECRET}@127.0.0.1:1", "token": SECRET, "password": SECRET}
    with pytest.raises(ConnectionError) as caught:
        Target("iceberg_rest", tmp_path, nowhere).writer().last_commit()
    assert SECRET not in str(caught.value.to_dict())
    wrong = {**bucket, "endpoint": "http://127.0.0.1:1", "max_retries": "0"}
    with pytest.raises(DativoError) as caught_too:
        Target("delta_s3", tmp_path, wrong).writer().last_commit()
    assert SECRET not in str(caught_too.value.to_dict())


def test_a_catalog_that_no_connection_names_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no connection named `lake`") as caught:
        Target("iceberg", tmp_path, {}).writer(catalog="lake")
    assert "dativo.yaml" in str(caught.value.hint)


RACE = """
import sys
sys.path.insert(0, {root_of_tests!r})
from pathlib import Path
from tests.writers.lake import Target
from dativo_plugin_sdk import Commit, CommitConflictError
import pyarrow as pa
target = Target({kind!r}, Path({root!r}), {connection!r})
for number in range({rounds}):
    while True:
        writer = target.writer()
        last = writer.last_commit()
        run = f"{{sys.argv[1]}}-{{number}}"
        base = 0 if last is None else last.seq
        rows = pa.table({{"id": [int(sys.argv[1]) * 1000 + number]}})
        staged = target.stage(writer, run, rows, base=base)
        try:
            writer.commit(staged, Commit(job="j", seq=base + 1, run_id=run))
            break
        except CommitConflictError:
            writer.abort()
        finally:
            writer.close()
"""


def race(target: Target, who: int, rounds: int) -> subprocess.Popen[bytes]:
    code = RACE.format(
        root_of_tests=str(Path(__file__).parents[2]),
        kind=target.kind,
        root=str(target.root),
        connection=target.connection,
        rounds=rounds,
    )
    return subprocess.Popen([sys.executable, "-c", code, str(who)])


def test_processes_that_race_lose_and_double_nothing(target: Target) -> None:
    who, rounds = range(3 if target.kind in ("iceberg", "delta") else 2), range(200 if SOAK else 3)
    runners = [race(target, one, len(rounds)) for one in who]
    assert {runner.wait(3000 if SOAK else 100) for runner in runners} == {0}
    assert target.rows() == [(one * 1000 + number,) for one in who for number in rounds]
    assert [commit.seq for commit in target.writer().history()] == list(range(1, len(who) * len(rounds) + 1))
    assert target.data_files() == target.named_files()


def test_a_table_that_is_made_while_its_layout_is_planned_is_met(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = target.writer()
    store = writer._stores["data"]
    layout = store.layout

    def late(table: object, *rest: Any) -> object:
        if table is None and not target.writer().history():
            target.deliver("first", ids(1))
        return layout(table, *rest)

    monkeypatch.setattr(store, "layout", late)
    with pytest.raises(CommitConflictError):
        writer.commit(target.stage(writer, "second", ids(2)), Commit(job="j", seq=1, run_id="second"))
    writer.abort()
    target.deliver("third", ids(3))
    assert target.rows() == [(1,), (3,)]


@pytest.mark.parametrize("lake", ["iceberg", "delta"], indirect=True)
def test_kills_at_any_moment_leave_whole_commits(target: Target) -> None:
    for who in range(200 if SOAK else 3):
        runner = race(target, who, 1000)
        seen = len(target.writer().history())
        while len(target.writer().history()) < seen + 2:
            assert runner.poll() is None
        runner.kill()
        runner.wait()
    target.deliver("after", ids(-1))
    found = [row[0] for row in target.rows()]
    assert len(set(found)) == len(found) == len(target.writer().history())
    target.deliver("later", ids(-2))
    assert target.data_files() == target.named_files(), "leftovers of dead runs"
