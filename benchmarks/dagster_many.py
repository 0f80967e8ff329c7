"""Many jobs in Dagster, beside as many assets by hand: the location, runs, the sensor's tick, and what Dagster costs a job."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from operator import sub, truediv
from pathlib import Path
from typing import Any

from . import bars, dagster_scale, report
from .bars import Bar
from .measure import Command, Measured, median, once, paired, ratio

_TICK_BUDGET_S = 20.0
_MOST_LOADS = 2  # each takes half a minute


class ManyJobs:
    """Projects of one and of `many` jobs. Each part gives what it prints; the bars it judged are in `bars`."""

    def __init__(self, folder: Path, many: int, rounds: int) -> None:
        self.folder, self.many, self.rounds = folder, many, rounds
        self.bars: list[Bar] = []
        self._roots = {jobs: folder / f"jobs_{jobs}" for jobs in (1, many)}
        for jobs, root in self._roots.items():
            dagster_scale.write(root, jobs)

    def location(self) -> str:
        """What a code server loads and hands on."""
        hand, jobs = f"{self.many:,} assets by hand", f"{self.many:,} jobs"
        by_jobs = self._command(jobs, self.many, "load", made="jobs")
        once(by_jobs)  # it parses all files
        found = paired(
            [
                self._command(hand, self.many, "load", made="by hand"),
                self._command("1 job", 1, "load", made="jobs"),
                by_jobs,
            ],
            min(self.rounds, _MOST_LOADS),
            not_counted=0,
        )
        self.bars.append(bars.at_most(f"load of {jobs}, against by hand", 1.2, ratio(found[jobs], found[hand])))
        some = self.many // 20
        peer = _command(f"{some:,} assets of dagster-dlt", self._roots[self.many], some, "load", made="dlt")
        found[peer.label] = [once(peer)]
        rows = [[*_row(label, runs), report.megabytes(median(runs, "size_bytes"))] for label, runs in found.items()]
        return (
            "### The code server loads its location\n\nWithout the import of Dagster; job files are known from a load "
            f"before.\n\n{report.table(['location', 'wall', 'CPU', 'peak memory', 'snapshot'], rows)}\n"
        )

    def runs(self) -> str:
        """The process of a run, its import of Dagster included. By hand are a tenth as many: all of them take minutes."""
        some = self.many // 10
        hand, jobs = f"{some:,} assets by hand", f"{self.many:,} jobs"
        commands = []
        for assets, in_process in ((1, True), (20, True), (1, False)):
            for label, size, made in ((hand, some, "by hand"), ("1 job", 1, "jobs"), (jobs, self.many, "jobs")):
                if assets <= size:
                    root = self._roots[1 if size == 1 else self.many]
                    asked = {"made": made, "assets": assets, "in_process": in_process}
                    commands.append(_command(_run(assets, label, in_process), root, size, "run", **asked))
        found = paired(commands, self.rounds, not_counted=0)
        for in_process in (True, False):
            one, alone = found[_run(1, jobs, in_process)], found[_run(1, "1 job", in_process)]
            self.bars.append(bars.at_most(f"{_run(1, jobs, in_process)}, against 1 job", 1.5, ratio(one, alone)))
        rows = [_row(label, runs) for label, runs in found.items()]
        return f"### A run's process\n\n{report.table(['run', 'wall', 'CPU', 'peak memory'], rows)}\n"

    def ticks(self) -> str:
        """The first tick of a process, which binds every job; and short ticks until each of half the jobs had its turn."""
        half, rows = self.many // 2, []
        for watched in (half, self.many):
            root = self.folder / f"watched_{watched}"
            dagster_scale.write(root, watched, dagster_scale.SCHEMA + dagster_scale.TRIGGER)
            found = _told("benchmarks.dagster_ticks", str(root), str(int(watched == half)))
            self.bars.append(bars.at_most_seconds(f"a tick, {watched:,} jobs watched", _TICK_BUDGET_S, found["first"]))
            rows.append([f"first tick, {watched:,} jobs watched", report.seconds(found["first"])])
            if watched == half:
                again = found["again"]
                rows += [
                    ["the longest of ticks with 1 s to ask in", report.seconds(found["longest"])],
                    ["such ticks until each of them was started, 200 a tick at most", f"{found['turns']}"],
                    ["of them, jobs started twice meanwhile", f"{again}"],
                ]
                self.bars.append(Bar("jobs with a second turn before all had one", "none", f"{again}", again == 0))
        return f"### The sensor\n\nEach job has something new.\n\n{report.table(['what', 'measured'], rows)}\n"

    def overhead(self) -> str:
        """What Dagster costs a small job, in process."""
        many = self.many // 10
        found: dict[str, list[float]] = _told(
            "benchmarks.dagster_overhead", str(self.folder), str(self.rounds), str(many)
        )
        rows = []
        for what, figures in (
            ("a job, an empty asset", ("an empty asset", "a job", "its pipeline")),
            ("a job, an asset with a source", ("an asset with a source", "a job", "its pipeline")),
            (
                "a job, an asset, with checks",
                ("an asset with checks", "a job with checks", "its pipeline, with checks"),
            ),
            (f"{many:,} of these in one run", ("many assets", "many jobs", "their pipelines")),
        ):
            asset, job, pipeline = figures
            over = list(map(sub, found[job], found[pipeline]))
            times = statistics.median(map(truediv, over, found[asset]))
            self.bars.append(bars.at_most(f"Dagster's cost of {what}", 1.3, times))
            shown = [
                report.milliseconds(statistics.median(each)) for each in (found[asset], found[job], found[pipeline])
            ]
            rows.append([what, *shown, report.times(times)])
        head = ["a materialization", "asset by hand", "job", "its pipeline alone", "job less pipeline, of the asset"]
        lead = "Seconds of the processor, in one process, the instance in memory."
        return f"### What Dagster costs a job\n\n{lead}\n\n{report.table(head, rows)}\n"

    def _command(self, label: str, size: int, task: str, **asked: object) -> Command:
        return _command(label, self._roots[size], size, task, **asked)


def _told(module: str, *arguments: str) -> Any:
    """What a module prints as its last line, JSON."""
    told = subprocess.run([sys.executable, "-m", module, *arguments], check=True, capture_output=True, text=True).stdout
    return json.loads(told.splitlines()[-1])


def _command(label: str, root: Path, size: int, task: str, **asked: object) -> Command:
    argv = [sys.executable, "-m", "benchmarks.dagster_scale", task]
    environment = {"DATIVO_PROJECT": str(root), "DATIVO_BENCH_JOBS": str(size)}
    output = root / "snapshot.json" if task == "load" else None
    return Command(label, argv, output=output, environment=environment, argument=json.dumps(asked))


def _run(assets: int, label: str, in_process: bool) -> str:
    return f"{assets} of {label}{'' if in_process else ', a process a step'}"


def _row(label: str, runs: Sequence[Measured]) -> list[str]:
    figures: Mapping[str, float] = {name: median(runs, name) for name in ("wall_s", "cpu_s", "peak_bytes")}
    return [
        label,
        report.seconds(figures["wall_s"]),
        report.seconds(figures["cpu_s"]),
        report.megabytes(figures["peak_bytes"]),
    ]
