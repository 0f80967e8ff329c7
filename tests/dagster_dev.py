"""A real `dagster dev` of the tests: a web server, a daemon and their code server."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


class DagsterDev:
    """What is asked of it by GraphQL. url: its address. session: of all its processes."""

    def __init__(self, url: str, session: int) -> None:
        self.url = url
        self.session = session

    def answers(self) -> bool:
        """Whether it is there and knows assets."""
        try:
            return bool(self.ask("{assetNodes {id}}")["assetNodes"])
        except OSError:
            return False

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error
        assert not found.get("errors"), found
        return dict(found["data"])


@contextmanager
def dagster_dev(project: Path, home: Path, settings: str = "", timeout_s: float = 180) -> Iterator[DagsterDev]:
    """Yields: it, once it knows the project's assets. It ends with the block and all its processes, and with this process.

    home: its DAGSTER_HOME, which is made. settings: more lines of its dagster.yaml.
    """
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\nnux: {enabled: false}\n" + settings)
    log = home / "dev.log"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "dagster", "dev", "-h", "127.0.0.1", "-p", str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "-m", "dativo_assets.definitions"],
            cwd=project,
            env={**os.environ, "DAGSTER_HOME": str(home), "DATIVO_PROJECT": str(project)},
            stdout=out,
            stderr=out,
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
    try:
        found = DagsterDev(f"http://127.0.0.1:{port}", process.pid)
        deadline = time.monotonic() + timeout_s
        while not found.answers():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield found
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _end_with_parent() -> None:
    """In the child: a test run that is killed leaves no server. Interrupted, `dagster dev` ends its processes itself."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the shell that runs tests may ignore it
    if hasattr(_LIBC, "prctl"):
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
