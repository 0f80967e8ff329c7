"""examples/json_api against a server of that API on this machine: pages, a token, answers that ask for patience."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.s3 import SECRET, s3_server, store_of

from .conftest import Folder, copy_example

USERS = [{"id": n, "email": f"{n}@example.org", "address": {"city": f"town {n % 7}"}} for n in range(250)]
ROWS = [{"id": user["id"], "email": user["email"], "address_city": user["address"]["city"]} for user in USERS]


class Api(ThreadingHTTPServer):
    """Refuses every third request with 429, and all without the token."""

    daemon_threads = True
    requests = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answer(BaseHTTPRequestHandler):
    server: Api

    def do_GET(self) -> None:
        self.server.requests += 1
        if self.headers["Authorization"] != "Bearer t0ken":
            return self._send(401, {})
        if self.server.requests % 3 == 0:
            return self._send(429, {})
        query = parse_qs(urlsplit(self.path).query)
        page, size = int(query["page"][0]), int(query["size"][0])
        more = page * size < len(USERS)
        return self._send(200, {"items": USERS[(page - 1) * size : page * size], "next": page + 1 if more else None})

    def _send(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", "0.01")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture
def api() -> Iterator[Api]:
    with Api(("127.0.0.1", 0), Answer) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def project(tmp_path: Path) -> Folder:
    return copy_example("json_api", tmp_path / "json_api")


def test_every_page_lands_as_gzipped_lines_once(api: Api, project: Folder) -> None:
    result = project.run("users_files", API_URL=api.url, API_TOKEN="t0ken")["users_files"]
    assert (result["rows_written"], result["attempts"]) == (250, 1)
    assert api.requests > 3
    lines = [line for name in result["files"] for line in gzip.decompress(Path(name).read_bytes()).splitlines()]
    assert sorted((json.loads(line) for line in lines), key=lambda user: user["id"]) == ROWS


@pytest.fixture(scope="module")
def bucket() -> Iterator[dict[str, str]]:
    with s3_server() as connection:
        yield connection


def environment(api: Api, bucket: dict[str, str]) -> dict[str, str]:
    keys = {"AWS_ACCESS_KEY_ID": bucket["access_key_id"], "AWS_SECRET_ACCESS_KEY": SECRET}
    return {"API_URL": api.url, "API_TOKEN": "t0ken", "S3_ENDPOINT": bucket["endpoint"], **keys}


def test_each_file_is_uploaded_once_however_often_it_runs(api: Api, bucket: dict[str, str], project: Folder) -> None:
    for _ in range(2):
        result = project.run("users_s3", **environment(api, bucket))["users_s3"]
        assert len(result["files"]) == 3
    store = store_of(bucket)
    objects = [item["path"] for items in store.list("users") for item in items]
    lines = [line for path in objects for line in gzip.decompress(store.get(path).bytes()).splitlines()]
    assert len(objects) == 3
    assert sorted((json.loads(line) for line in lines), key=lambda user: user["id"]) == ROWS


def test_an_upload_that_fails_leaves_no_commit_and_tells_no_secret(
    api: Api, bucket: dict[str, str], project: Folder
) -> None:
    job = project.root / "jobs" / "users_s3.yaml"
    job.write_text(job.read_text().replace("s3://lake/", "s3://nowhere/"))
    done = project.dativo("run", "users_s3", "--no-retry", **environment(api, bucket))
    assert done.returncode == 2 and "s3://nowhere/users" in done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert list(project.root.glob("warehouse/users_s3/*")) == []


@pytest.mark.skipif(find_spec("dativo_rust_parquet") is None, reason="no cargo built the native plugins")
def test_a_reader_in_python_and_the_native_writer_share_a_job(api: Api, project: Folder) -> None:
    project.run("users", API_URL=api.url, API_TOKEN="t0ken")
    assert project.table("users").sort("id").to_dicts() == ROWS


def test_a_token_that_is_refused_is_told_and_never_shown(api: Api, project: Folder) -> None:
    done = project.dativo("run", "users_files", API_URL=api.url, API_TOKEN="wrong-t0ken")
    assert done.returncode == 2
    assert "the API refuses the token" in done.stdout + done.stderr and "check API_TOKEN" in done.stdout + done.stderr
    assert "wrong-t0ken" not in done.stdout + done.stderr
    assert list(project.root.glob("warehouse/users_files/*")) == []
