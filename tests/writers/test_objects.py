"""Parquet tables in an object store: each commit is the put of one object, on a real S3 server of this machine."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dativo_plugin_sdk import (
    AssetDefinition,
    BaseWriter,
    Commit,
    CommitConflictError,
    ConfigurationError,
    MaintainRequest,
    TargetConfig,
    TransientError,
    ValidationError,
    WriteRequest,
    WriteTask,
    object_writer,
    remote,
)
from dativo_plugin_sdk.object_writer import ObjectWriter
from dativo_plugin_sdk.parquet_footer import with_metadata

from dativo_assets.state import commit_once
from dativo_assets.writers.parquet import ParquetWriter
from tests.s3 import KEYS, store_of

ROOT = Path(__file__).parents[2]


class Target:
    """One table in a bucket; `deliver` is a whole run of it."""

    def __init__(self, connection: dict[str, str], root: Path) -> None:
        self.connection = connection
        self.prefix = uuid.uuid4().hex
        self.root = root
        self.store = store_of(connection)

    def writer(self, **more: Any) -> BaseWriter:
        config = {"writer": "parquet", "job": "j", "root": str(self.root), "path": f"s3://lake/{self.prefix}/t", **more}
        return ParquetWriter.at(AssetDefinition(name="j"), TargetConfig(connection=self.connection, **config))

    def stage(self, writer: BaseWriter, run: str, *tables: pa.Table, kind: str = "data") -> Any:
        mode = writer.target_config.mode
        if kind == "data":
            by = writer.target_config.partition_by
            writer.open(WriteRequest("j", run, 0, mode=mode, partition_by=by, parallelism=2))
        done: list[Any] = []
        for index, rows in enumerate(tables):
            split = writer.writer(WriteTask(index, kind, rows.schema))  # type: ignore[arg-type]
            for batch in rows.to_batches(max_chunksize=1000):
                split.write(batch)
            done.extend(split.finish())
        return done

    def record(self, writer: BaseWriter, run: str, staged: Any, **more: Any) -> Commit:
        last = writer.last_commit()
        rows = sum(item.rows for item in staged if item.kind == "data")
        fields = {"mode": writer.target_config.mode, "rows_read": rows, "rows_written": rows, **more}
        return Commit(job="j", seq=1 if last is None else last.seq + 1, run_id=run, **fields)

    def deliver(self, run: str, *tables: pa.Table, **more: Any) -> Commit:
        writer = self.writer(**more)
        staged = self.stage(writer, run, *tables)
        commit = writer.commit(staged, self.record(writer, run, staged))
        writer.close()
        return commit

    def names(self, folder: str = "t") -> list[str]:
        prefix = f"{self.prefix}/{folder}/"
        found = [meta["path"] for batch in obstore.list(self.store, prefix=prefix) for meta in batch]
        return sorted(name.removeprefix(prefix) for name in found)

    def glob(self) -> list[Any]:
        """What a plain reader of all objects sees."""
        found = []
        for name in self.names():
            data = bytes(obstore.get(self.store, f"{self.prefix}/t/{name}").bytes())
            found += pq.read_table(pa.BufferReader(data))["v"].to_pylist()
        return sorted(found)

    def own(self) -> list[Any]:
        """What the records say."""
        table = self.writer().snapshot()
        assert table is not None
        found = []
        for uri in table.files:
            data = bytes(obstore.get(self.store, unquote(uri.removeprefix("s3://lake/"))).bytes())
            found += pq.read_table(pa.BufferReader(data))["v"].to_pylist()
        assert table.rows == len(found)
        return sorted(found)


@pytest.fixture
def target(bucket: dict[str, str], tmp_path: Path) -> Target:
    return Target(bucket, tmp_path)


def rows(*values: int) -> pa.Table:
    return pa.table({"v": pa.array(values, pa.int64())})


def test_a_commit_is_one_object_and_the_record_is_in_its_footer(target: Target) -> None:
    assert isinstance(target.writer(), ObjectWriter)
    assert target.writer().last_commit() is None
    for seq in range(1, 8):
        assert target.deliver(f"r{seq}", rows(seq), rows(-seq)).seq == seq
    assert target.names() == [f"{seq:020d}.parquet" for seq in range(1, 8)]
    assert target.glob() == target.own() == sorted([*range(-7, 0), *range(1, 8)])
    writer = target.writer()
    last = writer.last_commit()
    assert last is not None
    assert (last.seq, last.run_id, last.rows_written) == (7, "r7", 2)
    assert [commit.seq for commit in writer.history()] == list(range(1, 8))
    found = writer.commit_of("r3")
    assert found is not None and found.seq == 3
    assert not list(target.root.rglob("*.parquet"))


def test_one_run_id_writes_once(target: Target) -> None:
    target.deliver("r1", rows(1))
    target.deliver("r2", rows(2))
    writer = target.writer()
    staged = target.stage(writer, "r1", rows(1))
    late = target.record(writer, "r1", staged).model_copy(update={"seq": 2})
    assert writer.commit(staged, late).seq == 1
    assert target.glob() == [1, 2]


def test_of_many_runs_that_race_one_wins_and_the_others_leave_nothing(target: Target) -> None:
    target.deliver("r0", rows(0))
    small: dict[str, Any] = {"options": {"target_file_bytes": 500}}
    ready = []
    for run in range(6):
        writer = target.writer(**small)
        staged = target.stage(writer, f"r{run + 1}", rows(*range(run * 1000, run * 1000 + 1000)), rows(-1))
        ready.append((writer, staged, target.record(writer, f"r{run + 1}", staged)))

    def commit(one: Any) -> str:
        writer, staged, record = one
        try:
            return str(writer.commit(staged, record).run_id)
        except CommitConflictError as error:
            return f"lost to {error.details['winner']}"
        finally:
            writer.close()

    with ThreadPoolExecutor(6) as pool:
        said = sorted(pool.map(commit, ready))
    winner = next(word for word in said if word.startswith("r"))
    assert said == [f"lost to {winner}"] * 5 + [winner]
    assert target.glob() == target.own()
    assert len(target.glob()) == 1002


def test_every_file_of_a_run_is_in_its_own_staging_folder(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = []
    open_file = ParquetWriter.open_file

    def watched(writer: ParquetWriter, path: str, schema: Any) -> Any:
        paths.append(Path(path))
        return open_file(writer, path, schema)

    monkeypatch.setattr(ParquetWriter, "open_file", watched)
    target.deliver("r1", rows(1), rows(2))
    assert len(paths) == 3, "two parts and what they are joined to"
    assert all(path.is_relative_to(target.root) for path in paths)


@pytest.mark.parametrize("lost", ["answer", "request"])
def test_a_put_without_an_answer_is_looked_for(target: Target, monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    target.deliver("r1", rows(1))
    writer = target.writer()
    staged = target.stage(writer, "r2", rows(2))
    record = target.record(writer, "r2", staged)
    put = remote.RemoteFiles.put

    def late(files: Any, uri: str, data: bytes, **more: Any) -> bool:
        monkeypatch.setattr(remote.RemoteFiles, "put", put)
        if lost == "answer":
            put(files, uri, data, **more)
        raise TransientError("the connection broke")

    monkeypatch.setattr(remote.RemoteFiles, "put", late)
    assert commit_once(writer, staged, record).seq == 2
    writer.close()
    assert target.glob() == target.own() == [1, 2]


def test_many_objects_are_seen_whole_by_their_record_and_leftovers_are_removed(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    small: dict[str, Any] = {"options": {"target_file_bytes": 2000}}
    many = [rows(*range(at, at + 2000)) for at in (0, 2000)]
    commit = target.deliver("r1", *many, **small)
    assert len(commit.files) > 1
    assert target.glob() == target.own() == list(range(4000))

    def dies(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    writer = target.writer(**small)
    staged = target.stage(writer, "r2", *many)
    with monkeypatch.context() as patch:
        patch.setattr(ObjectWriter, "_swap", dies)
        patch.setattr(remote.RemoteFiles, "delete", dies)  # as one that is killed
        with pytest.raises(KeyboardInterrupt):
            writer.commit(staged, target.record(writer, "r2", staged))
    assert target.own() == list(range(4000))
    assert len(target.glob()) > 4000

    def maintain(**more: Any) -> int:
        return target.writer().maintain(MaintainRequest("j", "m", **more)).orphans

    assert maintain() == 0, "a run of that sequence may still commit"
    target.deliver("r3", rows(-1))
    before = maintain(dry_run=True)
    assert before == maintain() > 0
    assert target.glob() == target.own() == [-1, *range(4000)]


def test_an_overwritten_table_is_one_object_replaced_in_place(target: Target) -> None:
    for run in (1, 2, 3):
        commit = target.deliver(f"r{run}", rows(run, run * 10), mode="overwrite")
        assert commit.seq == run
        assert target.names() == [f"{1:020d}.parquet"]
        assert target.glob() == target.own() == [run, run * 10]
    one, two = target.writer(mode="overwrite"), target.writer(mode="overwrite")
    first, second = target.stage(one, "one", rows(1)), target.stage(two, "two", rows(2))
    late = target.record(two, "two", second)
    one.commit(first, target.record(one, "one", first))
    with pytest.raises(CommitConflictError, match="run one committed sequence 4"):
        two.commit(second, late)
    assert target.glob() == [1]


def test_what_can_not_be_exact_is_refused_with_the_way_out(target: Target) -> None:
    for mode in ("overwrite", "merge"):
        with pytest.raises(ConfigurationError, match="can't change the partitions") as caught:
            target.writer(partition_by=("v",), mode=mode, keys=("v",))
        assert "iceberg" in (caught.value.hint or "")
    target.deliver("r1", rows(1))
    for mode in ("overwrite", "merge"):
        with pytest.raises(ConfigurationError, match="made by appending"):
            target.deliver("r2", rows(2), mode=mode, keys=("v",))
    with pytest.raises(ConfigurationError, match="is not divided into partitions"):
        target.deliver("r2", rows(2), partition_by=("v",))
    other = Target(target.connection, target.root)
    other.deliver("r1", rows(1), mode="overwrite")
    with pytest.raises(ConfigurationError, match="can't be appended to"):
        other.deliver("r2", rows(2))
    small = {"target_file_bytes": 2000}
    for mode in ("overwrite", "merge"):
        with pytest.raises(
            ConfigurationError, match=rf"{mode} makes .* one object, and this one would be of"
        ) as caught:
            other.deliver("r3", *[rows(*range(n, n + 4000)) for n in (0, 4000)], mode=mode, keys=("v",), options=small)
        assert "delta" in (caught.value.hint or "")
    assert target.glob() == other.glob() == [1]
    assert len(target.names()) == len(other.names()) == 1, "nothing was uploaded"


def keyed(**values: int | None) -> pa.Table:
    """{key: v}; None: a deleted one."""
    columns = {"k": list(values), "v": [value or 0 for value in values.values()]}
    return pa.table({**columns, "gone": [value is None for value in values.values()]})


def test_rows_are_merged_by_key_into_the_one_object(target: Target) -> None:
    merge: dict[str, Any] = {"mode": "merge", "keys": ("k",), "options": {"delete_column": "gone"}}

    def deliver(run: str, *parts: pa.Table, **options: Any) -> Commit:
        return target.deliver(run, *parts, **{**merge, "options": {**merge["options"], **options}})

    deliver("r1", keyed(a=1, b=2), keyed(c=3))
    assert target.names() == [f"{1:020d}.parquet"]
    assert target.glob() == target.own() == [1, 2, 3]
    commit = deliver("r2", keyed(b=20, d=4), keyed(a=None, d=40))
    assert commit.details["merge"] == {"superseded": 1, "deleted": 1}
    assert target.names() == [f"{1:020d}.parquet"]
    assert target.glob() == target.own() == [3, 20, 40]
    with pytest.raises(ValidationError, match="have the key"):
        deliver("r3", keyed(b=1), keyed(b=2), duplicate_keys="error")
    deliver("r4")
    assert target.glob() == target.own() == [3, 20, 40]
    deliver("r5", keyed(b=None, c=None, d=None))
    assert target.glob() == target.own() == []
    deliver("r6", keyed(z=1))
    assert target.glob() == target.own() == [1]
    writer = target.writer(**merge)
    assert [(commit.seq, commit.run_id) for commit in writer.history()] == [
        (seq, run) for seq, run in enumerate(("r1", "r2", "r4", "r5", "r6"), 1)
    ]
    found = writer.commit_of("r2")
    assert found is not None and found.seq == 2


def test_of_merges_that_race_one_wins(target: Target) -> None:
    merge: dict[str, Any] = {"mode": "merge", "keys": ("k",)}
    target.deliver("r0", keyed(a=1).drop_columns(["gone"]), **merge)
    writers = [target.writer(**merge) for _ in range(4)]
    staged = [
        target.stage(writer, f"r{at}", keyed(**{"a": at * 10, f"k{at}": at}).drop_columns(["gone"]))
        for at, writer in enumerate(writers, 1)
    ]
    records = [target.record(w, f"r{at}", item) for at, (w, item) in enumerate(zip(writers, staged, strict=True), 1)]

    def commit(at: int) -> int:
        try:
            commit_once(writers[at], staged[at], records[at])
            return at + 1
        except CommitConflictError:
            return 0

    with ThreadPoolExecutor(4) as pool:
        won = sorted(pool.map(commit, range(4)))
    assert won[:3] == [0, 0, 0] and won[3] > 0
    assert target.glob() == target.own() == [won[3], won[3] * 10]


def test_rows_are_added_to_partitions_and_the_record_comes_last(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    divided: dict[str, Any] = {"partition_by": ("day", "place")}
    days = pa.table({"v": [1, 2, 3, 4], "day": ["mon", "tue", "mon", None], "place": ["a/b %", "x", "a/b %", "x"]})
    commit = target.deliver("r1", days, days.slice(0, 1), **divided)
    assert {name.rpartition("/")[0] for name in target.names()} == {
        "day=mon/place=a%2Fb %25",
        "day=tue/place=x",
        "day=__HIVE_DEFAULT_PARTITION__/place=x",
    }
    assert len(commit.files) == 3, "of two workers' files of a partition one is made"
    assert target.names("t.commits") == [f"{1:020d}.json"]
    assert target.glob() == target.own() == [1, 1, 2, 3, 4]
    target.deliver("r2", days, **divided)
    assert target.glob() == target.own() == sorted([1, 1, 2, 3, 4] + [1, 2, 3, 4])

    def dies(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    writer = target.writer(**divided)
    staged = target.stage(writer, "r3", days)
    with monkeypatch.context() as patch:
        patch.setattr(ObjectWriter, "_swap", dies)
        patch.setattr(remote.RemoteFiles, "delete", dies)
        with pytest.raises(KeyboardInterrupt):
            writer.commit(staged, target.record(writer, "r3", staged))
    writer.close()
    assert len(target.own()) == 9 and len(target.glob()) == 13
    target.deliver("r4", days.slice(0, 1), **divided)
    assert target.writer(**divided).maintain(MaintainRequest("j", "m")).orphans == 3
    assert target.glob() == target.own() == sorted([1, 1, 2, 3, 4] + [1, 2, 3, 4] + [1])
    assert [commit.run_id for commit in target.writer(**divided).history()] == ["r1", "r2", "r4"]
    with pytest.raises(ConfigurationError, match="is divided into partitions"):
        target.deliver("r5", rows(1))


def test_a_commit_of_too_many_objects_is_refused_before_one_is_put(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_writer, "MAX_OBJECTS", 3)
    with pytest.raises(ConfigurationError, match="would be 4 objects") as caught:
        target.deliver("r1", rows(1, 2, 3, 4), partition_by=("v",))
    assert "fewer partitions" in (caught.value.hint or "")
    assert target.names() == []


SERVER = """
import sys
from tests.faults.store import Store
with Store("never") as store:
    print(store.port, flush=True)
    for way in sys.stdin:
        store.arm(way.strip())
        print("told", flush=True)
