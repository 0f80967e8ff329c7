"""What each verb prints and how it exits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dativo_assets.config import load_project

JOB = "source: {reader: csv, files: [a.csv]}\ntarget: {writer: parquet, path: out}\n"
RULES = "schema:\n  - {name: id, type: int64, primary_key: true}\n  - {name: v, type: int64, min: 0}\n"


@pytest.fixture
def orders(shell: Any) -> Any:
    shell.write("a.csv", "id,v\n1,10\n2,-5\n3,30\n")
    shell.write("jobs/orders.yaml", JOB + RULES + "on_violation: quarantine\n")
    return shell


def test_init_makes_a_project_that_runs_and_overwrites_nothing(shell: Any, tmp_path: Path) -> None:
    assert shell("init", "shop").code == 0
    run = shell("run", "--project", "shop")
    assert (run.code, run.out.splitlines()[0].split(" in ")[0]) == (0, "cities: 3 rows, 1 rejected, 1.4 kB")
    (tmp_path / "shop/dativo.yaml").write_text("mine")
    again = shell("init", "shop")
    assert (again.code, "exists already" in again.err) == (2, True)
    assert (tmp_path / "shop/dativo.yaml").read_text() == "mine"


def test_run_prints_json_and_nothing_else_on_standard_output(orders: Any) -> None:
    said = orders("run", "orders", "--json")
    (result,) = said.json
    assert said.code == 0
    expected = {"job": "orders", "status": "succeeded", "rows_read": 3, "rows_written": 2, "rows_rejected": 1, "seq": 1}
    assert {key: result[key] for key in expected} == expected
    assert result["seconds"] > 0 and result["peak_rss_bytes"] > 0 and result["bytes_read"] > 0
    assert all(Path(name).exists() for name in result["files"])
    assert [check["violations"] for check in result["checks"] if check["name"] == "v_min"] == [1]


def test_a_job_is_named_by_its_path_from_anywhere(orders: Any, tmp_path: Path) -> None:
    done = subprocess.run(
        orders.command("run", str(tmp_path / "jobs/orders.yaml"), "--json"),
        cwd="/",
        env=orders.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert json.loads(done.stdout)[0]["status"] == "succeeded"
    assert orders("run", "orders", "--json", DATIVO_PROJECT=str(tmp_path)).json[0]["seq"] == 2


def test_exit_codes_tell_all_some_and_none(orders: Any) -> None:
    orders.write("jobs/bad.yaml", JOB.replace("a.csv", "gone.csv"))
    assert orders("run", "orders").code == 0
    assert orders("run").code == 1
    assert orders("run", "bad").code == 2


def test_a_profile_is_a_trace_of_all_jobs_that_ran(orders: Any) -> None:
    said = orders("run", "orders", "--profile", "trace.json")
    assert said.code == 0, said.err
    events = json.loads((orders.root / "trace.json").read_text())["traceEvents"]
    assert {"csv.plan", "csv.next", "parquet.write", "parquet.commit"} <= {event["name"] for event in events}


def test_a_profile_that_cannot_be_written_is_told_before_anything_runs(orders: Any) -> None:
    said = orders("run", "orders", "--profile", "nowhere/trace.json")
    assert said.code == 2 and "the profile nowhere/trace.json can't be written" in said.err
    assert not (orders.root / "warehouse").exists()


def test_upstream_runs_first_and_its_failure_skips_what_depends_on_it(orders: Any) -> None:
    target = "target: {writer: parquet, path: 'w/{name}'}\n"
    orders.write("jobs/a_sum.yaml", 'source: {reader: sql, query: "select sum(v) as v from orders"}\n' + target)
    assert [item["job"] for item in orders("run", "--json").json] == ["orders", "a_sum"]
    orders.write("a.csv", "id\n1\n")
    said = orders("run", "--json")
    assert [item["error"]["error_code"] for item in said.json][1] == "UPSTREAM_FAILED"
    assert said.code == 2


def test_preview_and_plan_write_nothing(orders: Any, tmp_path: Path) -> None:
    preview = orders("preview", "orders", "--rows", "2", "--json").json
    assert preview["rows"] == [{"id": 1, "v": 10}]
    assert preview["rejected"][0]["_dativo_rule"] == "v_min"
    plan = orders("plan", "orders", "--json").json
    assert plan["schema"] == {"id": "int64", "v": "int64"}
    assert (plan["next_seq"], plan["mode"], len(plan["splits"])) == (1, "overwrite", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".dativo", "a.csv", "dativo.yaml", "jobs"]
    assert [path.name for path in (tmp_path / ".dativo").iterdir()] == ["cache"]


def test_state_shows_the_last_commit_and_its_history(orders: Any) -> None:
    assert "nothing is committed yet" in orders("state", "show", "orders").out
    orders("run", "orders")
    state = orders("state", "show", "orders", "--json").json
    assert (state["seq"], state["history"][0]["rows_written"]) == (1, 2)


def test_validate_shows_every_mistake_at_once(orders: Any) -> None:
    orders.write(
        "jobs/bad.yaml", "source: {reader: csvv, files: [a.csv]}\ntarget: {writer: parquet, path: o, mod: x}\n"
    )
    orders.write("jobs/worse.yaml", JOB.replace("files: [a.csv]", "files: [a.csv], options: {delimeter: x}"))
    said = orders("validate")
    assert said.code == 1
    assert "jobs/bad.yaml:2" in said.err and "did you mean `mode`?" in said.err
    assert "jobs/worse.yaml:1" in said.err and "did you mean `delimiter`?" in said.err
    assert [item["valid"] for item in orders("validate", "--json").json].count(True) == 1


def test_a_range_in_turn_stops_at_a_failure_and_says_how_to_go_on(shell: Any) -> None:
    rows = ["id,at", *(f"{day},2024-01-0{day}T10:00:00" for day in range(1, 7))]
    shell.write(
        "jobs/events.yaml",
        """
        source: {reader: csv, files: events.csv}
        target: {writer: parquet, path: warehouse/events}
        schema: [{name: id, type: int64}, {name: at, type: "timestamp[us]"}]
        partitions: {daily: {start: 2024-01-01, column: at}, per_run: 2}
        retry: {max_attempts: 1}
        """,
    )
    shell.write("events.csv", "\n".join(rows).replace("3,2024", "no number,2024"))
    told = shell("run", "events", "--partition", "2024-01-01..2024-01-06")
    assert told.code == 1
    assert "1 of 3 runs are done: go on with --partition '2024-01-03..2024-01-06'" in told.err
    shell.write("events.csv", "\n".join(rows))
    results = shell("run", "events", "--partition", "2024-01-03..2024-01-06", "--json").json
    assert [(result["rows_written"], result["commit"]["seq"]) for result in results] == [(2, 2), (2, 3)]


def test_new_files_of_a_job_divided_by_files_are_runs_of_their_own(shell: Any) -> None:
    shell.write(
        "jobs/sales.yaml",
        """
        source: {reader: csv, files: in/*.csv}
        target: {writer: parquet, path: warehouse/sales}
        schema: [{name: id, type: int64}, {name: file, type: string}]
        partitions: {files: {column: file}}
        """,
    )
    for name, value in (("a", "1"), ("b", "no number"), ("c", "3")):
        shell.write(f"in/{name}.csv", f"id\n{value}\n")
    planned = shell("plan", "sales", "--json").json
    assert [split["id"] for split in planned["splits"]] == ["in/a.csv", "in/b.csv", "in/c.csv"]
    told = shell("run", "sales")
    assert told.code == 1
    assert "sales in/a.csv: 1 row" in told.out and "sales in/b.csv: failed" in told.out
    assert "sales in/c.csv: 1 row" in told.out
    shell.write("in/b.csv", "id\n2\n")
    (again,) = shell("run", "sales", "--json").json
    assert (again["partitions"], again["rows_written"], again["seq"]) == ("in/b.csv", 1, 3)
    (nothing,) = shell("run", "sales", "--json").json
    assert nothing["status"] == "unchanged" and "partitions" not in nothing
    assert shell("plan", "sales", "--json").json["unchanged"]
    refused = shell("run", "sales", "--full-refresh")
    assert refused.code == 2 and "there is no full refresh of it" in refused.err


def test_validate_reads_the_runner_file_too(orders: Any) -> None:
    schedule = "{name: hourly, config: jobs/absent.yaml, cron: '0 * * * *'}"
    orders.write("runner.yaml", f"runner: {{orchestrator: {{schedules: [{schedule}]}}}}\n")
    said = orders("validate")
    assert said.code == 1
    assert "jobs/absent.yaml is no job of the project" in said.err and "runner.yaml:1" in said.err
    (told,) = [item for item in orders("validate", "--json").json if not item["valid"]]
    assert told["job"] is None and told["errors"][0]["details"]["file"] == "runner.yaml"
    assert orders("validate", "orders").code == 0


def test_validate_needs_no_variable_and_no_upstream_table(shell: Any) -> None:
    shell.write("jobs/a.yaml", JOB.replace("a.csv]", "a.csv], credentials: {key: '${NOT_SET_ANYWHERE}'}"))
    shell.write("jobs/b.yaml", 'source: {reader: sql, query: "select * from a"}\ntarget: {writer: parquet, path: o2}\n')
    assert shell("validate").code == 0


def test_check_and_discover(orders: Any) -> None:
    assert [item["success"] for item in orders("check", "orders", "--json").json] == [True, True]
    assert orders("discover", "orders", "--json").json["objects"][0]["name"] == "a.csv"
    orders.write("jobs/orders.yaml", JOB.replace("a.csv", "gone.csv"))
    said = orders("check", "orders")
    assert (said.code, "gone.csv does not exist" in said.out) == (1, True)


def test_plugins_lists_the_built_ins_with_their_options(shell: Any) -> None:
    found = {(item["kind"], item["name"]): item for item in shell("plugins", "--json").json}
    assert "delimiter" in found["reader", "csv"]["options"]
    assert found["writer", "parquet"]["error"] is None


def test_schema_is_a_json_schema_with_plugin_options(shell: Any) -> None:
    text = shell("schema").out
    assert json.loads(text)["$schema"].startswith("http")
    assert "row_group_rows" in text


def test_materialize_is_recorded_in_the_projects_instance(orders: Any, tmp_path: Path) -> None:
    import dagster as dg

    (outcome,) = orders("materialize", "orders", "--json").json
    assert (outcome["status"], outcome["rows"], outcome["commit"]) == ("materialized", 2, 1)
    with dg.DagsterInstance.from_config(str(tmp_path / ".dagster")) as instance:
        run = instance.get_run_by_id(outcome["run_id"])
    assert run is not None and load_project(tmp_path).jobs["orders"].digest.startswith(run.tags["dativo/digest"])
    assert (tmp_path / ".dagster/dagster.yaml").exists()
    orders.write("a.csv", "id\n1\n")
    failed = orders("materialize", "orders")
    assert (failed.code, "`v`" in failed.err or "'v'" in failed.err) == (2, True)


def test_a_verb_that_does_not_exist_is_answered_with_the_nearest(shell: Any) -> None:
    said = shell("valdate")
    assert (said.code, "Did you mean `validate`?" in said.err) == (2, True)


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: Any, name: str) -> None:
    assert "_DATIVO_COMPLETE" in shell("completion", name).out


def test_every_verb_has_help_with_examples(shell: Any) -> None:
    from dativo_assets.cli.app import VERBS

    for verb in VERBS:
        said = shell(verb, *(["show"] if verb == "state" else []), "--help")
        assert said.code == 0 and "Examples:" in said.out, verb


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        (["--help"], "dagster pyarrow polars duckdb pydantic rich"),
        (["validate"], "dagster polars duckdb"),
        (["plugins"], "dagster polars duckdb"),
        (["run", "orders"], "dagster polars duckdb rich"),
        (["run", "plain"], "dagster polars duckdb rich pandas"),
    ],
)
def test_a_verb_imports_only_what_it_needs(orders: Any, arguments: list[str], absent: str) -> None:
    orders.write("jobs/plain.yaml", JOB.replace("path: out", "path: plain"))
    script = (
        "import sys\n"
        "from dativo_assets.cli import app\n"
        "def leave(code):\n"
        f"    print('LOADED', [name for name in {absent.split()!r} if name in sys.modules])\n"
        "app.leave = leave\n"
        f"sys.argv = ['dativo', *{arguments!r}]\n"
        "try:\n    app.entry()\nexcept SystemExit:\n    leave(0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=orders.root,
        env=orders.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "LOADED []", done.stdout + done.stderr


def test_a_reader_of_our_output_may_leave(orders: Any) -> None:
    line = f"{' '.join(orders.command('schema'))} | head -c 10"
    done = subprocess.run(["bash", "-c", line], cwd=orders.root, capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_logs_are_json_lines_on_standard_error(orders: Any) -> None:
    said = orders("run", "orders", "--log-format", "json")
    events = [json.loads(line) for line in said.err.splitlines()]
    assert events[-1]["event"] == "run ended"
    assert events[-1]["rows_written"] == 2
    plain = orders("run", "orders", "--log-format", "console")
    assert "INFO run ended job=orders" in plain.err
