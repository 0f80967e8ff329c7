"""An S3 server of the tests, on this machine, and clients that reach it soon."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import certifi
from obstore.store import S3Store

SECRET = "hush-hush"
KEYS = {"region": "us-east-1", "access_key_id": "test", "secret_access_key": SECRET}
BUCKET = "lake"
_SERVE = """
from moto.moto_server.werkzeug_app import create_backend_app
from moto.server import MotoRequestHandler
from werkzeug.serving import run_simple
run_simple("127.0.0.1", 0, create_backend_app("s3"), threaded=True, request_handler=MotoRequestHandler)
"""
"""moto's own server would look at each request which of its 175 services it is for, which takes half of the time."""


@contextmanager
def one_certificate() -> Iterator[None]:
    """Let clients in Rust trust one authority: each of them reads all that there are as it is made, which takes 4 ms."""
    first, end, _ = Path(certifi.where()).read_text().partition("-----END CERTIFICATE-----\n")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "one.pem").write_text(first + end)
        (Path(folder) / "none").mkdir()
        trusted = {"SSL_CERT_FILE": f"{folder}/one.pem", "SSL_CERT_DIR": f"{folder}/none"}
        with mock.patch.dict(os.environ, trusted):
            yield


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """A server with an empty bucket. Yields: the connection to it."""
    with subprocess.Popen(
        [sys.executable, "-c", _SERVE], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        assert server.stdout is not None
        line = next((line for line in server.stdout if "Running on http://127.0.0.1:" in line), "")
        assert line, "the server ended"
        rest = threading.Thread(target=server.stdout.read)  # a full pipe would stop it
        rest.start()
        endpoint = line.rpartition("Running on ")[2].strip()
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")).close()
        try:
            yield {"endpoint": endpoint, **KEYS}
        finally:
            server.terminate()
            rest.join()


def store_of(connection: dict[str, Any]) -> S3Store:
    """The bucket, for a test that looks for itself."""
    return S3Store(BUCKET, **connection, client_options={"allow_http": True})
