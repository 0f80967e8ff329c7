"""`maintain` on tables of lakes: what it joins and removes, and that no run, reader or record is the worse for it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest
from dativo_plugin_sdk import Commit, MaintainReport, MaintainRequest, WriteRequest, WriteTask

from dativo_assets.writers import _lake_maintain

from .lake import Target

SOAK = bool(os.environ.get("DATIVO_SOAK"))
MERGE: dict[str, Any] = {"mode": "merge", "keys": ("id",)}


def ids(*values: int) -> pa.Table:
    return pa.table({"id": pa.array(values, pa.int64())})


def maintain(target: Target, keep_s: float = 0, **more: Any) -> MaintainReport:
    writer = target.writer(**more.pop("config", {}))
    try:
        return writer.maintain(MaintainRequest("j", f"maintain{random.randrange(1 << 32)}", keep_s, **more))
    finally:
        writer.close()


def versions(target: Target) -> list[int]:
    if target.is_delta:
        return list(range(target.delta().version() + 1))
    with target.catalog() as catalog:
        return [snapshot.snapshot_id for snapshot in catalog.load_table(target.place()["table"]).snapshots()]


def read_version(target: Target, version: int) -> list[int]:
    """What a reader of an older version sees."""
    if target.is_delta:
        table = target.delta()
        table.load_as_version(version)
        return sorted(table.to_pyarrow_table()["id"].to_pylist())
    with target.catalog() as catalog:
        table = catalog.load_table(target.place()["table"])
        return sorted(table.scan(snapshot_id=version).to_arrow()["id"].to_pylist())


def test_files_are_joined_and_rows_cursor_and_history_stay(lake: Target) -> None:
    config: dict[str, Any] = {"partition_by": ("kind",)}
    for run in range(4):
        rows = pa.table({"id": pa.array([run, 10 + run], pa.int64()), "kind": ["a", "b"]})
        lake.deliver(f"r{run}", rows, **config)
    before, last = lake.rows(), lake.writer().last_commit()
    told = maintain(lake, dry_run=True, config=config)
    assert (told.files_compacted, told.files_written, told.commit) == (8, 0, None)
    assert len(lake.named_files()) == 8
    told = maintain(lake, config=config)
    assert (told.files_compacted, told.files_written) == (8, 2)
    assert lake.rows() == before
    assert lake.writer().last_commit() == last
    assert [commit.run_id for commit in lake.writer().history()] == ["r0", "r1", "r2", "r3"]
    assert lake.data_files() == lake.named_files(), "replaced files are removed"
    assert told.commit is not None
    (one, _) = lake.named_files()
    found = lake.writer().commit_of_file(one)
    assert found is not None and (found.mode, found.run_id) == ("compact", told.commit.run_id)
    assert lake.deliver("r4", pa.table({"id": pa.array([9], pa.int64()), "kind": ["a"]}), **config).seq == 5
    assert maintain(lake, config=config).files_compacted == 2
    assert len(lake.rows()) == 9


def test_a_run_that_began_before_commits_after_it(local: Target) -> None:
    for run in range(3):
        local.deliver(f"r{run}", ids(run), **MERGE)
    writer = local.writer(**MERGE)
    staged = local.stage(writer, "r3", ids(1, 7), base=3)
    assert maintain(local, config=MERGE).files_compacted == 3
    assert writer.commit(staged, local.record(writer, "r3", 4, ids(1, 7))).seq == 4
    writer.close()
    assert local.rows() == [(0,), (1,), (2,), (7,)]
    assert maintain(local).files_compacted >= 0
    assert local.data_files() == local.named_files()


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_a_run_that_commits_meanwhile_wins(local: Target, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    for run in range(3):
        local.deliver(f"r{run}", ids(run))
    read = _lake_maintain.read_file

    def overtaken(*given: Any) -> Any:
        monkeypatch.setattr(_lake_maintain, "read_file", read)
        local.deliver("r3", ids(3), mode=mode)
        return read(*given)

    monkeypatch.setattr(_lake_maintain, "read_file", overtaken)
    told = maintain(local)
    if mode == "append":
        assert (told.files_compacted, local.rows()) == (3, [(0,), (1,), (2,), (3,)])
    else:
        assert (told.files_compacted, local.rows()) == (0, [(3,)])
        assert "a run replaced some of them" in told.notes[0]
    assert local.data_files() == local.named_files()
    assert local.deliver("r4", ids(4)).seq == 5


def test_a_reader_of_a_replaced_version_has_its_files_for_as_long_as_keep_says(local: Target) -> None:
    local.deliver("r0", ids(0))
    local.deliver("r1", ids(1), mode="overwrite")
    local.deliver("r2", ids(2))
    first, _, third = versions(local)
    maintain(local, keep_s=3600)
    assert read_version(local, first) == [0]
    assert read_version(local, third) == [1, 2]
    told = maintain(local)
    assert told.versions or any("files of replaced versions" in note for note in told.notes)
    assert local.rows() == [(1,), (2,)]
    with pytest.raises(Exception, match=r"(?i)not found|no such"):
        read_version(local, first)


def test_a_version_is_kept_from_when_it_was_replaced_and_not_from_when_it_was_made(tmp_path: Path) -> None:
    target = Target("iceberg", tmp_path, {})
    target.deliver("r0", ids(0))
    (first,) = versions(target)
    made = time.time()
    while time.time() < made + 1:
        maintain(target)
    target.deliver("r1", ids(1), mode="overwrite")
    assert maintain(target, keep_s=0.9).versions == 0
    assert read_version(target, first) == [0]


def test_branches_and_tags_of_an_iceberg_table_are_left_alone(tmp_path: Path) -> None:
    target = Target("iceberg", tmp_path, {})
    target.deliver("r0", ids(0))
    with target.catalog() as catalog:
        table = catalog.load_table(target.place()["table"])
        table.manage_snapshots().create_tag(table.snapshots()[0].snapshot_id, "kept").commit()
    for run in (1, 2):
        target.deliver(f"r{run}", ids(run), mode="overwrite")
    maintain(target)
    with target.catalog() as catalog:
        table = catalog.load_table(target.place()["table"])
        assert len(table.snapshots()) == 2
        assert table.scan(snapshot_id=table.refs()["kept"].snapshot_id).to_arrow()["id"].to_pylist() == [0]


def test_an_iceberg_table_is_as_light_as_a_new_one_again(tmp_path: Path) -> None:
    target = Target("iceberg", tmp_path, {})
    for run in range(12):
        target.deliver(f"r{run}", ids(run))

    def weight() -> tuple[int, int, int]:
        with target.catalog() as catalog:
            table = catalog.load_table(target.place()["table"])
            manifests = len(table.current_snapshot().manifests(table.io))  # type: ignore[union-attr]
            size = Path(table.metadata_location.removeprefix("file://")).stat().st_size
            return len(table.snapshots()), manifests, size

    snapshots, manifests, size = weight()
    assert (snapshots, manifests) == (12, 12)
    assert maintain(target).versions == 12
    after = weight()
    assert after[:2] == (1, 2)
    assert after[2] < size / 2
    assert target.rows() == [(run,) for run in range(12)]
    assert len(target.writer().history()) == 12
    found = target.writer().commit_of("r3")
    assert found is not None and found.seq == 4
    for run in range(2):
        target.deliver(f"s{run}", ids(-run))
        maintain(target)
    assert [commit.seq for commit in target.writer().history()] == list(range(1, 15))


def test_a_delta_log_past_its_retention_goes_and_its_records_stay(tmp_path: Path) -> None:
    target = Target("delta", tmp_path, {})
    target.deliver("rare", ids(-1), job="rare")
    target.delta().alter.set_table_properties({"delta.logRetentionDuration": "interval 0 seconds"})
    for run in range(12):
        target.deliver(f"r{run}", ids(run))
    log = tmp_path / "t" / "_delta_log"
    before = len(list(log.glob("*.json")))
    time.sleep(0.01)
    assert maintain(target).versions >= 13
    assert len(list(log.glob("*.json"))) < before
    assert [commit.run_id for commit in target.writer().history()] == [f"r{run}" for run in range(12)]
    found = target.writer(job="rare").last_commit()
    assert found is not None and found.seq == 1
    maintain(target)
    assert target.deliver("r12", ids(12)).seq == 13
    found = target.writer().commit_of("r3")
    assert found is not None and found.seq == 4
    assert target.rows() == [(run,) for run in range(-1, 13)]
    assert deltalake.DeltaTable(str(tmp_path / "t")).to_pyarrow_table().num_rows == 14


def test_files_that_nobody_names_go_when_they_are_older_than_any_run(local: Target) -> None:
    local.deliver("r0", ids(0))
    folder = Path(local.named_paths()[0]).parent
    lost, new = folder / "part-lost.parquet", folder / "part-new.parquet"
    for path in (lost, new):
        path.write_bytes(b"of a run of another machine")
    os.utime(lost, (time.time() - 4 * 86400,) * 2)
    slow = local.writer()
    staged = local.stage(slow, "slow", ids(1), base=1)
    for path in folder.glob("part-slow*.parquet"):
        os.utime(path, (time.time() - 4 * 86400,) * 2)
    assert maintain(local, dry_run=True).orphans == 1
    assert maintain(local).orphans == 1
    assert (lost.exists(), new.exists()) == (False, True)
    slow.commit(staged, local.record(slow, "slow", 2, ids(1)))
    slow.close()
    assert local.rows() == [(0,), (1,)]


def test_rejected_rows_of_the_last_commit_are_in_their_table_before_its_files_are_judged(local: Target) -> None:
    local.deliver("r0", ids(0), rejected=ids(9))
    local.deliver("r1", ids(1), rejected=ids(8))
    maintain(local)
    assert [row[0] for row in local.rows("t_quarantine")] == [8, 9]


def test_a_target_without_a_commit_says_so(local: Target) -> None:
    assert maintain(local).notes == ("nothing is committed yet",)


def test_a_table_that_can_not_be_written_anew_is_left_as_it_is(tmp_path: Path) -> None:
    target = Target("iceberg", tmp_path, {})
    for run in range(2):
        target.deliver(f"r{run}", pa.table({"id": pa.array([run], pa.int64()), "kind": ["a"]}))
    with target.catalog() as catalog, catalog.load_table(target.place()["table"]).update_spec() as update:
        update.add_identity("kind")
    told = maintain(target)
    assert told.files_compacted == 0
    assert "older partition spec" in told.notes[0]


LOOP = """
import sys
from pathlib import Path
import pyarrow as pa
from dativo_plugin_sdk import AssetDefinition, MaintainRequest, TargetConfig
from dativo_assets.writers.{module} import {made}
config = TargetConfig(writer="x", root=sys.argv[1], **{place!r}, job="j")
for number in range(10_000):
    writer = {made}(AssetDefinition(name="j"), config)
    writer.maintain(MaintainRequest("j", f"maintain{{number}}", 0))
    writer.close()
    print(number, flush=True)
