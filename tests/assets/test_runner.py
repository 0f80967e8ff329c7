"""The schedules of a runner file are Dagster's schedules, each over the asset of the job that it names."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

import dagster as dg
import pytest

from dativo_assets.assets.runner import cron_of, is_due

from .conftest import Workbench

RUNNER = """
    runner:
      mode: orchestrated
      orchestrator:
        type: dagster
        concurrency_per_tenant: 1
        schedules:
          - name: orders-hourly
            config: /app/jobs/orders.yaml
            cron: "0 * * * *"
            timezone: Europe/Berlin
            max_concurrent_runs: 1
            tags: {team: shop}
          - {name: report_often, config: jobs/report.yaml, interval_seconds: 5400, enabled: false}
"""


def schedules(bench: Workbench) -> dict[str, dg.ScheduleDefinition]:
    return {item.name: item for item in bench.definitions().schedules or () if isinstance(item, dg.ScheduleDefinition)}


@pytest.fixture
def project(bench: Workbench) -> Workbench:
    bench.orders()
    bench.report()
    bench.write("jobs/orders.yaml", (bench.root / "jobs/orders.yaml").read_text() + "metadata: {tenant_id: acme}\n")
    bench.write("runner.yaml", RUNNER)
    return bench


def test_each_schedule_runs_the_job_that_it_names(project: Workbench) -> None:
    found = schedules(project)
    repository = project.definitions().get_repository_def()
    assert sorted(found) == ["orders_hourly", "report_often"]
    for name, key in (("orders_hourly", ["sales", "orders"]), ("report_often", ["sales", "report"])):
        selected = repository.get_job(f"{name}_job").asset_layer.executable_asset_keys
        assert {asset.path[-1] for asset in selected} == {key[-1]}
    hourly, often = found["orders_hourly"], found["report_often"]
    assert (hourly.cron_schedule, hourly.execution_timezone) == ("0 * * * *", "Europe/Berlin")
    assert hourly.default_status is dg.DefaultScheduleStatus.RUNNING
    assert often.default_status is dg.DefaultScheduleStatus.STOPPED


def test_a_tick_starts_a_run_and_none_while_one_of_its_tenant_is_running(project: Workbench) -> None:
    repository = project.definitions().get_repository_def()
    schedule, job = repository.get_schedule_def("orders_hourly"), repository.get_job("orders_hourly_job")
    assert job.run_tags["dativo/tenant"] == "acme" and job.run_tags["team"] == "shop"

    def tick(instance: dg.DagsterInstance) -> Any:
        at = datetime(2024, 1, 1, 12, tzinfo=timezone.utc)
        with dg.build_schedule_context(instance, at, repository_def=repository) as context:
            return schedule.evaluate_tick(context)

    with dg.instance_for_test() as instance:
        assert len(tick(instance).run_requests) == 1
        instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags={"dativo/tenant": "acme"})
        told = tick(instance)
        assert not told.run_requests and "have not ended" in (told.skip_message or "")


def test_an_interval_that_no_cron_can_say_is_kept_by_the_minute() -> None:
    assert [cron_of(s) for s in (300, 3_600, 21_600, 86_400)] == [
        "*/5 * * * *",
        "0 */1 * * *",
        "0 */6 * * *",
        "0 0 * * *",
    ]
    day = datetime(2024, 1, 1, tzinfo=timezone.utc)
    minutes = [day + timedelta(minutes=n) for n in range(24 * 60)]
    assert cron_of(5_400) == "* * * * *"
    assert sum(is_due(5_400, minute) for minute in minutes) == 16
    assert all(is_due(10, minute) for minute in minutes)


@pytest.mark.parametrize(
    ("text", "sound", "said"),
    [
        (
            RUNNER.replace("jobs/report.yaml", "jobs/absent.yaml"),
            {"orders_hourly"},
            r"(?s)jobs/absent\.yaml is no job.*runner\.yaml:13:38",
        ),
        (RUNNER.replace("0 * * * *", "whenever"), set(), r"(?s)whenever.*runner\.yaml:9"),
        ("runner: [", set(), r"runner\.yaml:2"),
    ],
)
def test_what_is_wrong_with_schedules_is_an_asset_that_says_so_and_the_jobs_go_on(
    project: Workbench, text: str, sound: set[str], said: str
) -> None:
    project.write("runner.yaml", text)
    assert schedules(project).keys() == sound
    assert {"sales/orders", "sales/report", "runner"} <= project.specs().keys()
    assert re.search(said, project.specs()["runner"].description or "")
    assert project.run("sales/orders").ok
    failed = project.run("runner")
    assert not failed.ok and failed.failure("runner").metadata["hint"]
