"""Parquet directories: rows merged by key, partitions replaced, each as one commit that any reader sees whole."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dativo_plugin_sdk import (
    AssetDefinition,
    Commit,
    CommitConflictError,
    ConfigurationError,
    DirectoryTable,
    MaintainReport,
    MaintainRequest,
    ParquetDirectoryWriter,
    TargetConfig,
    ValidationError,
    WriteRequest,
    WriteTask,
    parquet_merge,
)

from dativo_assets.writers.parquet import ParquetWriter


def _writers() -> Iterator[Any]:
    yield pytest.param(ParquetWriter, id="parquet")
    try:
        from dativo_rust_parquet import RustParquetWriter
    except ImportError:
        return
    yield pytest.param(RustParquetWriter, id="rust_parquet")


class Target:
    """One table; `deliver` is a whole run of it."""

    def __init__(self, plugin: type[ParquetDirectoryWriter], root: Path) -> None:
        self.plugin, self.root = plugin, root

    def writer(self, **more: Any) -> ParquetDirectoryWriter:
        config = {"writer": "parquet", "job": "j", "root": str(self.root), "path": "t", **more}
        return self.plugin(AssetDefinition(name="j"), TargetConfig(**config))

    def stage(
        self,
        writer: ParquetDirectoryWriter,
        run: str,
        *tables: pa.Table,
        cursor: str | None = None,
        memory_bytes: int = 64 << 20,
        full_refresh: bool = False,
    ) -> Any:
        config = writer.target_config
        mode = "overwrite" if full_refresh else config.mode
        request = WriteRequest(
            "j",
            run,
            0,
            mode=mode,
            keys=config.keys,
            partition_by=config.partition_by,
            cursor_field=cursor,
            memory_bytes=memory_bytes,
            parallelism=2,
            full_refresh=full_refresh,
        )
        writer.open(request)
        done = []
        for index, table in enumerate(tables):
            split = writer.writer(WriteTask(index, schema=table.schema))
            for batch in table.to_batches(max_chunksize=100):
                split.write(batch)
            done.extend(split.finish())
        return done

    def record(self, writer: ParquetDirectoryWriter, run: str, staged: Any, mode: str | None = None) -> Commit:
        last = writer.last_commit()
        rows = sum(item.rows for item in staged)
        return Commit(
            job="j",
            seq=1 if last is None else last.seq + 1,
            run_id=run,
            mode=mode or writer.target_config.mode,  # type: ignore[arg-type]
            rows_read=rows,
            rows_written=rows,
            bytes_written=sum(item.bytes for item in staged),
        )

    def deliver(self, run: str, *tables: pa.Table, how: dict[str, Any] | None = None, **more: Any) -> Commit:
        writer, how = self.writer(**more), how or {}
        staged = self.stage(writer, run, *tables, **how)
        mode = "overwrite" if how.get("full_refresh") else None
        commit = writer.commit(staged, self.record(writer, run, staged, mode))
        writer.close()
        return commit

    def rows(self, columns: str = "*", order: str = "1") -> list[tuple[Any, ...]]:
        """What a stranger sees through a plain glob: the same as the writer says there is."""
        glob = f"read_parquet('{self.root}/t/**/*.parquet', union_by_name=true, hive_partitioning=false)"
        found = duckdb.sql(f"SELECT {columns} FROM {glob} ORDER BY {order}").fetchall()
        table = self.writer().snapshot()
        assert table is not None
        assert sum(pq.read_metadata(file).num_rows for file in table.files) == table.rows == len(found)
        assert sum(Path(file).stat().st_size for file in table.files) == table.bytes
        return found


@pytest.fixture(params=list(_writers()))
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    return Target(request.param, tmp_path)


MERGE: dict[str, Any] = {"mode": "merge", "keys": ("id",)}


def table(**columns: list[Any]) -> pa.Table:
    return pa.table(columns)


def test_of_one_key_the_newest_row_is_there(target: Target) -> None:
    target.deliver("r1", table(id=[1, 2, 3], v=["a", "b", "c"]), **MERGE)
    commit = target.deliver("r2", table(id=[2, 4, 2], v=["x", "d", "y"]), **MERGE)
    assert target.rows() == [(1, "a"), (2, "y"), (3, "c"), (4, "d")]
    assert commit.details["merge"] == {"superseded": 1}
    assert (commit.mode, commit.rows_written) == ("merge", 3)
    assert [c.run_id for c in target.writer().history()] == ["r1", "r2"]


def test_an_older_row_does_not_replace_a_newer_one(target: Target) -> None:
    how = {"how": {"cursor": "at"}}
    target.deliver("r1", table(id=[1, 2, 3], at=[5, 5, None]), **how, **MERGE)
    target.deliver("r2", table(id=[1, 1, 1, 2, 3, 4], at=[6, 9, 7, 4, 1, None]), **how, **MERGE)
    assert target.rows() == [(1, 9), (2, 5), (3, 1), (4, None)]


def test_a_row_that_says_so_removes_its_key(target: Target) -> None:
    more: dict[str, Any] = {**MERGE, "options": {"delete_column": "gone"}}
    target.deliver("r1", table(id=[1, 2, 3], gone=[False, None, False]), **more)
    commit = target.deliver("r2", table(id=[1, 9, 4], gone=[True, True, False]), **more)
    assert target.rows() == [(2,), (3,), (4,)]
    assert commit.details["merge"] == {"superseded": 0, "deleted": 2}
    target.deliver("r3", table(id=[2, 3, 4], gone=[True] * 3), **more)
    assert target.rows() == []
    assert target.deliver("r4", table(id=[2], gone=[False]), **more).seq == 4
    assert target.rows() == [(2,)]


def test_only_files_that_hold_such_keys_are_written_again(target: Target) -> None:
    for run in range(4):
        target.deliver(f"r{run}", table(id=list(range(run * 10, run * 10 + 10)), v=["old"] * 10), **MERGE)
    before = {Path(file).stat().st_ino for file in target.writer().snapshot().files}  # type: ignore[union-attr]
    target.deliver("r5", table(id=[12, 99], v=["new", "new"]), **MERGE)
    after = {Path(file).stat().st_ino for file in target.writer().snapshot().files}  # type: ignore[union-attr]
    assert (len(before), len(after), len(before & after)) == (4, 5, 3)
    assert [row for row in target.rows() if row[1] == "new"] == [(12, "new"), (99, "new")]


def test_keys_may_be_several_columns_of_any_type(target: Target) -> None:
    more: dict[str, Any] = {"mode": "merge", "keys": ("a", "b", "c")}
    first = table(a=["x", "x", "y"], b=[1.5, 2.5, 1.5], c=[b"1", b"1", b"1"], v=[1, 2, 3])
    target.deliver("r1", first, **more)
    second = table(a=["y", "x", "x", "z"], b=[1.5, 1.5, 2.5, 1.5], c=[b"1", b"2", b"1", b"1"], v=[30, 40, 20, 50])
    target.deliver("r2", second.set_column(0, "a", second["a"].dictionary_encode()), **more)
    assert target.rows("v") == [(1,), (20,), (30,), (40,), (50,)]


@pytest.mark.parametrize(
    ("rows", "more", "message"),
    [
        (table(id=[1, None, None]), {}, "2 rows have no value in a key column"),
        (table(v=[1]), {}, "target.keys names 'id'"),
        (table(id=[1]), {"options": {"delete_column": "x"}}, r"options\.delete_column names 'x'"),
        (table(id=[7, 8, 7]), {"options": {"duplicate_keys": "error"}}, "1 rows have the key"),
    ],
)
def test_rows_that_can_not_be_merged_are_refused(
    target: Target, rows: pa.Table, more: dict[str, Any], message: str
) -> None:
    target.deliver("r1", table(id=[1]), **MERGE)
    with pytest.raises(ValidationError, match=message) as caught:
        target.deliver("r2", rows, **MERGE, **more)
    assert caught.value.hint
    assert target.rows() == [(1,)]


def test_merge_needs_keys_and_a_table_that_has_them(target: Target) -> None:
    with pytest.raises(ConfigurationError, match=r"needs target\.keys"):
        target.writer(mode="merge")
    target.deliver("r1", table(v=[1]))
    with pytest.raises(ValidationError, match="has no such column"):
        target.deliver("r2", table(id=[1], v=[1]), **MERGE)


def test_columns_may_come_go_and_widen(target: Target) -> None:
    target.deliver("r1", pa.table({"id": pa.array([1, 2], pa.int32()), "old": ["a", "b"]}), **MERGE)
    target.deliver("r2", pa.table({"id": pa.array([2, 3], pa.int64()), "new": [0.5, 1.5]}), **MERGE)
    assert target.rows("id, old, new") == [(1, "a", None), (2, None, 0.5), (3, None, 1.5)]


def test_a_full_refresh_merges_into_an_empty_table(target: Target) -> None:
    target.deliver("r1", table(id=[1, 2]), **MERGE)
    target.deliver("r2", table(id=[7, 7, 8]), how={"full_refresh": True}, **MERGE)
    assert target.rows() == [(7,), (8,)]


def test_no_rows_are_a_table_with_columns(target: Target) -> None:
    empty = pa.table({"id": pa.array([], pa.int64()), "gone": pa.array([], pa.bool_())})
    target.deliver("r1", empty.slice(0, 0), **MERGE, options={"delete_column": "gone"})
    writer = target.writer()
    writer.open(WriteRequest("j", "r2", 1, mode="merge"))
    writer.close()
    assert target.rows("id") == []


def test_what_is_merged_in_slices_is_merged_as_a_whole(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a dictionary that does the same: many runs, each cut into slices of about 100 rows."""
    monkeypatch.setattr(parquet_merge, "_PROBED_ROWS", 64)
    chance = random.Random(5)
    expected: dict[int, tuple[int, int]] = {}
    more: dict[str, Any] = {**MERGE, "options": {"delete_column": "gone", "row_group_rows": 50}}
    number = 0
    for run in range(8):
        rows = []
        for _ in range(chance.choice([0, 30, 250])):
            number += 1
            rows.append((chance.randrange(200), chance.randrange(20), number, chance.random() < 0.2))
        newest: dict[int, tuple[int, int, bool]] = {}
        for key, at, value, gone in rows:
            if key not in newest or at >= newest[key][0]:
                newest[key] = (at, value, gone)
        for key, (at, value, gone) in newest.items():
            if key not in expected or at >= expected[key][0]:
                expected.pop(key, None)
                if not gone:
                    expected[key] = (at, value)
        columns = ("id", "at", "v", "gone")
        types = [pa.int64(), pa.int64(), pa.int64(), pa.bool_()]
        arrays = [pa.array([row[at] for row in rows], kind) for at, kind in enumerate(types)]
        data = pa.table(arrays, names=columns)
        memory_bytes = 1 << 30 if chance.random() < 0.5 else 4 * 100 * 104
        target.deliver(f"r{run}", data, how={"cursor": "at", "memory_bytes": memory_bytes}, **more)
        assert {key: (at, value) for key, at, value in target.rows()} == expected


