"""An S3 server of the harness that misbehaves when it is told to: moto in a process of its own."""

from __future__ import annotations

import mmap
import os
import re
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any

from typing_extensions import Self

from .children import Child

WAYS = ("pass", "500", "503", "slow", "504", "lax")
"""Once: refuse a request by 500, or by 503 with Retry-After; do a put and say 504, as a gateway does whose patience
ended. Until told otherwise: answer slowly; ignore the condition of each put."""
KEYS = {"region": "us-east-1", "access_key_id": "test", "secret_access_key": "hush-hush"}
_SLOW_S = 0.02
_BUCKET = "lake"
_ERROR = "<Error><Code>{code}</Code><Message>{code}</Message></Error>"
Answer = Iterable[bytes]
App = Callable[[dict[str, Any], Callable[..., Any]], Answer]


class Store:
    """Listens on `port`; there is one bucket, `lake`. commits: matches the path of an object whose put is a commit."""

    def __init__(self, commits: str) -> None:
        self._commits = re.compile(commits)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._told = mmap.mmap(-1, 16)

    def arm(self, way: str, after_requests: int = 0) -> None:
        """after_requests: how many a refusal lets pass; a 504 is the answer to a commit."""
        self._told[:16] = struct.pack("qq", WAYS.index(way), after_requests)

    def __enter__(self) -> Self:
        import moto.moto_server.werkzeug_app
        import moto.s3.responses  # so that the child has it

        self.arm("pass")
        self._child = Child(lambda: self._serve(moto.moto_server.werkzeug_app))
        self._listener.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.kill(self._child.pid, signal.SIGKILL)
        self._child.result()

    def connection(self, port: int | None = None) -> dict[str, Any]:
        """How to reach it. port: of what stands between."""
        return {"endpoint": f"http://127.0.0.1:{port or self.port}", **KEYS}

    def _serve(self, moto: Any) -> None:
        from moto.s3.models import s3_backends
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Handler(WSGIRequestHandler):
            protocol_version = "HTTP/1.1"

        s3_backends["123456789012"]["aws"].create_bucket(_BUCKET, KEYS["region"])
        app = self._misbehaving(moto.create_backend_app("s3"))
        make_server(
            "127.0.0.1", self.port, app, threaded=True, request_handler=Handler, fd=self._listener.fileno()
        ).serve_forever()

    def _misbehaving(self, app: App) -> App:
        def answer(request: dict[str, Any], start: Callable[..., Any]) -> Answer:
            way, left = struct.unpack("qq", self._told[:16])
            return self._answer(WAYS[way], left, request, start, app)

        return answer

    def _answer(self, way: str, left: int, request: dict[str, Any], start: Callable[..., Any], app: App) -> Answer:
        is_put = request["REQUEST_METHOD"] == "PUT"
        if way == "slow":
            time.sleep(_SLOW_S)
        if way == "lax" and is_put:
            for condition in ("HTTP_IF_NONE_MATCH", "HTTP_IF_MATCH"):
                request.pop(condition, None)
        if way in ("500", "503"):
            self.arm(way if left else "pass", max(0, left - 1))
            if not left:
                request["wsgi.input"].read(int(request.get("CONTENT_LENGTH") or 0))
                if way == "503":
                    return _refuse(start, request, "503 Slow Down", [("Retry-After", "1")])
                return _refuse(start, request, "500 Internal Server Error")
        if way == "504" and is_put and self._commits.search(request["PATH_INFO"]):
            self.arm("pass")
            list(app(request, lambda *_: None))
            return _refuse(start, request, "504 Gateway Timeout")
        return app(request, start)


def _refuse(
    start: Callable[..., Any], request: dict[str, Any], status: str, headers: Sequence[tuple[str, str]] = ()
) -> Answer:
    body = _ERROR.format(code=status[4:].replace(" ", "")).encode()
    start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body))), *headers])
    return [] if request["REQUEST_METHOD"] == "HEAD" else [body]
