"""Tables as Markdown, and what machine they were made on."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, padded to be read as plain text too; every column but the first is right-aligned."""
    widths = [max(len(row[index]) for row in (head, *rows)) for index in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])])
    return "\n".join([line(head), f"|{rule}|", *map(line, rows)])


def megabytes(size_bytes: float) -> str:
    return f"{size_bytes / 1_000_000:,.0f} MB"


def seconds(value_s: float) -> str:
    return f"{value_s:.2f} s"


def milliseconds(value_s: float) -> str:
    return f"{value_s * 1000:.1f} ms"


def times(ratio: float) -> str:
    return f"x {ratio:.2f}"


def machine(packages: Sequence[str]) -> str:
    """One paragraph: processor, cores, memory, system, versions, and how busy it was."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:
        cores = os.cpu_count() or 1
    versions = ", ".join(f"{name} {_version(name)}" for name in packages)
    return (
        f"{_processor()}, {cores} cores, {memory / (1 << 30):.0f} GiB, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}; {versions}. Load of the last minute at the start: {os.getloadavg()[0]:.1f}."
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