@pytest.mark.parametrize("more", [{}, {"bloom_filter": True, "compatibility": "legacy"}])
def test_a_native_merge_puts_a_newer_row_in_the_place_of_the_older_one(tmp_path: Path, more: dict[str, Any]) -> None:
    """But in files with bloom filters, which nobody would bring up to date: there it comes last."""
    rust = pytest.importorskip("dativo_rust_parquet").RustParquetWriter
    target = Target(rust, tmp_path)
    options = {**MERGE, "options": {"row_group_rows": 100, **more}}
    ids = list(range(0, 1000, 2))
    target.deliver("r1", table(id=ids, name=[f"name {i}" for i in ids], v=[0] * 500), **options)
    before = [_chunks(path) for path in target.writer().snapshot().files]  # type: ignore[union-attr]
    target.deliver("r2", table(id=[222, 20, 7], name=["name 222", "name 20", "new"], v=[1, 2, 3]), **options)
    snapshot = target.writer().snapshot()
    assert snapshot is not None and snapshot.rows == 501
    merged = next(path for path in snapshot.files if "merged" in path)
    found = pq.read_table(merged).to_pydict()
    changed = {20: 2, 222: 1}
    assert dict(zip(found["id"], found["v"], strict=True)) == {i: changed.get(i, 0) for i in ids}
    assert found["name"] == [f"name {i}" for i in found["id"]]
    if more:
        assert found["id"] == [i for i in ids if i not in changed] + [20, 222]
        return
    assert found["id"] == ids
    after = _chunks(merged)
    for group, columns in enumerate(after):
        assert [name for name in columns if columns[name] != before[0][group][name]] == ["v"] * (group < 2)


