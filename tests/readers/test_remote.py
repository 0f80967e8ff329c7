"""Files by URI, from a real S3 server and a real web server on this machine."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

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
    ReadRequest,
    SourceConfig,
    TransientError,
    remote,
)
from dativo_plugin_sdk.remote import RemoteFiles
from obstore.store import S3Store

from dativo_assets.readers.csv import CsvReader
from dativo_assets.readers.json import JsonReader
from dativo_assets.readers.parquet import ParquetReader

TEXT = b"id,name\n" + b"".join(b"%d,name %d\n" % (number, number) for number in range(2000))
KEYS = {"region": "us-east-1", "access_key_id": "test", "secret_access_key": "hush-hush"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        assert server.stdout is not None
        line = next((line for line in server.stdout if "Running on http://127.0.0.1:" in line), "")
        assert line, "the server ended"
        rest = threading.Thread(target=server.stdout.read)  # a full pipe would stop it
        rest.start()
        yield line.rpartition("Running on ")[2].strip()
        server.terminate()
        rest.join()


@pytest.fixture(scope="module")
def bucket(endpoint: str) -> S3Store:
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/lake", method="PUT")).close()
    store = S3Store("lake", endpoint=endpoint, **KEYS, client_options={"allow_http": True})
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


def rows(reader: type[Any], endpoint: str, *files: str, **options: Any) -> list[dict[str, Any]]:
    made = reader(SourceConfig(reader="r", files=files, connection={"endpoint": endpoint, **KEYS}, options=options))
    plan = made.plan(ReadRequest())
    return [row for split in plan.splits for batch in made.read(split) for row in batch.to_pylist()]


def test_files_are_found_by_name_by_pattern_and_by_folder(bucket: S3Store, endpoint: str) -> None:
    one = [{"id": 7, "name": "seven"}]
    assert len(rows(CsvReader, endpoint, "s3://lake/in/a.csv")) == 2000
    assert rows(CsvReader, endpoint, "s3://lake/in/deep/c d.csv") == one
    assert rows(CsvReader, endpoint, "s3://lake/in/deep/c*.csv") == one
    assert len(rows(CsvReader, endpoint, "s3://lake/in/*.csv")) == 2000
    assert len(rows(CsvReader, endpoint, "s3://lake/in/**/*.csv*")) == 4001
    assert len(rows(CsvReader, endpoint, "s3://lake/in/")) == 4001
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
    with files.open("s3://lake/grows.csv") as file:
        assert file.read(500) == TEXT[:500]
        obstore.put(bucket, "grows.csv", TEXT + b"1,2\n")
        with pytest.raises(TransientError, match="changed while it was read"):
            file.read()


def test_any_part_of_a_file_is_read(bucket: S3Store, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "BLOCK_BYTES", 777)
    with RemoteFiles({"endpoint": endpoint, **KEYS}).open("s3://lake/in/a.csv") as file:
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


class Web(BaseHTTPRequestHandler):
    """A web server with ranges, as those that serve files are."""

    protocol_version = "HTTP/1.1"
    files: ClassVar[dict[str, bytes]] = {"/a.csv": TEXT, "/a.csv.gz": gzip.compress(TEXT)}

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        path, _, query = self.path.partition("?")
        body = self.files.get(path)
        allowed = query == "signature=hush-hush" or self.headers.get("Authorization") == "Bearer hush-hush"
        if body is None or not allowed:
            self.send_response(404 if body is None else 403)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start, end, status = 0, len(body), 200
        if wanted := self.headers.get("Range"):
            first, last = wanted.removeprefix("bytes=").split("-")
            start, end, status = int(first), min(int(last) + 1, len(body)), 206
        self.send_response(status)
        self.send_header("Content-Length", str(end - start))
        self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
        self.send_header("ETag", f'"{len(body)}"')
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(body)}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[start:end])

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
@pytest.mark.parametrize("how", ["query", "header"])
def test_a_web_servers_files_are_read_and_secrets_stay_out_of_the_plan(web: str, name: str, how: str) -> None:
    uri = f"{web}/{name}" + ("?signature=hush-hush" if how == "query" else "")
    credentials = {} if how == "query" else {"headers": {"Authorization": "Bearer hush-hush"}}
    made = CsvReader(SourceConfig(reader="csv", files=(uri,), credentials=credentials))
    plan = made.plan(ReadRequest())
    assert "hush" not in str([split.to_dict() for split in plan.splits])
    assert sum(batch.num_rows for split in plan.splits for batch in made.read(split)) == 2000


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/none.csv?signature=hush-hush", ConnectionError), ("/a.csv?signature=hush", AuthenticationError)],
)
def test_a_web_servers_refusal_is_told_without_the_signature(web: str, path: str, kind: type[DativoError]) -> None:
    made = CsvReader(SourceConfig(reader="csv", files=(web + path,)))
    with pytest.raises(kind) as caught:
        made.plan(ReadRequest())
    assert "hush" not in str(caught.value.to_dict())


def test_a_web_server_can_not_list(web: str) -> None:
    with pytest.raises(ConfigurationError, match="can't list") as caught:
        CsvReader(SourceConfig(reader="csv", files=(f"{web}/*.csv?signature=hush-hush",))).plan(ReadRequest())
    assert "hush" not in str(caught.value.to_dict())