"""


def test_maintain_that_is_killed_anywhere_harms_no_run_and_no_row(local: Target) -> None:
    module, made = ("delta", "DeltaWriter") if local.is_delta else ("iceberg", "IcebergWriter")
    code = LOOP.format(module=module, made=made, place=local.place())
    chance = random.Random(5)
    done = 0
    for _ in range(100 if SOAK else 2):
        loop = subprocess.Popen([sys.executable, "-c", code, str(local.root)], stdout=subprocess.PIPE, text=True)
        assert loop.stdout is not None
        for _ in range(3):  # once it is at work
            local.deliver(f"r{done}", ids(done), ids(-done - 1))
            done += 1
        assert loop.stdout.readline()
        until = time.monotonic() + chance.uniform(0, 0.3)
        while time.monotonic() < until:
            local.deliver(f"r{done}", ids(done), ids(-done - 1))
            done += 1
        loop.kill()
        loop.communicate()
    maintain(local)
    assert local.rows() == [(value,) for value in range(-done, done)]
    last = local.writer().last_commit()
    assert last is not None and (last.seq, last.run_id) == (done, f"r{done - 1}")
    assert local.data_files() == local.named_files()
    assert len(local.writer().history()) == done


def test_columns_that_were_added_come_back_null_from_joined_files(local: Target) -> None:
    local.deliver("r0", ids(0))
    local.deliver("r1", pa.table({"id": pa.array([1], pa.int64()), "more": ["x"]}))
    writer = local.writer()
    writer.open(WriteRequest("j", "r2", 2))
    split = writer.writer(WriteTask(0, "data", ids(2).schema))
    split.write(ids(2).to_batches()[0])
    assert maintain(local).files_compacted == 2
    writer.commit(split.finish(), Commit(job="j", seq=3, run_id="r2", schema_text={"id": "int64"}))
    writer.close()
    assert local.rows() == [(0, None), (1, "x"), (2, None)]