def _chunks(path: str) -> list[dict[str, bytes]]:
    """The bytes of each column, a row group an item."""
    data = Path(path).read_bytes()
    found = []
    for number in range(pq.read_metadata(path).num_row_groups):
        group = pq.read_metadata(path).row_group(number)
        chunks = [group.column(at) for at in range(group.num_columns)]
        starts = [chunk.dictionary_page_offset or chunk.data_page_offset for chunk in chunks]
        found.append(
            {c.path_in_schema: data[s : s + c.total_compressed_size] for c, s in zip(chunks, starts, strict=True)}
        )
    return found


def test_two_merges_of_one_base_have_one_winner(target: Target) -> None:
    target.deliver("r1", table(id=[1], v=["a"]), **MERGE)
    one, two = target.writer(**MERGE), target.writer(**MERGE)
    staged = [target.stage(w, run, table(id=[1], v=[run])) for w, run in ((one, "one"), (two, "two"))]
    late = target.record(two, "two", staged[1])
    one.commit(staged[0], target.record(one, "one", staged[0]))
    with pytest.raises(CommitConflictError, match="run one committed"):
        two.commit(staged[1], late)
    two.close()
    assert target.rows() == [(1, "one")]
    assert not list(target.root.glob(".t.staging/*"))


PARTITIONS: dict[str, Any] = {"mode": "overwrite", "partition_by": ("p",), "options": {"overwrite": "partitions"}}


