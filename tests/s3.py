"""An S3 server of the tests, on this machine."""

from __future__ import annotations

import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from obstore.store import S3Store

SECRET = "hush-hush"
KEYS = {"region": "us-east-1", "access_key_id": "test", "secret_access_key": SECRET}
BUCKET = "lake"


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """A server with an empty bucket. Yields: the connection to it."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
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
