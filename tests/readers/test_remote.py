"""Files by URI, from a real S3 server and a real web server on this machine."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dativo_plugin_sdk import (
    AuthenticationError,
    ConfigurationError,
    ConnectionError,
    DativoError,
    Incremental,
    RateLimitError,
    ReadPlan,
    ReadRequest,
    SourceConfig,
    TransientError,
    remote,
    wrap_exception,
)
from dativo_plugin_sdk.remote import RemoteFiles
from obstore.store import S3Store

from dativo_assets.readers.csv import CsvReader
from dativo_assets.readers.json import JsonReader
from dativo_assets.readers.parquet import ParquetReader
from tests.s3 import KEYS, s3_server, store_of
from tests.web import Web, web_server

TEXT = b"id,name\n" + b"".join(b"%d,name %d\n" % (number, number) for number in range(2000))


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as connection:
        yield connection["endpoint"]


@pytest.fixture(scope="module")
def bucket(endpoint: str) -> S3Store:
    store = store_of({"endpoint": endpoint, **KEYS})
    for name, body in {
        "in/a.csv": TEXT,
        "in/deep/b.csv.gz": gzip.compress(TEXT),
        "in/deep/c d.csv": b"id,name\n7,seven\n",
        "in/notes.md": b"no data",
        "in/rows.jsonl": b'{"id": 1}\n{"id": 2}\n',
    }.items():
        obstore.put(store, name, body)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": range(1000)}), sink, row_group_size=100)
    obstore.put(store, "in/x.parquet", sink.getvalue().to_pybytes())
    return store


def csv_reader(name: str) -> type[Any]:
    if name == "csv":
        return CsvReader
    from dativo_rust_csv import RustCsvReader  # not there without cargo

    return RustCsvReader


both = pytest.mark.parametrize("name", ["csv", "rust_csv"])


def rows_of(made: Any, plan: ReadPlan) -> list[dict[str, Any]]:
    streams = [made.read(split) for split in plan.splits]
    batches = [pa.RecordBatchReader.from_stream(s) if hasattr(s, "__arrow_c_stream__") else s for s in streams]
    try:
        return [row for stream in batches for batch in stream for row in batch.to_pylist()]
    except pa.ArrowInvalid as error:
        raise wrap_exception(error) from error


def rows(reader: type[Any], endpoint: str, *files: str, **options: Any) -> list[dict[str, Any]]:
    made = reader(SourceConfig(reader="r", files=files, connection={"endpoint": endpoint, **KEYS}, options=options))
    return rows_of(made, made.plan(ReadRequest()))


@both
def test_files_are_found_by_name_by_pattern_and_by_folder(bucket: S3Store, endpoint: str, name: str) -> None:
    reader = csv_reader(name)
    one = [{"id": 7, "name": "seven"}]
    assert len(rows(reader, endpoint, "s3://lake/in/a.csv")) == 2000
    assert rows(reader, endpoint, "s3://lake/in/deep/c d.csv") == one
    assert rows(reader, endpoint, "s3://lake/in/deep/c*.csv") == one
    assert len(rows(reader, endpoint, "s3://lake/in/*.csv")) == 2000
    assert len(rows(reader, endpoint, "s3://lake/in/**/*.csv*")) == 4001
    assert len(rows(reader, endpoint, "s3://lake/in/")) == 4001


def test_json_and_parquet_are_read_too(bucket: S3Store, endpoint: str) -> None:
    assert rows(JsonReader, endpoint, "s3://lake/in/rows.jsonl") == [{"id": 1}, {"id": 2}]
    assert [row["id"] for row in rows(ParquetReader, endpoint, "s3://lake/in/x.parquet")] == list(range(1000))


def test_the_cursor_knows_what_was_read(bucket: S3Store, endpoint: str) -> None:
    obstore.put(bucket, "new/1.csv", b"id\n1\n")
    config = SourceConfig(
        reader="csv",
        files=("s3://lake/new/*.csv",),
        connection={"endpoint": endpoint, **KEYS},
        incremental=Incremental(strategy="file"),
    )
    first = CsvReader(config).plan(ReadRequest())
    assert [split.id for split in first.splits] == ["s3://lake/new/1.csv"]
    assert CsvReader(config).plan(ReadRequest(cursor=first.cursor)).unchanged
    assert CsvReader(config).probe(first.cursor) is None
    obstore.put(bucket, "new/2.csv", b"id\n2\n")
    assert (CsvReader(config).probe(first.cursor) or "").startswith("1:s3://lake/new/2.csv:")
    then = CsvReader(config).plan(ReadRequest(cursor=first.cursor))
    assert [split.id for split in then.splits] == ["s3://lake/new/2.csv"]


def test_what_changes_while_it_is_read_is_noticed(
    bucket: S3Store, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "BLOCK_BYTES", 1000)
    obstore.put(bucket, "grows.csv", TEXT)
    files = RemoteFiles({"endpoint": endpoint, **KEYS})
    with files.open(files.stat("s3://lake/grows.csv")) as file:
        assert file.read(500) == TEXT[:500]
        obstore.put(bucket, "grows.csv", TEXT + b"1,2\n")
        with pytest.raises(TransientError, match="changed while it was read"):
            file.read()


def test_any_part_of_a_file_is_read(bucket: S3Store, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "BLOCK_BYTES", 777)
    files = RemoteFiles({"endpoint": endpoint, **KEYS})
    with files.open(files.stat("s3://lake/in/a.csv")) as file:
        assert file.read() == TEXT
        assert file.seek(-5, 2) == len(TEXT) - 5
        assert file.read() == TEXT[-5:]
        file.seek(1234)
        assert (file.read(3000), file.tell()) == (TEXT[1234:4234], 4234)


@pytest.mark.parametrize(
    ("uri", "connection", "kind", "words"),
    [
        ("s3://lake/none.csv", {}, ConfigurationError, "no file|does not exist"),
        ("s3://nowhere/a.csv", {}, DativoError, "nowhere"),
        ("s3://lake/in/a.csv", {"no_such_key": "x"}, ConfigurationError, "can't be set up"),
    ],
)
def test_what_can_not_be_read_is_told_without_secrets(
    bucket: S3Store, endpoint: str, uri: str, connection: dict[str, str], kind: type[DativoError], words: str
) -> None:
    made = CsvReader(SourceConfig(reader="csv", files=(uri,), connection={"endpoint": endpoint, **KEYS, **connection}))
    with pytest.raises(kind, match=words) as caught:
        made.plan(ReadRequest())
    assert "hush" not in str(caught.value.to_dict())


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    Web.files |= {"/a.csv": TEXT, "/a.csv.gz": gzip.compress(TEXT)}
    with web_server() as address:
        yield address


@both
@pytest.mark.parametrize("file", ["a.csv", "a.csv.gz"])
@pytest.mark.parametrize("how", ["query", "header"])
def test_a_web_servers_files_are_read_and_secrets_stay_out_of_the_plan(
    web: str, name: str, file: str, how: str
) -> None:
    uri = f"{web}/{file}" + ("?signature=hush-hush" if how == "query" else "")
    credentials = {} if how == "query" else {"headers": {"Authorization": "Bearer hush-hush"}}
    made = csv_reader(name)(SourceConfig(reader="csv", files=(uri,), credentials=credentials))
    plan = made.plan(ReadRequest())
    assert "hush" not in str([split.to_dict() for split in plan.splits])
    assert len(rows_of(made, plan)) == 2000


@both
@pytest.mark.parametrize(
    ("path", "kind"),
    [("/none.csv?signature=hush-hush", ConnectionError), ("/a.csv?signature=hush", AuthenticationError)],
)
def test_a_web_servers_refusal_is_told_without_the_signature(
    web: str, name: str, path: str, kind: type[DativoError]
) -> None:
    made = csv_reader(name)(SourceConfig(reader="csv", files=(web + path,)))
    with pytest.raises(kind) as caught:
        made.plan(ReadRequest())
    assert "hush" not in str(caught.value.to_dict())


def test_a_web_server_can_not_list(web: str) -> None:
    with pytest.raises(ConfigurationError, match="can't list") as caught:
        CsvReader(SourceConfig(reader="csv", files=(f"{web}/*.csv?signature=hush-hush",))).plan(ReadRequest())
    assert "hush" not in str(caught.value.to_dict())


LINES = b"".join(b"%d,%s\n" % (number, b"some text " * 10) for number in range(1_000_000))


@pytest.mark.parametrize("name", ["rust_csv"])
def test_a_large_file_is_cut_where_it_is_and_comes_about_once(web: str, name: str) -> None:
    Web.files["/large.csv"] = b"id,text\n" + LINES
    made = csv_reader(name)(SourceConfig(reader=name, files=(f"{web}/large.csv?signature=hush-hush",)))
    plan = made.plan(ReadRequest(parallelism=2, guess=True))
    assert len(plan.splits) > 1
    ids = [pa.RecordBatchReader.from_stream(made.read(split)).read_all()["id"] for split in plan.splits]
    assert pa.chunked_array([chunk for column in ids for chunk in column.chunks]).to_pylist() == list(range(1_000_000))
    assert Web.sent["/large.csv"] < 1.5 * len(LINES)


@pytest.mark.parametrize("name", ["rust_csv"])
def test_a_large_file_with_lines_in_its_values_is_one_split(web: str, name: str) -> None:
    Web.files["/quoted.csv"] = b"id,text\n" + b'7,"a\nb"\n' + LINES
    made = csv_reader(name)(SourceConfig(reader=name, files=(f"{web}/quoted.csv?signature=hush-hush",)))
    plan = made.plan(ReadRequest(parallelism=2, guess=True))
    assert len(plan.splits) == 1
    assert pa.RecordBatchReader.from_stream(made.read(plan.splits[0])).read_all().num_rows == 1_000_001


@both
def test_an_answer_cut_short_is_asked_for_again_or_fails(web: str, name: str) -> None:
    Web.files["/cut.csv"] = TEXT
    made = csv_reader(name)(SourceConfig(reader=name, files=(f"{web}/cut.csv?signature=hush-hush",)))
    plan = made.plan(ReadRequest())
    Web.cut["/cut.csv"] = 1
    assert len(rows_of(made, plan)) == 2000
    Web.cut["/cut.csv"] = 1000
    try:
        with pytest.raises(TransientError):
            rows_of(made, plan)
    finally:
        Web.cut.clear()


@pytest.mark.parametrize(("status", "asked"), [(429, "7"), (503, "date"), (429, None)])
@pytest.mark.parametrize("scheme", ["http", "s3"])
def test_a_server_that_wants_fewer_requests_is_told_as_such(
    web: str, monkeypatch: pytest.MonkeyPatch, scheme: str, status: int, asked: str | None
) -> None:
    monkeypatch.setattr(remote, "_MAX_RETRIES", 0)
    soon = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=60), usegmt=True)
    monkeypatch.setattr(Web, "refusal", (status, soon if asked == "date" else asked))
    uri, connection = f"{web}/a.csv?signature=hush-hush", {}
    if scheme == "s3":
        uri, connection = "s3://lake/a.csv", {"endpoint": web, **KEYS}
    made = CsvReader(SourceConfig(reader="csv", files=(uri,), connection=connection))
    with pytest.raises(RateLimitError, match=str(status)) as caught:
        made.plan(ReadRequest())
    assert caught.value.retryable and "hush" not in str(caught.value.to_dict())
    wait_s = caught.value.details.get("retry_after_s")
    if scheme == "s3" or asked is None:
        assert wait_s is None
    else:
        assert wait_s == 7.0 if asked == "7" else 50 < wait_s <= 60


@both
def test_a_file_that_changes_after_it_was_planned_is_not_mixed(bucket: S3Store, endpoint: str, name: str) -> None:
    obstore.put(bucket, "replaced.csv", TEXT)
    source = SourceConfig(reader=name, files=("s3://lake/replaced.csv",), connection={"endpoint": endpoint, **KEYS})
    made = csv_reader(name)(source)
    plan = made.plan(ReadRequest())
    obstore.put(bucket, "replaced.csv", TEXT.replace(b"name", b"NAME"))
    with pytest.raises(DativoError, match="changed"):
        rows_of(made, plan)
