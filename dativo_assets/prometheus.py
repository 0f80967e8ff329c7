"""Numbers of runs in Prometheus' text format: a file a job, replaced at once, for node_exporter's textfile collector.

Counters go on from what the job's file says, so a file that is removed is a counter that starts again.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dativo_assets.config import Project
from dativo_assets.pipeline import RunResult
from dativo_assets.pipeline.logs import logger

Labels = tuple[tuple[str, str], ...]
Samples = dict[tuple[str, Labels], float]


@dataclass(frozen=True)
class Metric:
    """A family of samples. help: one line."""

    kind: Literal["counter", "gauge"]
    help: str


METRICS = {
    "dativo_runs_total": Metric("counter", "Runs that ended, by status."),
    "dativo_attempts_total": Metric(
        "counter", "Attempts of runs; more than runs where some failed in a way that may pass."
    ),
    "dativo_run_seconds_total": Metric("counter", "Seconds that runs took."),
    "dativo_stage_seconds_total": Metric("counter", "Seconds that a stage was busy, over all its workers."),
    "dativo_stage_waits_seconds_total": Metric(
        "counter", "Seconds that a stage waited for another, over all its workers."
    ),
    "dativo_stage_rows_total": Metric("counter", "Rows that went through a stage."),
    "dativo_stage_bytes_total": Metric("counter", "Bytes that went through a stage, in Arrow memory."),
    "dativo_plugin_seconds_total": Metric("counter", "Seconds in a plugin's method, over all workers."),
    "dativo_plugin_calls_total": Metric("counter", "Calls of a plugin's method."),
    "dativo_rows_read_total": Metric("counter", "Rows read."),
    "dativo_rows_written_total": Metric("counter", "Rows committed."),
    "dativo_rows_rejected_total": Metric("counter", "Rows set aside in quarantine."),
    "dativo_bytes_read_total": Metric("counter", "Bytes read."),
    "dativo_bytes_written_total": Metric("counter", "Bytes committed."),
    "dativo_check_violations_total": Metric("counter", "Rows that broke a rule of the contract."),
    "dativo_last_run_success": Metric("gauge", "1 where the last run succeeded or found nothing new, else 0."),
    "dativo_last_run_timestamp_seconds": Metric("gauge", "When the last run ended."),
    "dativo_last_success_timestamp_seconds": Metric("gauge", "When a run last succeeded or found nothing new."),
    "dativo_last_run_duration_seconds": Metric("gauge", "Seconds that the last run took."),
    "dativo_last_run_rows_written": Metric("gauge", "Rows that the last run committed."),
    "dativo_peak_memory_bytes": Metric("gauge", "The most memory that the last run's process had resident."),
    "dativo_stage_peak_memory_bytes": Metric(
        "gauge", "The most memory that a plugin's own process had resident in the last run; 0 without one."
    ),
    "dativo_table_rows": Metric("gauge", "Rows of the table after the last run that could count them."),
    "dativo_table_bytes": Metric("gauge", "Bytes of the table after the last run that could count them."),
    "dativo_commit_seq": Metric("gauge", "The sequence number of the newest commit."),
}
_SAMPLE = re.compile(r'(?P<name>\w+)\{(?P<labels>(?:\w+="(?:[^"\\]|\\.)*",?)*)\} (?P<value>\S+)')
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPES = {"\\": r"\\", '"': r"\"", "\n": r"\n"}


def record(project: Project, result: RunResult) -> None:
    """Adds a run to the metrics of its job; nothing where dativo.yaml wants none. A run never fails by it."""
    wanted = project.config.metrics
    if wanted is None:
        return
    folder = project.root / wanted.prometheus
    path = folder / f"dativo_{re.sub(r'[^A-Za-z0-9_.-]', '_', result.name)}.prom"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            before = parsed(path.read_bytes().decode("utf-8", "replace")) if path.is_file() else {}
            _replace(path, rendered(after(before, project.name, result, time.time())))
    except OSError as error:
        logger.warning("metrics were not written", job=result.name, path=str(path), error=str(error))


def after(before: Mapping[tuple[str, Labels], float], project: str, result: RunResult, now: float) -> Samples:
    """The samples of a job after one more run. now: seconds since 1970."""
    job = (("job", result.name), ("project", project))
    samples = dict(before)

    def add(name: str, amount: float, *labels: tuple[str, str]) -> None:
        key = (name, tuple(sorted((*job, *labels))))
        samples[key] = samples.get(key, 0.0) + amount

    def put(name: str, value: float | None, *labels: tuple[str, str]) -> None:
        if value is not None:
            samples[name, tuple(sorted((*job, *labels)))] = float(value)

    for status in ("succeeded", "unchanged", "failed", "cancelled"):
        add("dativo_runs_total", result.status == status, ("status", status))
    add("dativo_attempts_total", result.attempts)
    add("dativo_run_seconds_total", result.seconds)
    for name, stage in result.stages.items():
        add("dativo_stage_seconds_total", stage.seconds, ("stage", name))
        add("dativo_stage_waits_seconds_total", stage.waits_s, ("stage", name))
        add("dativo_stage_rows_total", stage.rows, ("stage", name))
        add("dativo_stage_bytes_total", stage.bytes, ("stage", name))
        put("dativo_stage_peak_memory_bytes", stage.peak_rss_bytes, ("stage", name))
        for method, done in stage.methods.items():
            called = (("plugin", stage.plugin or name), ("method", method))
            add("dativo_plugin_seconds_total", done.seconds, *called)
            add("dativo_plugin_calls_total", done.calls, *called)
    committed = result.status == "succeeded"
    add("dativo_rows_read_total", result.rows_read if committed else 0)
    add("dativo_rows_written_total", result.rows_written if committed else 0)
    add("dativo_rows_rejected_total", result.rows_rejected if committed else 0)
    add("dativo_bytes_read_total", result.bytes_read if committed else 0)
    add("dativo_bytes_written_total", result.bytes_written if committed else 0)
    for check in result.checks:
        add("dativo_check_violations_total", check.violations, ("check", check.name))
    put("dativo_last_run_success", result.ok)
    put("dativo_last_run_timestamp_seconds", now)
    put("dativo_last_success_timestamp_seconds", now if result.ok else None)
    put("dativo_last_run_duration_seconds", result.seconds)
    put("dativo_last_run_rows_written", result.rows_written if committed else 0)
    put("dativo_peak_memory_bytes", result.peak_rss_bytes)
    put("dativo_table_rows", result.table_rows)
    put("dativo_table_bytes", result.table_bytes)
    put("dativo_commit_seq", None if result.commit is None else result.commit.seq)
    return samples


def rendered(samples: Mapping[tuple[str, Labels], float]) -> str:
    """Samples in Prometheus' text format, each family under its help and type."""
    return "".join(_families(samples))


def _families(samples: Mapping[tuple[str, Labels], float]) -> Iterator[str]:
    for name, metric in METRICS.items():
        own = sorted((labels, value) for (family, labels), value in samples.items() if family == name)
        if own:
            yield f"# HELP {name} {metric.help}\n# TYPE {name} {metric.kind}\n"
        for labels, value in own:
            shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
            yield f"{name}{{{shown}}} {value:.17g}\n"


def parsed(text: str) -> Samples:
    """The samples in what `rendered` wrote; a line that is none of them is left out."""
    found: Samples = {}
    for line in text.split("\n"):
        match = _SAMPLE.fullmatch(line)
        if match is None or match["name"] not in METRICS:
            continue
        try:
            value = float(match["value"])
        except ValueError:
            continue
        labels = tuple(sorted((key, _plain(shown)) for key, shown in _LABEL.findall(match["labels"])))
        found[match["name"], labels] = value
    return found


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in text)


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], text)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time adds to the files of a folder."""
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _replace(path: Path, text: str) -> None:
    """A reader sees the old file or the new one. The name in between ends in nothing that a collector reads."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
