"""Tables of databases: DuckDB, SQLite and Postgres, each a real one."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from dativo_plugin_sdk import (
    AssetDefinition,
    AuthenticationError,
    Commit,
    CommitConflictError,
    ConfigurationError,
    ConnectionError,
    DativoError,
    MaintainRequest,
    TargetConfig,
    ValidationError,
    WriteRequest,
    WriteTask,
)
from dativo_plugin_sdk.sql_writer import COMMITS, SqlWriter
from typing_extensions import Self

from dativo_assets.state import commit_once
from dativo_assets.writers.duckdb import DuckdbWriter
from dativo_assets.writers.postgres import PostgresWriter
from dativo_assets.writers.sqlite import SqliteWriter

from .postgres import Server

KINDS: dict[str, type[SqlWriter]] = {"duckdb": DuckdbWriter, "sqlite": SqliteWriter, "postgres": PostgresWriter}

SOAK = bool(os.environ.get("DATIVO_SOAK"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("postgres")) as found:
        yield found


class Target:
    """One table; `deliver` is a whole run of it."""

    def __init__(self, kind: str, root: Path, connection: dict[str, Any]) -> None:
        self.kind, self.root, self.connection = kind, root, connection

    def writer(self, **more: Any) -> SqlWriter:
        path = None if self.kind == "postgres" else "x.db"
        config: dict[str, Any] = {"table": "t", "job": "j", **more}
        return KINDS[self.kind](
            AssetDefinition(name="j"),
            TargetConfig(writer=self.kind, root=str(self.root), path=path, connection=self.connection, **config),
        )

    def stage(
        self, writer: SqlWriter, run: str, *tables: pa.Table, kind: str = "data", cursor: str | None = None
    ) -> Any:
        mode, keys = writer.target_config.mode, writer.target_config.keys
        writer.open(WriteRequest("j", run, 0, mode=mode, keys=keys, cursor_field=cursor))
        done = []
        for index, table in enumerate(tables):
            split = writer.writer(WriteTask(index, kind, table.schema))  # type: ignore[arg-type]
            for batch in table.to_batches():
                split.write(batch)
            done.extend(split.finish())
        return done

    def deliver(self, run: str, *tables: pa.Table, cursor: str | None = None, **more: Any) -> Commit:
        writer = self.writer(**more)
        last = writer.last_commit()
        staged = self.stage(writer, run, *tables, cursor=cursor)
        seq = 1 if last is None else last.seq + 1
        text = {f.name: str(f.type) for f in tables[0].schema}
        record = Commit(job="j", seq=seq, run_id=run, mode=writer.target_config.mode, schema_text=text)
        return writer.commit(staged, record)

    def rows(self, what: str = "SELECT * FROM t ORDER BY 1") -> list[tuple[Any, ...]]:
        writer = self.writer()
        with writer._connection() as connection:
            return [tuple(row) for row in writer.run(connection, what)]


@pytest.fixture(params=["duckdb", "sqlite", "postgres"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    if request.param != "postgres":
        return Target(request.param, tmp_path, {})
    found: Server = request.getfixturevalue("server")
    return Target("postgres", tmp_path, found.database())


def ids(*values: int) -> pa.Table:
    return pa.table({"id": pa.array(values, pa.int64())})


def test_appends_and_overwrites_are_visible_whole(target: Target) -> None:
    assert target.deliver("r1", ids(1), ids(2)).seq == 1
    assert target.deliver("r2", ids(3)).seq == 2
    assert target.rows() == [(1,), (2,), (3,)]
    target.deliver("r3", ids(7), mode="overwrite")
    assert target.rows() == [(7,)]
    assert [commit.run_id for commit in target.writer().history()] == ["r1", "r2", "r3"]
    assert not list(target.root.glob("**/*.arrow"))


def test_one_run_id_writes_once(target: Target) -> None:
    target.deliver("r1", ids(1))
    target.deliver("r2", ids(2))
    writer = target.writer()
    staged = target.stage(writer, "r1", ids(1))
    assert writer.commit(staged, Commit(job="j", seq=3, run_id="r1")).seq == 1
    assert target.rows() == [(1,), (2,)]


def test_of_two_runs_that_follow_one_commit_one_wins(target: Target) -> None:
    slow, fast = target.writer(), target.writer()
    first, second = target.stage(slow, "slow", ids(1)), target.stage(fast, "fast", ids(2))
    fast.commit(second, Commit(job="j", seq=1, run_id="fast"))
    with pytest.raises(CommitConflictError, match="run fast committed sequence 1"):
        slow.commit(first, Commit(job="j", seq=1, run_id="slow"))
    slow.abort()
    assert target.rows() == [(2,)]


def test_two_jobs_share_a_table_and_each_has_its_own_sequence(target: Target) -> None:
    target.deliver("r1", ids(1))
    writer = target.writer(job="other")
    assert writer.last_commit() is None
    staged = target.stage(writer, "o1", ids(2))
    with pytest.raises(CommitConflictError):
        writer.commit(staged, Commit(job="other", seq=2, run_id="o1"))
    assert writer.commit(staged, Commit(job="other", seq=1, run_id="o1")).seq == 1
    assert target.rows() == [(1,), (2,)]


def test_what_fails_in_the_transaction_leaves_nothing(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    target.deliver("r1", ids(1))
    writer = target.writer(mode="overwrite")
    staged = target.stage(writer, "r2", ids(2))

    def fails(*_: object) -> None:
        raise OSError("no")

    monkeypatch.setattr(writer, "_insert_record", fails)
    with pytest.raises(DativoError):
        writer.commit(staged, Commit(job="j", seq=2, run_id="r2", mode="overwrite"))
    assert target.rows() == [(1,)]
    assert target.rows(f"SELECT seq FROM {COMMITS}") == [(1,)]


def test_merge_takes_the_newest_row_of_a_key_and_leaves_a_newer_one_alone(target: Target) -> None:
    def rows(*values: tuple[int, str, int, bool | None]) -> pa.Table:
        names = ("id", "part", "version", "gone")
        types = (pa.int64(), pa.string(), pa.int64(), pa.bool_())
        return pa.table({n: pa.array(c, t) for n, t, c in zip(names, types, zip(*values, strict=True), strict=True)})

    merge: dict[str, Any] = {
        "mode": "merge",
        "keys": ("id", "part"),
        "options": {"delete_column": "gone"},
        "cursor": "version",
    }
    target.deliver("r1", rows((1, "a", 1, False), (1, "b", 5, None), (2, "a", 1, False)), **merge)
    done = target.deliver(
        "r2",
        rows((1, "a", 3, False), (1, "a", 2, False), (1, "b", 4, False), (2, "a", 2, True)),
        rows((3, "a", 1, False), (3, "a", 1, False), (4, "a", 1, True)),
        **merge,
    )
    assert target.rows("SELECT id, part, version FROM t ORDER BY 1, 2") == [(1, "a", 3), (1, "b", 5), (3, "a", 1)]
    assert done.details["merge"] == {"superseded": 2, "deleted": 2}
    assert "gone" not in target.writer().snapshot().schema_text or len(target.rows()[0]) == 3  # type: ignore[union-attr]


def test_a_merge_needs_its_keys(target: Target) -> None:
    with pytest.raises(ConfigurationError, match=r"needs target\.keys"):
        target.writer(mode="merge")
    with pytest.raises(ValidationError, match="'key', which is not a column"):
        target.deliver("r1", ids(1), mode="merge", keys=("key",))
    with pytest.raises(ValidationError, match="1 rows have no value in a key column"):
        target.deliver("r2", pa.table({"id": pa.array([1, None], pa.int64())}), mode="merge", keys=("id",))
    assert target.writer().last_commit() is None


def test_rejected_rows_land_beside_the_table(target: Target) -> None:
    writer = target.writer()
    bad = pa.table({"id": pa.array([9], pa.int64()), "rule": ["range"]})
    staged = target.stage(writer, "r1", ids(1))
    split = writer.writer(WriteTask(0, "quarantine", bad.schema))
    split.write(bad.to_batches()[0])
    record = writer.commit([*staged, *split.finish()], Commit(job="j", seq=1, run_id="r1"))
    assert record.quarantine == ("t_quarantine",)
    assert target.rows() == [(1,)]
    assert target.rows("SELECT * FROM t_quarantine") == [(9, "range", 1, "r1")]


UTC = dt.timezone.utc
VALUES: dict[str, tuple[pa.DataType, list[Any]]] = {
    "int8": (pa.int8(), [-128, 127]),
    "uint32": (pa.uint32(), [0, 2**32 - 1]),
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
}


@pytest.mark.parametrize("name", VALUES)
def test_every_value_comes_back(target: Target, name: str) -> None:
    data_type, values = VALUES[name]
    table = pa.table({"n": [1, 2, 3], "v": pa.array([*values, None], data_type)})
    target.deliver("r1", table)
    target.deliver("r2", table, mode="overwrite")
    found = [row[1] for row in target.rows()]
    if target.kind == "sqlite" and (pa.types.is_temporal(data_type) or pa.types.is_decimal(data_type)):
        assert found == pa.array([*values, None], data_type).cast(pa.string()).to_pylist()
    elif target.kind == "postgres" and name == "price":  # its driver tells numbers as text
        assert found == [*map(str, values), None]
    elif target.kind == "duckdb" and name == "instant":
        assert [None if v is None else v.astimezone(UTC) for v in found] == [*values, None]
    else:
        assert found == [*values, None]


def test_nested_values_are_there(target: Target) -> None:
    target.deliver("r1", pa.table({"n": [1], "v": [{"a": [1, 2], "b": "x"}]}))
    value = target.rows()[0][1]
    assert (value if target.kind == "duckdb" else json.loads(value)) == {"a": [1, 2], "b": "x"}


def test_columns_are_added_and_widened_as_the_job_allows(target: Target) -> None:
    target.deliver("r1", ids(1))
    wider = pa.table({"id": [2.5], "more": ["x"]})
    target.deliver("r2", wider)
    assert sorted(target.rows("SELECT id, more FROM t")) == [(1.0, None), (2.5, "x")]


def test_a_table_that_somebody_else_changed_is_refused(target: Target) -> None:
    target.deliver("r1", ids(1))
    target.rows("DROP TABLE t")
    with pytest.raises(ValidationError, match="is gone, though it holds commit 1"):
        target.deliver("r2", ids(2))
    target.rows("CREATE TABLE t (id TEXT)")
    with pytest.raises(ValidationError, match="column id of table t is"):
        target.deliver("r3", ids(2))
    target.deliver("r4", ids(2), mode="overwrite")
    assert target.rows() == [(2,)]


def test_a_record_that_can_not_be_read_is_told(target: Target) -> None:
    target.deliver("r1", ids(1))
    target.rows(f"UPDATE {COMMITS} SET record = '{{\"format_version\": 99}}'")
    with pytest.raises(ValidationError, match="newer version"):
        target.writer().last_commit()
    target.rows(f"UPDATE {COMMITS} SET record = '{{'")
    with pytest.raises(ValidationError, match="can't be read"):
        target.writer().last_commit()


def test_hostile_names_are_names(target: Target) -> None:
    name = 'x"; DROP TABLE t; -- ?'
    target.deliver("r1", ids(1))
    target.deliver("r2", pa.table({name: [1], "o'r": [2]}), table=name)
    assert target.rows() == [(1,)]
    assert target.rows('SELECT * FROM "x""; DROP TABLE t; -- ?"') == [(1, 2)]
    with pytest.raises(ConfigurationError):
        target.writer(table="a\0b")


RACE = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from writers.test_sql import Target, ids
from dativo_plugin_sdk import Commit, CommitConflictError
target = Target({kind!r}, Path({root!r}), {connection!r})
won = 0
for number in range({rounds}):
    while True:
        writer = target.writer()
        last = writer.last_commit()
        run = f"{{sys.argv[1]}}-{{number}}"
        staged = target.stage(writer, run, ids(int(sys.argv[1]) * 1000 + number))
        try:
            writer.commit(staged, Commit(job="j", seq=1 if last is None else last.seq + 1, run_id=run))
            break
        except CommitConflictError:
            writer.abort()
"""


