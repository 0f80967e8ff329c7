"""What a project looks like in Dagster before anything ran."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from dativo_assets.assets import asset_key, build_definitions


def test_a_job_is_an_asset_with_all_that_its_yaml_says(bench) -> None:
    bench.orders()
    spec = bench.specs()["sales/orders"]

    assert spec.group_name == "sales"
    assert spec.kinds == {"csv", "parquet"}
    assert list(spec.owners) == ["team:sales", "ann@example.com"]
    assert spec.tags["tier"] == "gold"
    assert spec.tags["dagster/storage_kind"] == "parquet"
    assert spec.description.splitlines()[0] == "Orders of the shop"
    assert "reader: csv" in spec.description
    assert spec.metadata["dagster/table_name"] == "sales.orders"
    assert spec.metadata["dagster/uri"] == str(bench.root / "warehouse/orders")
    reference = spec.metadata["dagster/code_references"].code_references[0]
    assert (reference.file_path, reference.line_number) == (str(bench.root / "jobs/orders.yaml"), 1)
    columns = {column.name: column for column in spec.metadata["dagster/column_schema"].columns}
    assert columns["id"].type == "int64"
    assert columns["id"].tags == {"pk": ""}
    assert columns["id"].constraints.unique
    assert columns["amount"].constraints.other == [">= 0"]
    assert columns["email"].tags == {"pii": ""}
    assert spec.freshness_policy is not None


def test_each_rule_is_a_check_known_before_a_run(bench) -> None:
    bench.orders()
    checks = {key.name for key in bench.definitions().resolve_asset_graph().asset_check_keys}
    assert {"types", "primary_key", "amount_min"} <= checks


def test_a_check_blocks_exactly_where_a_violation_keeps_the_run_from_committing(bench) -> None:
    bench.orders()
    assert not any(spec.blocking for spec in _check_specs(bench.definitions()))
    text = (bench.root / "jobs/orders.yaml").read_text()
    bench.write("jobs/orders.yaml", text.replace("on_violation: quarantine", "on_violation: fail"))
    assert all(spec.blocking for spec in _check_specs(bench.definitions()))


def _check_specs(definitions: dg.Definitions) -> list[dg.AssetCheckSpec]:
    return [spec for item in definitions.assets if isinstance(item, dg.AssetsDefinition) for spec in item.check_specs]


def test_jobs_that_read_the_same_files_share_one_source(bench) -> None:
    bench.orders()
    bench.write(
        "jobs/copy.yaml",
        """
        source: {reader: csv, files: "data/orders/*.csv"}
        target: {writer: jsonl, path: warehouse/copy}
        """,
    )
    specs = bench.specs()
    source = "source/csv/data/orders"
    assert [dep.asset_key.to_user_string() for dep in specs["copy"].deps] == [source]
    assert [dep.asset_key.to_user_string() for dep in specs["sales/orders"].deps] == [source]
    assert specs[source].group_name == "sources"
    assert specs[source].kinds == {"csv"}


def test_lineage_follows_depends_on_the_query_and_other_code_locations(bench) -> None:
    bench.orders()
    bench.write(
        "jobs/totals.yaml",
        """
        depends_on: ["external:crm/customers"]
        source: {reader: sql, query: SELECT sum(amount) AS total FROM orders}
        target: {writer: parquet, path: warehouse/totals}
        """,
    )
    deps = {dep.asset_key.to_user_string() for dep in bench.specs()["totals"].deps}
    assert deps == {"sales/orders", "crm/customers"}


def test_names_that_look_alike_in_dagster_do_not_collide(bench) -> None:
    names = ["a.b", "a_b", "a-b", "a__b", "type", "in"]
    for name in names:
        bench.write(
            f"jobs/{name}.yaml",
            f"source: {{reader: csv, files: data/x.csv}}\ntarget: {{writer: parquet, path: 'w/{name}'}}\n",
        )
    bench.write(
        "jobs/grouped.yaml",
        "name: b\ngroup: a\nsource: {reader: csv, files: data/x.csv}\ntarget: {writer: parquet, path: w/g}\n",
    )
    bench.write("data/x.csv", "n\n1\n")
    definitions = bench.definitions()
    dg.Definitions.validate_loadable(definitions)
    ops = [item.op.name for item in definitions.assets if isinstance(item, dg.AssetsDefinition)]
    assert len(set(ops)) == len(names) + 1
    assert bench.run().ok


def test_a_broken_job_is_an_asset_that_fails_with_its_error_and_harms_no_other(bench) -> None:
    bench.orders()
    bench.write("jobs/typo.yaml", "group: sales\nsource:\n  raeder: csv\ntarget: {writer: parquet, path: w}\n")
    bench.write("jobs/notyaml.yaml", "source: {reader: [\n")
    dg.Definitions.validate_loadable(bench.definitions())
    spec = bench.specs()["sales/typo"]
    assert "dativo/broken" in spec.tags
    assert spec.description.startswith("Broken: ")
    assert "jobs/typo.yaml:3:3" in spec.metadata["error"].value
    assert spec.metadata["dagster/code_references"].code_references[0].line_number > 1

    run = bench.run()
    assert not run.ok
    assert set(run.materialized()) == {"sales/orders"}
    failure = run.failure("sales__typo")
    assert "raeder" in failure.description
    assert failure.metadata["where"].value.startswith("jobs/typo.yaml:")
    assert "did you mean `reader`?" in failure.metadata["error"].value
    assert run.failure("notyaml") is not None


def test_what_a_broken_job_feeds_still_knows_its_lineage(bench) -> None:
    bench.report()
    bench.write("jobs/orders.yaml", "group: sales\nsource: {reader: csv}\n")
    assert "sales/orders" in {dep.asset_key.to_user_string() for dep in bench.specs()["sales/report"].deps}


@pytest.mark.parametrize(
    ("line", "said"),
    [("reader: cvs", "unknown reader 'cvs'"), ("contract: none.yaml", "no contract file none.yaml")],
)
def test_what_can_not_be_bound_is_its_own_broken_asset(bench, line: str, said: str) -> None:
    bench.orders()
    reader = line if line.startswith("reader") else "reader: csv"
    rest = "" if line.startswith("reader") else line
    bench.write(
        "jobs/odd.yaml", f"source: {{{reader}, files: data/x.csv}}\ntarget: {{writer: parquet, path: w}}\n{rest}\n"
    )
    assert "dativo/broken" in bench.specs()["odd"].tags
    run = bench.run()
    assert set(run.materialized()) == {"sales/orders"}
    assert said in run.failure("odd").description


def test_two_jobs_of_one_name_are_two_broken_assets(bench) -> None:
    for file in ("one", "two"):
        bench.write(
            f"jobs/{file}.yaml",
            "name: same\nsource: {reader: csv, files: x.csv}\ntarget: {writer: parquet, path: w}\n",
        )
    broken = [key for key, spec in bench.specs().items() if "dativo/broken" in spec.tags]
    assert sorted(broken) == ["same", "same__jobs_two"]


def test_a_broken_project_file_says_where(bench) -> None:
    bench.write("dativo.yaml", "jbos: x\n")
    with pytest.raises(dg.DagsterInvalidDefinitionError, match=r"dativo\.yaml:1:1"):
        bench.definitions()


def test_no_secret_is_resolved_when_definitions_load(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "s3cr3t-from-env")
    bench.write("dativo.yaml", "jobs: jobs/*.yaml\nconnections:\n  shop: {password: hunter2-literal}\n")
    bench.write(
        "jobs/shop.yaml",
        """
        source:
          reader: csv
          files: ["data/${SHOP_PASSWORD}/x.csv"]
          connection: {host: db.internal, password: hunter3-inline}
          credentials: {token: tok-123}
          options: {null_values: ["NA"]}
        target: {writer: parquet, path: "s3://key:hunter4@bucket/x", connection: shop}
        """,
    )
    spec = bench.specs()["shop"]
    shown = repr([bench.specs(), spec.description, dict(spec.metadata)])
    for secret in ("s3cr3t-from-env", "hunter2", "hunter3", "db.internal", "tok-123", "hunter4"):
        assert secret not in shown


def test_triggers_become_conditions_and_one_sensor_that_run_from_the_start(bench) -> None:
    bench.orders()
    bench.report()
    text = (bench.root / "jobs/orders.yaml").read_text()
    bench.write("jobs/orders.yaml", text + "trigger: {files: {poll: 30s}}\n")
    text = (bench.root / "jobs/report.yaml").read_text()
    bench.write("jobs/report.yaml", text + 'trigger: {cron: "0 6 * * *"}\n')
    definitions = bench.definitions()
    dg.Definitions.validate_loadable(definitions)
    sensors = {sensor.name: sensor for sensor in definitions.sensors}
    assert set(sensors) == {"dativo_triggers", "dativo_automation"}
    assert all(sensor.default_status is dg.DefaultSensorStatus.RUNNING for sensor in sensors.values())
    assert bench.specs()["sales/report"].automation_condition.get_label() == "on_cron(0 6 * * *, UTC)"
    bench.write("jobs/report.yaml", text + 'trigger: {cron: "0 6 * * *"}\nenabled: false\n')
    assert bench.specs()["sales/report"].automation_condition is None


def test_upstream_starts_what_follows_and_a_cron_waits_for_nothing(bench) -> None:
    bench.orders()
    bench.report()
    text = (bench.root / "jobs/report.yaml").read_text()
    bench.write("jobs/report.yaml", text + "trigger: {on: upstream}\n")
    definitions = bench.definitions()
    first = dg.evaluate_automation_conditions(defs=definitions, instance=bench.instance)
    assert first.total_requested == 0
    assert bench.run("sales/orders").ok
    second = dg.evaluate_automation_conditions(defs=definitions, instance=bench.instance, cursor=first.cursor)
    assert second.get_num_requested(dg.AssetKey(["sales", "report"])) == 1


def test_the_module_behind_workspace_yaml_obeys_dativo_project(bench) -> None:
    bench.orders()
    code = "from dativo_assets.definitions import defs; print(*[a.key for a in defs.assets])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "DATIVO_PROJECT": str(bench.root)},
    )
    assert "orders" in done.stdout


def test_loading_five_hundred_jobs_imports_no_engine_and_no_plugin(bench) -> None:
    for index in range(500):
        bench.write(
            f"jobs/job_{index}.yaml",
            f"""
            group: g{index % 7}
            source: {{reader: csv, files: data/{index}.csv}}
            target: {{writer: parquet, path: warehouse/{index}}}
            schema: [{{name: id, type: int64, required: true}}]
            """,
        )
    code = (
        "import sys\nfrom dativo_assets.definitions import defs\n"
        "assert len(defs.resolve_asset_graph().get_all_asset_keys()) == 1000\n"
        "heavy = {'pyarrow', 'polars', 'duckdb', 'pandas', 'sqlglot', 'dativo_assets.readers.csv'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "DATIVO_PROJECT": str(bench.root)},
    )
    assert done.returncode == 0, done.stderr


def test_partitions_are_declared(bench) -> None:
    bench.orders()
    text = (bench.root / "jobs/orders.yaml").read_text()
    bench.write("jobs/orders.yaml", text + "partitions: {daily: {start: 2024-01-01, end: 2024-01-04, column: id}}\n")
    partitions = bench.specs()["sales/orders"].partitions_def
    assert partitions.get_partition_keys() == ["2024-01-01", "2024-01-02", "2024-01-03"]


def test_keys_are_the_group_and_the_name() -> None:
    assert asset_key("orders", "sales/eu").path == ["sales", "eu", "orders"]
    assert asset_key("orders").path == ["orders"]


def test_the_nearest_project_is_the_default(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.orders()
    monkeypatch.delenv("DATIVO_PROJECT", raising=False)
    inside = bench.root / "jobs"
    monkeypatch.chdir(inside)
    assert Path.cwd() == inside
    keys = build_definitions().resolve_asset_graph().get_all_asset_keys()
    assert dg.AssetKey(["sales", "orders"]) in keys
