"""Many jobs in Dagster, beside as many assets by hand: the location, runs, the sensor's tick, and what Dagster costs a job."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from operator import sub, truediv
from pathlib import Path

from . import bars, dagster_scale, report
from .bars import Bar
from .measure import Command, Measured, median, paired, ratio

_TICK_BUDGET_S = 20.0


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
        found = paired(
            [
                self._command(hand, self.many, "load", by_hand=True),
                self._command("1 job", 1, "load", by_hand=False),
                self._command(jobs, self.many, "load", by_hand=False),
            ],
            self.rounds,
        )
        self.bars.append(bars.at_most(f"load of {jobs}, against by hand", 1.2, ratio(found[jobs], found[hand])))
        rows = [[*_row(label, runs), report.megabytes(median(runs, "size_bytes"))] for label, runs in found.items()]
        return (
            "### The code server loads its location\n\nWithout the import of Dagster; job files are known from a load "
            f"before.\n\n{report.table(['location', 'wall', 'CPU', 'peak memory', 'snapshot'], rows)}\n"
        )

    def runs(self) -> str:
        """The process of a run, its import of Dagster included."""
        hand, jobs = f"{self.many:,} assets by hand", f"{self.many:,} jobs"
        commands = []
        for assets, in_process in ((1, True), (20, True), (1, False)):
            for label, size, by_hand in ((hand, self.many, True), ("1 job", 1, False), (jobs, self.many, False)):
                if assets <= size:
                    asked = {"by_hand": by_hand, "assets": assets, "in_process": in_process}
                    commands.append(self._command(_run(assets, label, in_process), size, "run", **asked))
        found = paired(commands, self.rounds)
        for in_process in (True, False):
            one, alone = found[_run(1, jobs, in_process)], found[_run(1, "1 job", in_process)]
            self.bars.append(bars.at_most(f"{_run(1, jobs, in_process)}, against 1 job", 1.5, ratio(one, alone)))
        rows = [_row(label, runs) for label, runs in found.items()]
        return f"### A run's process\n\n{report.table(['run', 'wall', 'CPU', 'peak memory'], rows)}\n"

    def ticks(self) -> str:
        """Ticks of the sensor over half the jobs, each of which has something new."""
        watched = self.many // 2
        root = self.folder / "watched"
        dagster_scale.write(root, watched, dagster_scale.SCHEMA + dagster_scale.TRIGGER)
        labels = {f"first tick, {watched:,} jobs watched": 1, f"later tick, {watched:,} jobs watched": 2}
        commands = [_command(label, root, watched, "tick", number=number) for label, number in labels.items()]
        found = paired(commands, self.rounds)
        for label, runs in found.items():
            self.bars.append(bars.at_most_seconds(label, _TICK_BUDGET_S, median(runs, "wall_s")))
        rows = [_row(label, runs) for label, runs in found.items()]
        return f"### The sensor\n\n{report.table(['tick', 'wall', 'CPU of the process', 'peak memory'], rows)}\n"

    def overhead(self) -> str:
        """What Dagster costs a small job, in process."""
        many = self.many // 10
        argv = [sys.executable, "-m", "benchmarks.dagster_overhead", str(self.folder), str(self.rounds), str(many)]
        told = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
        found: dict[str, list[float]] = json.loads(told.splitlines()[-1])
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
