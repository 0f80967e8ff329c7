"""What runs write for Prometheus, read by Prometheus' own parser; and that dashboard and alerts name what exists."""

from __future__ import annotations

import json
import multiprocessing
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from dativo_assets.config import Project, load_project
from dativo_assets.pipeline import CheckOutcome, RunResult, StageMetrics
from dativo_assets.pipeline import run as run_plan
from dativo_assets.pipeline.result import Calls
from dativo_assets.plan import bind
from dativo_assets.prometheus import METRICS, after, parsed, record, rendered

DATIVO = Path(sys.executable).with_name("dativo")
DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
JOB = """
source: {reader: csv, files: data.csv}
target: {writer: parquet, path: warehouse/orders}
schema:
  - {name: id, type: int64}
  - {name: amount, type: double, min: 0}
on_violation: quarantine
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "dativo.yaml").write_text("name: shop\njobs: [jobs/*.yaml]\nmetrics: {prometheus: metrics}\n")
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/orders.yaml").write_text(JOB)
    (tmp_path / "data.csv").write_text("id,amount\n1,5\n2,-1\n3,7\n")
    return load_project(tmp_path)


def samples(path: Path) -> dict[tuple[str, ...], float]:
    """{(name, label values but those of job and project...): value}"""
    found = {}
    for family in text_string_to_metric_families(path.read_text()):
        assert family.documentation, family.name
        for sample in family.samples:
            assert (sample.labels.pop("job"), sample.labels.pop("project")) == ("orders", "shop")
            found[(sample.name, *sample.labels.values())] = sample.value
    return found


def test_runs_add_to_counters_and_replace_gauges(project: Project) -> None:
    plan = bind(project.jobs["orders"], project)
    for _ in range(2):
        result = run_plan(plan)
        assert result.ok, result.error
        record(project, result)
    found = samples(project.root / "metrics/dativo_orders.prom")
    assert found["dativo_runs_total", "succeeded"] == 2
    assert found["dativo_runs_total", "failed"] == 0
    assert found["dativo_rows_read_total",] == 6
    assert found["dativo_rows_written_total",] == 4
    assert found["dativo_rows_rejected_total",] == 2
    assert found["dativo_check_violations_total", "amount_min"] == 2
    assert found["dativo_last_run_rows_written",] == 2
    assert found["dativo_table_rows",] == 2
    assert found["dativo_commit_seq",] == 2
    assert found["dativo_last_run_success",] == 1
    assert {name for name, *_ in found} == set(METRICS), "a run that succeeds writes every metric"


def test_a_failed_run_keeps_the_time_of_the_last_success(project: Project) -> None:
    plan = bind(project.jobs["orders"], project)
    record(project, run_plan(plan))
    path = project.root / "metrics/dativo_orders.prom"
    before = samples(path)
    (project.root / "data.csv").unlink()
    record(project, run_plan(plan))
    found = samples(path)
    assert (found["dativo_last_run_success",], found["dativo_runs_total", "failed"]) == (0, 1)
    assert found["dativo_last_success_timestamp_seconds",] == before["dativo_last_success_timestamp_seconds",]
    assert found["dativo_last_run_timestamp_seconds",] >= before["dativo_last_run_timestamp_seconds",]
    assert found["dativo_rows_written_total",] == before["dativo_rows_written_total",]


def test_every_run_of_the_command_counts_also_one_that_reads_no_yaml(project: Project) -> None:
    for _ in range(2):  # the second takes the job as the first has compiled it
        subprocess.run([DATIVO, "run", "orders"], cwd=project.root, check=True, capture_output=True, timeout=60)
    (project.root / "data.csv").unlink()
    assert (
        subprocess.run([DATIVO, "run"], cwd=project.root, check=False, capture_output=True, timeout=60).returncode == 2
    )
    found = samples(project.root / "metrics/dativo_orders.prom")
    assert (found["dativo_runs_total", "succeeded"], found["dativo_runs_total", "failed"]) == (2, 1)


def _many(project: Project, times: int) -> None:
    for _ in range(times):
        record(project, RunResult("orders", "r", rows_read=1, rows_written=1))


def test_processes_that_write_at_the_same_time_lose_no_run_and_leave_nothing_behind(project: Project) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_many, args=(project, 40)) for _ in range(4)]
    for worker in workers:
        worker.start()
    path, looked = project.root / "metrics/dativo_orders.prom", 0
    while any(worker.is_alive() for worker in workers):
        if path.exists():
            assert samples(path)["dativo_runs_total", "succeeded"] >= looked, "a reader sees a whole file"
            looked = int(samples(path)["dativo_runs_total", "succeeded"])
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert samples(path)["dativo_runs_total", "succeeded"] == 160
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_a_folder_that_cannot_be_written_fails_no_run(project: Project) -> None:
    (project.root / "metrics").write_text("a file, not a folder")
    record(project, RunResult("orders", "r"))
    assert (project.root / "metrics").read_text() == "a file, not a folder"


def test_a_file_that_was_damaged_starts_its_counters_again(project: Project) -> None:
    path = project.root / "metrics/dativo_orders.prom"
    path.parent.mkdir()
    path.write_text('dativo_runs_total{job="orders"} many\nnonsense\ndativo_unknown_total{job="x"} 1\n')
    record(project, RunResult("orders", "r"))
    assert samples(path)["dativo_runs_total", "succeeded"] == 1


@given(st.text(min_size=1), st.text(min_size=1), st.floats(0, 1e300))
def test_any_label_reads_back_as_it_was(job: str, check: str, seconds: float) -> None:
    checks = (CheckOutcome(check, "", "warn", True, 1, 3),)
    stages = {"read": StageMetrics(plugin=job, methods={check: Calls(2, seconds)}, seconds=seconds)}
    found = after({}, "shop", RunResult(job, "r", checks=checks, stages=stages), 1.0)
    assert parsed(rendered(found)) == found


def test_the_dashboard_and_the_alerts_ask_for_metrics_and_labels_that_exist() -> None:
    dashboard = json.loads((DEPLOY / "grafana/dativo.json").read_text())
    rules = yaml.safe_load((DEPLOY / "prometheus/rules.yaml").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked += [variable["query"] for variable in dashboard["templating"]["list"]]
    asked += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    named = {name for text in asked for name in re.findall(r"\bdativo_\w+", text)}
    assert named <= set(METRICS)
    assert set(METRICS) - named == set(), "and every metric is shown somewhere"
    labels = {name for text in asked for group in re.findall(r"by \(([^)]*)\)", text) for name in group.split(", ")}
    labels |= {name for text in asked for name in re.findall(r"(\w+)=~", text)}
    assert labels <= {"job", "project", "status", "stage", "check", "plugin", "method"}
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    counters = {name for name in METRICS if METRICS[name].kind == "counter"}
    assert all(name.endswith("_total") == (name in counters) for name in METRICS)
    for text in asked:
        for name in re.findall(r"\bdativo_\w+_total\b", text):
            assert re.search(rf"(rate|increase)\({name}", text) or "label_values" in text, f"a bare counter: {text}"