"""


def test_a_store_that_does_not_keep_to_conditions_is_refused(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as server:
        to, answers = server.stdin, server.stdout
        assert to is not None and answers is not None

        def tell(way: str) -> None:
            print(way, file=to, flush=True)
            answers.readline()

        lax = Target({"endpoint": f"http://127.0.0.1:{int(answers.readline())}", **KEYS}, tmp_path)
        tell("lax")
        for mode in ("append", "overwrite"):
            with pytest.raises(ConfigurationError, match="in place of another") as caught:
                lax.deliver("r1", rows(1), mode=mode)
            assert caught.value.error_code == "UNSAFE_STORE"
        tell("pass")
        lax.deliver("r1", rows(1))
        there = [meta["path"] for page in obstore.list(lax.store) for meta in page]
        assert there == [f"{lax.prefix}/t/{1:020d}.parquet"], "the probes are gone"
        to.close()
        answers.read()


def test_objects_of_somebody_else_are_told_at_the_first_run_and_by_maintain(target: Target) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(rows(99), sink)

    def put(name: str) -> str:
        obstore.put(target.store, f"{target.prefix}/t/{name}", sink.getvalue().to_pybytes())
        return f"{target.prefix}/t/{name}"

    stray = put("extra/mine.parquet")
    with pytest.raises(ConfigurationError, match=r"no commit describes \(such as .*extra/mine"):
        target.deliver("r1", rows(1))
    obstore.delete(target.store, stray)
    put("_logs/x.parquet")
    target.deliver("r1", rows(1))
    put("extra/mine.parquet")
    with pytest.raises(ValidationError, match=r"extra/mine.parquet is of no commit") as caught:
        target.writer().maintain(MaintainRequest("j", "m"))
    assert caught.value.error_code == "FOREIGN_FILE"
    obstore.delete(target.store, stray)
    for run in ("r2", "r3", "r4"):
        target.deliver(run, rows(2))
    obstore.delete(target.store, f"{target.prefix}/t/{3:020d}.parquet")
    for ask in (lambda: target.writer().maintain(MaintainRequest("j", "m")), lambda: target.writer().history()):
        with pytest.raises(ValidationError, match=r"commit 3 of .* is missing"):
            ask()


def test_an_object_of_somebody_else_is_a_typed_error(target: Target) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(rows(1), sink)
    for data in (sink.getvalue().to_pybytes(), b"no parquet at all"):
        obstore.put(target.store, f"{target.prefix}/t/{1:020d}.parquet", data)
        with pytest.raises(ValidationError, match="no commit record") as caught:
            target.writer().last_commit()
        assert "hush-hush" not in str(caught.value)


def test_rejected_rows_are_beside_the_table_and_go_with_a_lost_race(target: Target) -> None:
    writers = [target.writer(), target.writer()]
    ready = []
    for number, writer in enumerate(writers):
        staged = target.stage(writer, f"r{number}", rows(number))
        staged += target.stage(writer, f"r{number}", rows(9), kind="quarantine")
        ready.append((staged, target.record(writer, f"r{number}", staged, rows_read=2, rows_rejected=1)))
    commit = writers[0].commit(*ready[0])
    with pytest.raises(CommitConflictError):
        writers[1].commit(*ready[1])
    assert [uri.partition("t.quarantine/")[2] for uri in commit.quarantine] == target.names("t.quarantine")


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_rejected_rows_of_a_dead_run_go_once_a_newer_commit_has_its_sequence(
    target: Target, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    def deliver(run: str) -> Commit:
        writer = target.writer(mode=mode)
        staged = target.stage(writer, run, rows(1)) + target.stage(writer, run, rows(9), kind="quarantine")
        return writer.commit(staged, target.record(writer, run, staged, rows_read=2, rows_rejected=1))

    def maintain(**more: Any) -> int:
        return target.writer(mode=mode).maintain(MaintainRequest("j", "m", **more)).orphans

    def dies(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    deliver("r1")
    with monkeypatch.context() as patch:
        patch.setattr(ObjectWriter, "_swap", dies)
        patch.setattr(remote.RemoteFiles, "delete", dies)  # as one that is killed
        with pytest.raises(KeyboardInterrupt):
            deliver("r2")
    assert (maintain(), len(target.names("t.quarantine"))) == (0, 2), "a run of that sequence may still commit"
    deliver("r3")
    deliver("r4")
    assert (maintain(dry_run=True), maintain(), maintain()) == (1, 1, 0)
    named = [
        uri.partition("t.quarantine/")[2] for done in target.writer(mode=mode).history() for uri in done.quarantine
    ]
    assert target.names("t.quarantine") == named and len(named) == 3


@pytest.mark.parametrize("pairs", [0, 1, 13, 14, 15, 40])
@pytest.mark.parametrize("columns", [1, 40])
def test_a_footer_takes_a_pair_and_keeps_the_rest(pairs: int, columns: int) -> None:
    known = {f"k{at}": "v" * at for at in range(pairs)}
    table = pa.table({f"c{at}": [at, None] for at in range(columns)}).replace_schema_metadata(known)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, store_schema=pairs != 0, row_group_size=1)
    value = "ü" * 5000
    first = with_metadata(sink.getvalue().to_pybytes(), "dativo", "before")
    found = pq.ParquetFile(pa.BufferReader(with_metadata(first, "dativo", value)))
    metadata = dict(found.metadata.metadata)
    assert metadata.pop(b"dativo").decode() == value
    metadata.pop(b"ARROW:schema", None)
    assert metadata == {key.encode(): text.encode() for key, text in known.items()}
    assert found.read().equals(table)
    assert found.metadata.created_by.startswith("parquet-cpp")


@pytest.mark.parametrize("plugin", ["parquet", "rust_parquet"])
def test_a_job_writes_appends_and_keeps_its_cursor(target: Target, plugin: str) -> None:
    root = target.root / "project"
    (root / "jobs").mkdir(parents=True)
    (root / "dativo.yaml").write_text(f"connections:\n  lake: {json.dumps(target.connection)}\n")
    path = f"s3://lake/{target.prefix}/t"
    (root / "jobs" / "j.yaml").write_text(
        "source: {reader: csv, files: [a.csv], incremental: {strategy: append, cursor_field: v}}\n"
        f"target: {{writer: {plugin}, path: '{path}', connection: lake, mode: append}}\n"
        "schema: [{name: v, type: int64, max: 50}]\non_violation: quarantine\n"
    )
    command = [str(Path(sys.executable).with_name("dativo")), "run", "j", "--json"]
    for rows_now, written, rejected in (("1\n2\n99\n", 2, 1), ("1\n2\n99\n99\n3\n100\n", 1, 2)):
        (root / "a.csv").write_text("v\n" + rows_now)
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        (result,) = json.loads(done.stdout)
        assert (result["rows_written"], result["rows_rejected"]) == (written, rejected)
        assert len(result["files"]) == 1
    assert target.glob() == target.own() == [1, 2, 3]