def test_a_partition_that_new_rows_are_in_is_replaced_and_no_other(target: Target) -> None:
    target.deliver("r1", table(p=["a", "b", None], v=[1, 2, 3]), **PARTITIONS)
    target.deliver("r2", table(p=["b", None, "c"], v=[20, 30, 40]), **PARTITIONS)
    assert sorted(target.rows("v")) == [(1,), (20,), (30,), (40,)]
    target.deliver("r3", table(p=["d"], v=[5]), **{**PARTITIONS, "mode": "append"})
    target.deliver("r4", table(p=["d", "a"], v=[50, 10]), **PARTITIONS)
    assert sorted(target.rows("v")) == [(10,), (20,), (30,), (40,), (50,)]
    target.deliver("r5", table(p=["z"], v=[0]), how={"full_refresh": True}, **PARTITIONS)
    assert target.rows("v") == [(0,)]
    assert [commit.seq for commit in target.writer().history()] == [1, 2, 3, 4, 5]


def test_no_rows_replace_no_partition(target: Target) -> None:
    target.deliver("r1", table(p=["a"], v=[1]), **PARTITIONS)
    target.deliver("r2", **PARTITIONS)
    assert target.rows("v") == [(1,)]


def test_partitions_of_another_kind_are_not_mixed(target: Target) -> None:
    target.deliver("r1", table(p=["a"], v=[1]), mode="append", partition_by=("v",))
    with pytest.raises(ValidationError, match="is not divided by p") as caught:
        target.deliver("r2", table(p=["a"], v=[2]), **PARTITIONS)
    assert "--full-refresh" in (caught.value.hint or "")
    with pytest.raises(ConfigurationError, match=r"needs target\.partition_by"):
        target.deliver("r3", table(v=[1]), mode="overwrite", options={"overwrite": "partitions"})
    with pytest.raises(ConfigurationError, match="reads past a cursor"):
        target.deliver("r4", table(p=["a"], v=[2]), how={"cursor": "v"}, **PARTITIONS)