def race(target: Target, who: int, rounds: int) -> subprocess.Popen[bytes]:
    code = RACE.format(
        tests=str(Path(__file__).parents[1]),
        kind=target.kind,
        root=str(target.root),
        connection=target.connection,
        rounds=rounds,
    )
    return subprocess.Popen([sys.executable, "-c", code, str(who)])


def test_processes_that_race_lose_and_double_nothing(target: Target) -> None:
    runners = [race(target, who, 10) for who in range(3)]
    assert [runner.wait(100) for runner in runners] == [0, 0, 0]
    assert target.rows() == [(who * 1000 + number,) for who in range(3) for number in range(10)]
    assert target.rows(f"SELECT seq FROM {COMMITS} ORDER BY seq") == [(seq,) for seq in range(1, 31)]


def test_kills_at_any_moment_leave_whole_commits(target: Target) -> None:
    for who in range(100 if SOAK else 3):
        runner = race(target, who, 1000)
        seen = len(target.writer().history())
        while len(target.writer().history()) < seen + 3:
            assert runner.poll() is None
        runner.kill()
        runner.wait()
    target.deliver("after", ids(-1))
    found = [row[0] for row in target.rows()]
    assert len(set(found)) == len(found) == len(target.rows(f"SELECT seq FROM {COMMITS}"))
    assert not list(target.root.glob("**/*.arrow")), "leftovers of dead runs"


