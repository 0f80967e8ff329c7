"""A suite run without a test framework, and its outcome as Markdown for a README."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from dativo_plugin_sdk.version import API_VERSION

from .suite import Conformance, NonConformance


@dataclass(frozen=True)
class Outcome:
    """What one check found. promise: what it looks at. remark: why it failed, or did not apply."""

    check: str
    promise: str
    passed: bool
    remark: str = ""
    seconds: float = 0.0

    @property
    def word(self) -> str:
        if not self.passed:
            return "failed"
        return "n/a" if self.remark.startswith("not applicable") else "passed"


@dataclass(frozen=True)
class Report:
    """All outcomes of one plugin."""

    plugin: str
    version: str
    kind: str
    outcomes: tuple[Outcome, ...]

    @property
    def passed(self) -> bool:
        return all(outcome.passed for outcome in self.outcomes)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "passed": self.passed, "api_version": API_VERSION}

    def to_markdown(self) -> str:
        """A section for a README."""
        failed = sum(not outcome.passed for outcome in self.outcomes)
        total = f"{len(self.outcomes)} checks, " + (f"{failed} failed" if failed else "all passed")
        lines = [
            f"## Conformance of {self.kind} {self.plugin} {self.version}",
            "",
            f"{total} (plugin API {API_VERSION}).",
            "",
            "| promise | outcome | remark |",
            "|---|---|---|",
        ]
        lines += (f"| {_cell(o.promise)} | {o.word} | {_cell(o.remark)} |" for o in self.outcomes)
        return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def checks_of(suite: type[Conformance]) -> list[str]:
    """The names of a suite's checks, in the order they are written."""
    return list(dict.fromkeys(n for base in reversed(suite.__mro__) for n in vars(base) if n.startswith("test_")))


def run_suite(suite: type[Conformance], name: str | None = None, checks: Collection[str] | None = None) -> Report:
    """Run a suite. name: of the plugin. checks: names of those to run, None for all."""
    plugin = suite.plugin()
    version = str(getattr(plugin, "__version__", "") or "")
    return Report(
        name or suite.name(),
        version,
        suite.kind,
        tuple(_run_check(suite, c) for c in checks_of(suite) if checks is None or c in checks),
    )


def _run_check(suite: type[Conformance], check: str) -> Outcome:
    promise = (getattr(suite, check).__doc__ or check).strip().partition("\n")[0].rstrip(".")
    found: list[str | None] = []

    def body() -> None:
        one = suite()
        try:
            one.setup_method()
            try:
                getattr(one, check)()
            finally:
                one.teardown_method()
            found.extend((None, one.remark))
        except NonConformance as error:
            found.append(str(error))
        except (Exception, SystemExit) as error:
            found.append(f"{type(error).__name__}: {error}")

    start = time.perf_counter()
    thread = threading.Thread(target=body, daemon=True, name=check)
    thread.start()
    thread.join(2 * suite.timeout_s)
    seconds = round(time.perf_counter() - start, 3)
    if not found:
        return Outcome(check, promise, False, f"no end within {2 * suite.timeout_s:g} s", seconds)
    if found[0] is not None:
        return Outcome(check, promise, False, found[0], seconds)
    return Outcome(check, promise, True, found[1] or "", seconds)
