"""What holds for every test. Fixtures live beside the tests that use them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from importlib.util import find_spec

import pytest
from hypothesis import settings

# In CI a skipped test is a test that did not run, so it fails, unless its reason starts with one of these.
ALLOWED_SKIPS = ("no cargo",) if shutil.which("cargo") is None else ()
IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}

# A time limit for an example would fail on a busy machine; in CI the same examples each time.
settings.register_profile("dativo", deadline=None, derandomize=IN_CI)
settings.register_profile("soak", deadline=None, max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dativo"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of several workers none shall wait for another one's last test: those that may take long come first. Leave out what a
    test does with a native plugin, where there is no cargo to build one.
    """
    if hasattr(config, "workerinput"):
        items.sort(key=_patience_s, reverse=True)
    if shutil.which("cargo") is not None or find_spec("dativo_rust_csv") is not None:
        return
    for item in items:
        values = item.callspec.params.values() if hasattr(item, "callspec") else ()
        if any(isinstance(value, str) and value.startswith("rust_") for value in values):
            item.add_marker(pytest.mark.skip(reason="no cargo"))


def _patience_s(item: pytest.Item) -> float:
    """The time limit that a test has for itself, in seconds."""
    found = item.get_closest_marker("timeout")
    return float(found.args[0]) if found is not None else 0.0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _refuse_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _refuse_skip((yield))


def _refuse_skip(report):  # type: ignore[no-untyped-def]
    """Turn a skip into a failure in CI. An expected failure (xfail) is no skip."""
    if not (IN_CI and report.skipped) or hasattr(report, "wasxfail"):
        return report
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not reason.removeprefix("Skipped: ").startswith(ALLOWED_SKIPS):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be: {reason}"
    return report
