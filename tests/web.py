"""A web server on this machine that serves files in ranges, as those that serve files do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

SECRET = "hush-hush"


class Web(BaseHTTPRequestHandler):
    """Serves `files` to who knows the secret, as a signature or a bearer's token."""

    protocol_version = "HTTP/1.1"
    files: ClassVar[dict[str, bytes]] = {}
    sent: ClassVar[dict[str, int]] = {}
    cut: ClassVar[dict[str, int]] = {}
    """How many more answers of a file end early."""
    refusal: ClassVar[tuple[int, str | None] | None] = None
    """The status of every answer, and what it says in Retry-After."""

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        if self.refusal is not None:
            status, wait = self.refusal
            self.send_response(status)
            if wait is not None:
                self.send_header("Retry-After", wait)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        body = self.files.get(path)
        allowed = query == f"signature={SECRET}" or self.headers.get("Authorization") == f"Bearer {SECRET}"
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
            self.sent[path] = self.sent.get(path, 0) + end - start
            if self.cut.get(path, 0):
                self.cut[path] -= 1
                end -= (end - start) // 2
                self.close_connection = True
            self.wfile.write(body[start:end])

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def web_server() -> Iterator[str]:
    """Yields: its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
