"""A source that asks for patience gets it, and a person sees each attempt."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

READER = """
import urllib.error, urllib.request
class Rows(BaseReader):
    def extract(self, state_manager=None):
        try:
            with urllib.request.urlopen(os.environ["URL"]) as answer:
                yield [{"id": int(answer.read())}]
        except urllib.error.HTTPError as error:
            wait = error.headers["Retry-After"]
            error.close()
            raise RateLimitError(f"status {error.code}", details={"retry_after_s": float(wait)}) from None
"""
WAITS_S = {429: 0.4, 503: 0.2}


class Server(ThreadingHTTPServer):
    """Answers 429, 503 and then a number; knows when it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[float] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(time.monotonic())
        answers = [*WAITS_S, 200]
        status = answers[len(self.server.asked) - 1]
        self.send_response(status)
        if status in WAITS_S:
            self.send_header("Retry-After", str(WAITS_S[status]))
        self.end_headers()
        self.wfile.write(b"7")

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def busy() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_busy_server_is_asked_again_no_sooner_than_it_said(
    bench: Any, plugin: Any, busy: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("URL", f"http://127.0.0.1:{busy.server_port}/")
    plugin(READER)
    bench.job(
        "source: {reader: 'plugin.py:Rows'}\ntarget: {writer: parquet, path: out}\n"
        "retry: {max_attempts: 3, delay: 0.001}\n"
    )
    result = bench.ok()
    assert bench.rows() == [{"id": 7}]
    first, second, third = busy.asked
    assert second - first >= WAITS_S[429] and third - second >= WAITS_S[503]
    told = [(item.attempt, item.error_code, item.waited_s) for item in result.failed_attempts]
    assert told == [(1, "RATE_LIMIT_ERROR", 0.4), (2, "RATE_LIMIT_ERROR", 0.2)]
    assert result.notes[0].startswith("attempt 1 failed and was tried again after 0.4 s: status 429")
    assert result.to_dict()["failed_attempts"][1]["message"] == "status 503"