def test_a_duckdb_file_that_another_process_holds_is_waited_for(tmp_path: Path) -> None:
    target = Target("duckdb", tmp_path, {})
    hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('up', flush=True); sys.stdin.readline()"
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path / "x.db")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    with pytest.raises(duckdb.IOException, match="lock"):
        duckdb.connect(str(tmp_path / "x.db"))
    assert holder.stdin is not None
    holder.stdin.write(b"\n")
    holder.stdin.flush()
    assert target.deliver("r1", ids(1)).seq == 1
    holder.communicate()


class Cutter:
    """Between a client and the server: once armed, the next COMMIT is delivered or not, and its answer never is."""

    def __init__(self, port: int) -> None:
        self._server = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.armed = ""
        self.cuts = 0
        self._sockets: list[socket.socket] = [self._listener]
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, work: Any, *arguments: Any) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments))
        self._threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                self._sockets += [client, server]
                self._start(self._pass_on, client, server, True)
                self._start(self._pass_on, server, client, False)

    def _pass_on(self, source: socket.socket, sink: socket.socket, asks: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if asks and self.armed and b"COMMIT" in data:
                    how, self.armed = self.armed, ""
                    self.cuts += 1
                    if how == "after":
                        sink.sendall(data)
                        sink.shutdown(socket.SHUT_WR)  # the server ends the session once it has done what it was sent
                    source.shutdown(socket.SHUT_RDWR)
                    if how == "before":
                        sink.shutdown(socket.SHUT_RDWR)
                    return
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for end in self._sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in self._sockets:
            end.close()


@pytest.mark.parametrize("how", ["before", "after"])
def test_a_connection_cut_at_the_commit_commits_once(server: Server, tmp_path: Path, how: str) -> None:
    with Cutter(server.port) as cutter:
        target = Target("postgres", tmp_path, {**server.database(), "port": cutter.port})
        target.deliver("r1", ids(1))
        for number in range(2, 7):
            writer = target.writer()
            staged = target.stage(writer, f"r{number}", ids(number))
            cutter.armed = how
            record = commit_once(writer, staged, Commit(job="j", seq=number, run_id=f"r{number}"))
            assert record.seq == number
        assert cutter.cuts == 5
        assert target.rows() == [(number,) for number in range(1, 7)]


def test_what_the_server_refuses_is_told_without_the_password(server: Server, tmp_path: Path) -> None:
    good = server.database()
    for wrong, kind, words in (
        ({"password": "hush-hush-wrong"}, AuthenticationError, "user and password"),
        ({"database": "nowhere"}, ConnectionError, "database"),
        ({"port": 1}, ConnectionError, "host, port"),
    ):
        with pytest.raises(kind) as caught:
            Target("postgres", tmp_path, {**good, **wrong}).writer().last_commit()
        assert "hush" not in str(caught.value.to_dict())
        assert words in str(caught.value.hint)


def test_maintain_gives_space_back_and_removes_what_dead_runs_left(target: Target) -> None:
    assert target.writer().maintain(MaintainRequest("j", "m0")).commit is None
    target.deliver("r1", ids(*range(20_000)))
    target.deliver("r2", ids(1), mode="overwrite")
    dead = target.writer()
    target.stage(dead, "dead", ids(2))
    dead._staging.leave()
    alive = target.writer()
    staged = target.stage(alive, "r3", ids(3))
    size = (target.root / "x.db").stat().st_size if target.kind == "sqlite" else None
    dead_left = dead._staging.root
    assert target.writer().maintain(MaintainRequest("j", "m1", dry_run=True)).notes == ()
    told = target.writer().maintain(MaintainRequest("j", "m2"))
    assert len(told.notes) == 1
    assert [path.name.partition(".")[0] for path in dead_left.iterdir()] == ["r3"]
    if size is not None:
        assert (target.root / "x.db").stat().st_size < size
    assert alive.commit(staged, Commit(job="j", seq=3, run_id="r3")).seq == 3, "a run that began before it"
    assert target.rows() == [(1,), (3,)]
    last = target.writer().last_commit()
    assert last is not None and last.run_id == "r3"


@pytest.mark.parametrize("target", ["sqlite", "postgres"], indirect=True)
def test_maintain_waits_for_nobody_for_long(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    from dativo_assets.writers import postgres, sqlite

    monkeypatch.setattr(sqlite, "_TIDY_S", 0.1)
    monkeypatch.setattr(postgres, "_TIDY_S", 0.1)
    target.deliver("r1", ids(1))
    with target.writer()._transaction() as busy:
        lock = (
            "LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE" if target.kind == "postgres" else "DELETE FROM t WHERE 1 = 0"
        )
        target.writer().run(busy, lock)
        (note,) = target.writer().maintain(MaintainRequest("j", "m")).notes
    assert note.startswith("left as it is: ")
    assert target.rows() == [(1,)]
