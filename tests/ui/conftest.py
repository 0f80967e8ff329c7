"""A real `dagster dev` on a real project, and a real browser in front of it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.dagster_dev import DagsterDev, dagster_dev

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

    dagster: DagsterDev
    root: Path
    seen: set[str] = field(default_factory=set)

    @property
    def url(self) -> str:
        return self.dagster.url

    def runs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.dagster.ask(_RUNS)["runsOrError"]["results"]
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
        found = self.dagster.ask("query($run: ID!) {runOrError(runId: $run) {... on Run {status}}}", run=run_id)
        return str(found["runOrError"]["status"])

    def rows_written(self, run_id: str) -> int:
        """What the materialization of a run says that it wrote."""
        entries = "assetMaterializations {metadataEntries {label ... on IntMetadataEntry {intValue}}}"
        run = self.dagster.ask(f'{{runOrError(runId: "{run_id}") {{... on Run {{{entries}}}}}}}')["runOrError"]
        (landed,) = run["assetMaterializations"]
        (found,) = (entry["intValue"] for entry in landed["metadataEntries"] if entry["label"] == "rows_written")
        return int(found)

    def materialized_partitions(self, path: list[str]) -> int:
        key = json.dumps(path)
        text = f"{{assetNodeOrError(assetKey: {{path: {key}}}) {{... on AssetNode {{partitionStats {{numMaterialized}}}}}}}}"
        return int(self.dagster.ask(text)["assetNodeOrError"]["partitionStats"]["numMaterialized"])


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Path], Server]]:
    """Starts Dagster on a project, until the test ends."""
    with ExitStack() as stack:
        yield lambda root: Server(stack.enter_context(dagster_dev(root, tmp_path / "dagster-home")), root)


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