def test_a_merge_puts_rows_into_their_partitions(target: Target) -> None:
    more: dict[str, Any] = {**MERGE, "partition_by": ("bucket(4, id)", "p")}
    target.deliver("r1", table(id=[1, 2, 3], p=["a", "a", "b"]), **more)
    target.deliver("r2", table(id=[2, 4], p=["b", "b"]), **more)
    assert target.rows() == [(1, "a"), (2, "b"), (3, "b"), (4, "b")]
    snapshot = target.writer().snapshot()
    assert snapshot is not None
    for file in snapshot.files:
        assert {f"p={p}" for p in pq.read_table(file)["p"].to_pylist()} == {Path(file).parent.name}


def maintain(target: Target, keep_s: float = 3600, **more: Any) -> MaintainReport:
    writer = target.writer(**{key: value for key, value in more.items() if key != "dry_run"})
    request = MaintainRequest("j", f"maintain{random.random()}", keep_s, dry_run=more.get("dry_run", False))
    return writer.maintain(request)


def test_small_files_are_joined_and_no_row_changes(target: Target) -> None:
    for run in range(6):
        mode = "append" if run else "overwrite"
        target.deliver(f"r{run}", table(p=["a", "b"], v=[run, run]), partition_by=("p",), mode=mode)
    before = sorted(target.rows())
    told = maintain(target, partition_by=("p",), dry_run=True)
    assert (told.files_compacted, told.commit) == (12, None)
    assert len(target.writer().snapshot().files) == 12  # type: ignore[union-attr]
    in_flight = target.writer().snapshot().files  # type: ignore[union-attr]
    told = maintain(target, partition_by=("p",))
    assert (told.files_compacted, told.files_written, told.versions) == (12, 2, 0)
    assert sorted(target.rows()) == before
    assert all(pq.read_metadata(file).num_rows == 1 for file in in_flight)
    last = target.writer().last_commit()
    assert last is not None
    assert (last.seq, last.mode, last.rows_written) == (7, "compact", 0)
    assert [commit.seq for commit in target.writer().history()] == list(range(1, 8))
    target.deliver("next", table(p=["a"], v=[9]), partition_by=("p",))
    assert len(target.rows()) == 13
    assert maintain(target, keep_s=0, partition_by=("p",)).versions >= 1
    versions = [path.name for path in (target.root / ".t.versions").iterdir()]
    assert versions == [(target.root / "t").resolve().name]
    assert len(target.rows()) == 13
    assert maintain(target, keep_s=0, partition_by=("p",)).commit is None


RUNS: dict[str, dict[str, Any]] = {
    "append": {"mode": "append"},
    "overwrite": {"mode": "overwrite"},
    "merge": MERGE,
    "partitions": PARTITIONS,
}


@pytest.mark.parametrize(
    ("name", "when"),
    [
        *[(name, when) for name in RUNS for when in ("before it looks", "before it renames")],
        ("merge", "while it looks"),
        ("partitions", "while it looks"),
    ],
)
def test_a_run_that_began_before_files_were_joined_commits_all_the_same(
    target: Target, monkeypatch: pytest.MonkeyPatch, name: str, when: str
) -> None:
    how = RUNS[name]
    first = {**how, "mode": "append"} if how is PARTITIONS else {"mode": "append"}
    target.deliver("r1", table(id=[1, 2], p=["a", "b"]), **first)
    target.deliver("r2", table(id=[3], p=["b"]), **first)
    writer = target.writer(**how)
    staged = target.stage(writer, "r3", table(id=[3], p=["c" if how is MERGE else "b"]))
    record = target.record(writer, "r3", staged)
    seal = DirectoryTable._seal

    def late(table: DirectoryTable, folder: Path, what: Commit) -> None:
        monkeypatch.setattr(DirectoryTable, "_seal", seal)
        assert maintain(target, **first).commit is not None
        seal(table, folder, what)

    if when == "before it looks":
        assert maintain(target, **first).commit is not None
    elif when == "while it looks":
        version = DirectoryTable.version

        def looks(table: DirectoryTable) -> Any:
            found = version(table)
            monkeypatch.setattr(DirectoryTable, "version", version)
            assert maintain(target, **first).commit is not None
            assert maintain(target, keep_s=0, **first).versions
            return found

        monkeypatch.setattr(DirectoryTable, "version", looks)
    else:
        monkeypatch.setattr(DirectoryTable, "_seal", late)
    commit = writer.commit(staged, record)
    writer.close()
    assert (commit.seq, commit.run_id) == (4, "r3")
    expected = {
        "append": [(1, "a"), (2, "b"), (3, "b"), (3, "b")],
        "overwrite": [(3, "b")],
        "merge": [(1, "a"), (2, "b"), (3, "c")],
        "partitions": [(1, "a"), (3, "b")],
    }
    assert target.rows() == expected[name]


