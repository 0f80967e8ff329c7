"""`python -m benchmarks`: every table, each against its base in the same run."""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from . import data, peers, report
from .jobs import NATIVE, Project, executable
from .measure import Command, Measured, median, paired, ratio

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of the CSV file (default 10,000,000)")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds of each table (default 5)")
    parser.add_argument("--quick", action="store_true", help="1,000,000 rows, 3 rounds, docs/benchmarks.md left alone")
    options = parser.parse_args(argv)
    rows, rounds = (1_000_000, 3) if options.quick else (options.rows, options.rounds)

    machine = report.machine(["dativo-assets", *peers.packages()])
    print(machine, end="\n\n", flush=True)
    sections = []
    with tempfile.TemporaryDirectory(prefix="dativo-bench-") as folder:
        project = Project(Path(folder) / "project")
        steps: list[Callable[[], list[str]]] = [
            lambda: startup(project, Path(folder), max(rounds, 5)),
            lambda: conversion(project, Path(folder), rows, rounds),
            lambda: memory(project, (rows, 3 * rows)),
            lambda: contract(project, rows, rounds),
        ]
        for section in steps:
            for part in section():
                print(part, flush=True)
                sections.append(part)
    if not options.quick:
        DOCUMENT.write_text(_document(machine, rows, rounds, sections))
        print("written: docs/benchmarks.md")
    return 0


def startup(project: Project, folder: Path, rounds: int) -> list[str]:
    """What a person waits for before anything happens."""
    tiny = folder / "one.csv"
    tiny.write_text("id,name\n1,one\n")
    project.job("one", tiny, native=NATIVE)
    base = "python -c pass"
    runs = paired(
        [
            Command(base, [sys.executable, "-c", "pass"]),
            Command("dativo --help", [str(executable()), "--help"]),
            project.run("dativo run, one row", "one"),
        ],
        rounds,
    )
    rows = [
        [label, report.seconds(median(found, "wall_s")), f"{_more(found, runs[base]):+.2f} s", limit, _peak(found)]
        for (label, found), limit in zip(runs.items(), ("", "+0.20 s", "+0.50 s"), strict=True)
    ]
    head = ["command", "wall", f"more than `{base}`", "at most", "peak memory"]
    return ["## Start\n", report.table(head, rows) + "\n"]


def _more(found: Sequence[Measured], base: Sequence[Measured]) -> float:
    return median(found, "wall_s") - median(base, "wall_s")


def _peak(found: Sequence[Measured]) -> str:
    return report.megabytes(median(found, "peak_bytes"))


def conversion(project: Project, folder: Path, rows: int, rounds: int) -> list[str]:
    """CSV to Parquet beside the peers."""
    source = data.seed(rows)
    commands = []
    if NATIVE:
        project.job("native", source, native=True)
        commands.append(project.run("Dativo, rust_csv and rust_parquet", "native"))
    project.job("plain", source, native=False)
    commands.append(project.run("Dativo, csv and parquet (Python)", "plain"))
    base = commands[0].label
    runs = paired([*commands, *peers.commands(source, folder)], rounds)
    lines = [
        [
            label,
            report.seconds(median(found, "wall_s")),
            report.times(ratio(found, runs[base])),
            report.seconds(median(found, "cpu_s")),
            _peak(found),
            report.megabytes(median(found, "size_bytes")),
        ]
        for label, found in runs.items()
    ]
    head = ["CSV to Parquet, whole process", "wall", "against the first", "CPU", "peak memory", "file"]
    note = (
        f"{rows:,} rows x 8 columns, {report.megabytes(source.stat().st_size)}; zstd, level 1 for the peers, the writers' "
        "default for Dativo.\n"
    )
    native = "" if NATIVE else "The native plugins are not installed, so their lines are missing.\n"
    return ["## CSV to Parquet\n", note + native, report.table(head, lines) + "\n"]


def memory(project: Project, sizes: Sequence[int]) -> list[str]:
    """Peak memory must not grow with the input."""
    empty = median(paired([project.run("one", "one")], 1)["one"], "peak_bytes")
    lines = []
    for rows in sizes:
        source = data.seed(rows)
        project.job(f"rows_{rows}", source, native=NATIVE)
        found = paired([project.run("run", f"rows_{rows}")], 1)["run"]
        peak = median(found, "peak_bytes")
        lines.append(
            [
                f"{rows:,}",
                report.megabytes(source.stat().st_size),
                report.megabytes(peak),
                report.megabytes(peak - empty),
            ]
        )
        if rows != sizes[0]:
            source.unlink()
    head = ["rows", "input", "peak memory", "more than a one-row run", "at most"]
    return ["## Memory\n", report.table(head, lines) + "\n"]


def contract(project: Project, rows: int, rounds: int) -> list[str]:
    """What checking costs."""
    source = data.seed(rows)
    lines = []
    for native in (True, False) if NATIVE else (False,):
        plugins = "rust_csv and rust_parquet" if native else "csv and parquet (Python)"
        project.job("without", source, native=native)
        project.job("with", source, native=native, contract=True)
        runs = paired([project.run("without", "without"), project.run("with", "with")], rounds)
        lines.append(
            [
                plugins,
                report.seconds(median(runs["without"], "wall_s")),
                report.seconds(median(runs["with"], "wall_s")),
                report.times(ratio(runs["with"], runs["without"])),
                "x 1.25",
            ]
        )
    head = ["plugins", "no contract", "8 types, 7 required, 5 rules", "ratio", "at most"]
    return ["## Contract\n", report.table(head, lines) + "\n"]


def _document(machine: str, rows: int, rounds: int, sections: Sequence[str]) -> str:
    today = datetime.datetime.now(datetime.timezone.utc).date()
    intro = (
        f"# Benchmarks\n\nMade by `make bench` on {today}: {rows:,} rows, {rounds} counted rounds after one that warms the "
        "caches. In a round every\ncommand runs once, in turn, so a ratio compares runs that shared the machine's mood. "
        "Figures are medians; memory is the whole\nprocess's peak, as the kernel tells it.\n\n"
        f"{machine}\n"
    )
    return intro + "\n" + "\n".join(sections)


if __name__ == "__main__":
    raise SystemExit(main())
