"""A real `dagster dev` on a real project, and a real browser in front of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from playwright.sync_api import Page, expect, sync_playwright

ARTIFACTS = Path(__file__).parent / "screenshots"
_BROWSER = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
_RUNS = "{runsOrError(limit: 50) {... on Runs {results {runId status assetSelection {path} tags {key value}}}}}"
_FINAL = {"SUCCESS", "FAILURE", "CANCELED"}


@dataclass
class Server:
    """A running Dagster. root: the project's folder."""

    url: str
    root: Path
    seen: set[str] = field(default_factory=set)

    def query(self, text: str) -> dict[str, Any]:
        body = json.dumps({"query": text}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)["data"]
        return found

    def runs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.query(_RUNS)["runsOrError"]["results"]
        return found

    def wait_for_new_run(self, page: Page, timeout_s: float = 90) -> dict[str, Any]:
        """The next run that ends, of those not yet waited for."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for run in reversed(self.runs()):
                if run["runId"] not in self.seen and run["status"] in _FINAL:
                    self.seen.add(run["runId"])
                    return run
            page.wait_for_timeout(500)
        raise AssertionError(f"no run ended: {self.runs()}")

    def newest_run(self, page: Page, asset: str) -> dict[str, Any]:
        """The first run of an asset, as soon as there is one, whatever its status."""
        for _ in range(200):
            for run in self.runs():
                if any(key["path"][-1] == asset for key in run["assetSelection"] or ()):
                    return run
            page.wait_for_timeout(100)
        raise AssertionError(f"no run of {asset}: {self.runs()}")

    def status(self, run_id: str) -> str:
        found: str = self.query(f'{{runOrError(runId: "{run_id}") {{... on Run {{status}}}}}}')["runOrError"]["status"]
        return found

    def rows_written(self, run_id: str) -> int:
        """What the materialization of a run says that it wrote."""
        entries = "assetMaterializations {metadataEntries {label ... on IntMetadataEntry {intValue}}}"
        run = self.query(f'{{runOrError(runId: "{run_id}") {{... on Run {{{entries}}}}}}}')["runOrError"]
        (landed,) = run["assetMaterializations"]
        (found,) = (entry["intValue"] for entry in landed["metadataEntries"] if entry["label"] == "rows_written")
        return int(found)

    def materialized_partitions(self, path: list[str]) -> int:
        key = json.dumps(path)
        text = f"{{assetNodeOrError(assetKey: {{path: {key}}}) {{... on AssetNode {{partitionStats {{numMaterialized}}}}}}}}"
        return int(self.query(text)["assetNodeOrError"]["partitionStats"]["numMaterialized"])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Path], Server]]:
    """Starts Dagster on a project; it and all its processes are ended after the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(root: Path) -> Server:
        home = tmp_path / "dagster-home"
        home.mkdir()
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\nnux: {enabled: false}\n")
        port = _free_port()
        with (tmp_path / "dagster.log").open("wb") as log:
            process = _launch(root, home, port, log)
        started.append(process)
        server = Server(f"http://127.0.0.1:{port}", root)
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                nodes = server.query("{assetNodes {assetKey {path}}}")["assetNodes"]
            except OSError:
                nodes = []
            if nodes:
                return server
            assert process.poll() is None, (tmp_path / "dagster.log").read_text()
            time.sleep(0.3)
        raise AssertionError((tmp_path / "dagster.log").read_text())

    yield start
    for process in started:
        _end(process)


def _launch(root: Path, home: Path, port: int, log: BinaryIO) -> subprocess.Popen[bytes]:
    arguments = ("dev", "-h", "127.0.0.1", "-p", str(port), "-m", "dativo_assets.definitions")
    return subprocess.Popen(
        [sys.executable, "-m", "dagster", *arguments],
        cwd=root,
        stdout=log,
        stderr=log,
        start_new_session=True,
        # The shell that runs tests may ignore SIGINT, and children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        env={**os.environ, "DAGSTER_HOME": str(home), "DATIVO_PROJECT": str(root)},
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, kind)
            process.wait(15)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def expand_groups(page: Page) -> None:
    """Opens every closed group of the lineage graph."""
    closed = page.locator('[aria-label="unfold_more"], [data-icon="unfold_more"]')
    page.wait_for_timeout(2000)
    for _ in range(10):
        if closed.count() == 0:
            return
        closed.first.click()
        page.wait_for_timeout(1500)


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of 1500 x 1000 pixels."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("no browser: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=_BROWSER)
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.set_default_timeout(30_000)
        expect.set_options(timeout=30_000)
        yield page
        browser.close()


@pytest.fixture
def shoot(page: Page) -> Callable[..., None]:
    """Keeps a picture of the page, or of a part of it, under a name, in tests/ui/screenshots."""
    ARTIFACTS.mkdir(exist_ok=True)

    def take(name: str, clip: tuple[int, int, int, int] | None = None) -> None:
        page.wait_for_timeout(700)
        area = None if clip is None else dict(zip(("x", "y", "width", "height"), clip, strict=True))
        page.screenshot(path=ARTIFACTS / f"{name}.png", clip=area)

    return take
