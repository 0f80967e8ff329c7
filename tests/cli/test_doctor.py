"""`dativo doctor` on installations that are well, and on those that are not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner
from dagster._daemon.types import DaemonHeartbeat

from dativo_assets.cli.doctor import command

JOB = "source: {reader: csv, files: data.csv}\ntarget: {writer: parquet, path: warehouse/%s}\n"


@pytest.fixture
def home(shell: Any) -> Path:
    shell.write("jobs/one.yaml", JOB % "one")
    shell.write("home/dagster.yaml", "telemetry: {enabled: false}\nrun_monitoring: {enabled: true}\n")
    return Path(shell.root / "home")


Found = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture
def examine(shell: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, Found]]:
    """The command in this process: it takes a tenth of the time."""
    for name in ("DATIVO_PROJECT", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)

    def look(home: Path | None = None) -> tuple[int, Found]:
        if home is not None:
            monkeypatch.setenv("DAGSTER_HOME", str(home))
        done = CliRunner().invoke(command, ["--json", "-p", str(shell.root)], standalone_mode=False)
        assert isinstance(done.return_value, int), done.exception
        return done.return_value, told(json.loads(done.stdout), done.return_value)

    return look


def told(found: dict[str, Any], code: int) -> Found:
    """Findings by area and subject."""
    statuses = {item["status"] for item in found["findings"]}
    assert found["status"] == next(status for status in ("error", "warning", "ok") if status in statuses)
    assert code == (found["status"] == "error")
    assert all(item["hint"] for item in found["findings"] if item["status"] != "ok"), "every finding says what to do"
    return {(item["area"], item["subject"]): item for item in found["findings"]}


def in_shell(shell: Any, **environment: str) -> tuple[int, Found]:
    said = shell("doctor", "--json", **environment)
    return said.code, told(said.json, said.code)


def beat(home: Path, age_s: float, errors: list[Any] | None = None) -> None:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        for kind in instance.get_required_daemon_types():
            instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - age_s, kind, "id", errors))


def test_a_sound_installation_has_no_error(shell: Any, home: Path, examine: Any) -> None:
    home.joinpath("dagster.yaml").write_text(
        "telemetry: {enabled: false}\nrun_monitoring: {enabled: true}\nrun_retries: {enabled: true}\n"
    )
    beat(home, 1)
    code, found = examine(home)
    assert code == 0
    assert {item["status"] for item in found.values()} == {"ok"}, found
    assert {area for area, _ in found} == {
        *("versions", "plugins", "jobs", "isolation", "disk", "clock", "instance", "daemon"),
    }


def test_people_see_what_is_wrong_first_and_the_rest_when_they_ask(shell: Any, home: Path) -> None:
    beat(home, 1)
    said = shell("doctor", DAGSTER_HOME=str(home))
    assert said.code == 0
    assert "run retries: off: a run whose machine died is not tried again\n  hint: run_retries:" in said.out
    assert "pyarrow" not in said.out
    assert "pyarrow" in CliRunner().invoke(command, ["--all", "-p", str(shell.root)]).stdout


def test_a_daemon_that_is_silent_wrong_or_on_another_clock_is_told(shell: Any, home: Path, examine: Any) -> None:
    beat(home, 7500)
    code, found = examine(home)
    assert code == 1
    assert found["daemon", "sensor"]["message"] == "silent for 2 hours"
    assert "dagster-daemon run" in found["daemon", "sensor"]["hint"]

    beat(home, -3600)
    code, found = examine(home)
    assert re.match(r"its machine's clock is 3\d\d\d s ahead", found["daemon", "sensor"]["message"])

    from dagster._utils.error import SerializableErrorInfo

    beat(home, 1, [SerializableErrorInfo("ValueError: no such partition\n", [], "ValueError")])
    code, found = examine(home)
    assert (code, found["daemon", "sensor"]["message"]) == (1, "it failed: ValueError: no such partition")


def test_a_daemon_that_never_ran_is_one_finding(shell: Any, home: Path, examine: Any) -> None:
    code, found = examine(home)
    assert code == 0
    assert [item["status"] for (area, _), item in found.items() if area == "daemon"] == ["warning"]


def test_an_instance_that_is_nowhere_wrong_or_down_is_told(shell: Any, home: Path, examine: Any) -> None:
    _, found = examine()
    assert found["instance", "DAGSTER_HOME"]["status"] == "warning"
    code, found = examine(shell.root / "nowhere")
    assert (code, found["instance", "DAGSTER_HOME"]["status"]) == (1, "error")

    shell.write("home/dagster.yaml", "run_monitoring: {enabledd: true}\n")
    code, found = examine(home)
    assert code == 1
    assert "enabledd" in found["instance", str(home)]["message"]
    assert "dagster.yaml" in found["instance", str(home)]["hint"]

    url = "postgresql+psycopg2://dagster:hush-hush@127.0.0.1:1/dagster"
    shell.write("home/dagster.yaml", f"storage: {{postgres: {{postgres_url: '{url}'}}}}\n")
    said = shell("doctor", DAGSTER_HOME=str(home))
    assert said.code == 1
    assert "Connection refused" in said.out
    assert "is its database up" in said.out
    assert "hush-hush" not in said.out + said.err


def test_limits_that_this_host_does_not_hold_are_told(shell: Any, home: Path, examine: Any) -> None:
    code, found = examine()
    assert (code, found["isolation", "plugins"]["status"]) == (0, "ok")
    limits = "{cores: 0.5, processes: false%s}"
    for name, more in (("one", ""), ("two", ", best_effort: true")):
        job = (JOB % name).replace("csv,", f"csv, isolation: {limits % more},")
        shell.write(f"jobs/{name}.yaml", job)
    code, found = examine()
    assert code == 1
    assert found["isolation", "one"]["status"] == "error" and "isolation.cores" in found["isolation", "one"]["message"]
    assert found["isolation", "two"]["status"] == "warning" and "DATIVO_CGROUP" in found["isolation", "two"]["hint"]


def test_broken_jobs_are_told_with_their_place_and_the_rest_is_looked_at(shell: Any, home: Path, examine: Any) -> None:
    shell.write("jobs/two.yaml", "source: {raeder: csv, files: data.csv}\ntarget: {writer: parquet}\n")
    code, found = examine()
    assert code == 1
    assert "jobs/two.yaml:1" in found["jobs", "two"]["message"]
    assert "reader: csv" in found["jobs", "two"]["hint"]


def test_a_project_without_jobs_can_be_examined(shell: Any, examine: Any) -> None:
    code, found = examine()
    assert code == 0
    assert ("versions", "dagster") in found


def test_a_project_that_cannot_be_read_ends_with_2(shell: Any) -> None:
    shell.write("dativo.yaml", "jbos: x\n")
    assert shell("doctor").code == 2


def test_connections_are_told_by_their_variables_and_by_what_they_answer(shell: Any) -> None:
    shell.write(
        "dativo.yaml",
        """
        connections:
          idle: {dsn: "${NOT_USED:-x}"}
          unset: {dsn: "${SHOP_DSN}"}
          down: {dsn: "postgresql://u:hush-hush@127.0.0.1:1/x"}
          slow: {answer: late}
        """,
    )
    writer = "source: {reader: csv, files: data.csv}\ntarget: {writer: postgres, table: t, connection: down}\n"
    shell.write("jobs/down.yaml", writer)
    shell.write("jobs/slow.yaml", 'source: {reader: "slow.py:Slow", connection: slow}\n' + JOB.splitlines()[1] % "s")
    shell.write(
        "slow.py",
        """
        import time
        from dativo_plugin_sdk import BaseReader

        class Slow(BaseReader):
            def check_connection(self):
                print("asked")
                time.sleep(3600)
            def extract(self, state_manager=None):
                yield []
        """,
    )
    start = time.monotonic()
    code, found = in_shell(shell)
    assert time.monotonic() - start < 30
    assert code == 1
    assert found["connections", "idle"]["status"] == "ok"
    assert found["connections", "unset"]["message"] == "SHOP_DSN is not set"
    assert found["connections", "down"]["status"] == "error"
    assert "hush-hush" not in str(found)
    assert found["connections", "slow"]["message"] == "no answer within 10 s"


def test_a_plugin_that_does_not_load_is_an_error_only_where_a_job_uses_it(shell: Any, tmp_path: Path) -> None:
    shell.write("site/broken_plugin.py", "import nowhere_to_be_found\n")
    shell.write(
        "site/broken_plugin-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: broken-plugin\nVersion: 1.0\n"
    )
    shell.write(
        "site/broken_plugin-1.0.dist-info/entry_points.txt", "[dativo.readers]\nbroken = broken_plugin:Reader\n"
    )
    code, found = in_shell(shell, PYTHONPATH=str(shell.root / "site"))
    assert (code, found["plugins", "reader broken"]["status"]) == (0, "warning")
    assert "nowhere_to_be_found" in found["plugins", "reader broken"]["message"]

    shell.write("jobs/one.yaml", (JOB % "one").replace("reader: csv", "reader: broken"))
    code, found = in_shell(shell, PYTHONPATH=str(shell.root / "site"))
    assert (code, found["plugins", "reader broken"]["status"]) == (1, "error")


def test_a_package_of_another_dagster_release_is_told_with_the_one_that_fits(shell: Any) -> None:
    shell.write(
        "site/dagster_graphql-1.12.0.dist-info/METADATA",
        "Metadata-Version: 2.1\nName: dagster-graphql\nVersion: 1.12.0\n",
    )
    code, found = in_shell(shell, PYTHONPATH=str(shell.root / "site"))
    assert code == 1
    assert f"dagster-graphql=={dg.__version__}" in found["versions", "dagster-graphql"]["hint"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "small"
    disk.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=False).returncode:
        pytest.skip("a small disk can't be mounted here")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_disk_that_is_nearly_full_is_told_where_a_target_is(shell: Any, small_disk: Path, examine: Any) -> None:
    shell.write("jobs/one.yaml", JOB % f"../{small_disk.relative_to(shell.root)}/one")
    code, found = examine()
    assert code == 1
    assert str(small_disk) in found["disk", "target of one"]["message"]
    assert "dativo maintain" in found["disk", "target of one"]["hint"]