def test_joining_loses_to_a_run_that_commits_meanwhile(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    target.deliver("r1", table(id=[1]))
    target.deliver("r2", table(id=[2]))
    seal = DirectoryTable._seal

    def late(table_: DirectoryTable, folder: Path, what: Commit) -> None:
        monkeypatch.setattr(DirectoryTable, "_seal", seal)
        target.deliver("r3", table(id=[3]))
        seal(table_, folder, what)

    monkeypatch.setattr(DirectoryTable, "_seal", late)
    told = maintain(target)
    assert told.commit is None and "r3 committed meanwhile" in told.notes[0]
    assert target.rows() == [(1,), (2,), (3,)]
    assert not list(target.root.glob(".t.staging/*"))


def test_what_dead_runs_left_is_removed_and_what_a_live_one_has_is_not(target: Target) -> None:
    target.deliver("r1", table(id=[1]))
    live = target.writer()
    staged = target.stage(live, "live", table(id=[2]))
    lost = target.root / "t.quarantine" / "1-gone.0000"
    lost.mkdir(parents=True)
    (target.root / ".t.staging" / "dead.0000").mkdir()
    assert maintain(target, dry_run=True).orphans == 2
    assert lost.exists()
    assert maintain(target).orphans == 2
    assert not lost.exists()
    live.commit(staged, target.record(live, "live", staged))
    assert target.rows() == [(1,), (2,)]


def test_files_that_promise_an_order_are_left_alone(tmp_path: Path) -> None:
    options = {"sorted_by": [{"column": "id"}]}
    target = Target(pytest.importorskip("dativo_rust_parquet").RustParquetWriter, tmp_path)
    for run in ("r1", "r2"):
        target.deliver(run, table(id=[1, 2]), options=options)
    assert "sorted_by" in maintain(target, options=options).notes[0]
    with pytest.raises(ConfigurationError, match="keeps no order"):
        target.writer(options=options, **MERGE)


def test_a_file_that_somebody_put_among_the_committed_ones_is_told_and_stays(target: Target) -> None:
    target.deliver("r1", pa.table({"id": [1]}))
    target.deliver("r2", pa.table({"id": [2]}))
    foreign = target.root / "t" / "2" / "mine.parquet"
    foreign.write_bytes(b"PAR1")
    (target.root / "t" / "2" / "_SUCCESS").touch()
    with pytest.raises(ValidationError, match=r"2/mine\.parquet is of no commit") as caught:
        maintain(target)
    assert caught.value.error_code == "FOREIGN_FILE"
    assert foreign.exists()
    foreign.unlink()
    assert maintain(target).commit is not None


def test_the_next_run_tells_of_a_file_that_somebody_put_beside_the_commits(target: Target) -> None:
    target.deliver("r1", pa.table({"id": [1]}))
    foreign = target.root / "t" / "mine.parquet"
    foreign.write_bytes(b"PAR1")
    (target.root / "t" / "_SUCCESS").touch()
    with pytest.raises(ValidationError, match=r"t/mine\.parquet is of no commit") as caught:
        target.deliver("r2", pa.table({"id": [2]}))
    assert caught.value.error_code == "FOREIGN_FILE"
    foreign.unlink()
    assert target.deliver("r2", pa.table({"id": [2]})).seq == 2
