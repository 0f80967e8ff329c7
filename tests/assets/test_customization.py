"""What a Python team changes of a project without leaving its own code base."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dativo_assets.assets import AssetData, JobAsset, asset_key, build_definitions, execute

API = """
    from dativo_plugin_sdk import BaseReader, ConnectionTestResult

    class Reader(BaseReader):
        def extract(self, state_manager=None):
            shop = self.source_config.connection
            if shop["token"].startswith("wrong"):
                raise ConnectionError(f"refused with {shop['token']} by {shop['host']}")
            yield [{"host": shop["host"], "port": shop.get("port"), "characters": len(shop["token"])}]

        def check_connection(self):
            return ConnectionTestResult(True, "")
"""
PULL = """
    source: {reader: "plugins/api.py:Reader", connection: shop}
    target: {writer: jsonl, path: warehouse/pull}
"""


class Shop(dg.ConfigurableResource):  # type: ignore[type-arg]
    host: str
    token: str
    port: int | None = None


@pytest.fixture
def pull(bench: Any) -> Any:
    bench.write("dativo.yaml", "jobs: jobs/*.yaml\nconnections:\n  shop: {host: from-yaml, token: in-yaml}\n")
    bench.write("plugins/api.py", API)
    bench.write("jobs/pull.yaml", PULL)
    return bench


def run(
    definitions: dg.Definitions, instance: dg.DagsterInstance, *keys: str, raising: bool = True
) -> dg.ExecuteInProcessResult:
    job = definitions.resolve_implicit_global_asset_job_def()
    chosen = [dg.AssetKey.from_user_string(key) for key in keys]
    return job.execute_in_process(instance=instance, asset_selection=chosen or None, raise_on_error=raising)


def landed(root: Path) -> str:
    return "".join(path.read_text() for path in sorted(root.glob("warehouse/pull/**/*.jsonl")))


def test_a_translated_key_is_followed_by_everything_that_names_it(bench: Any) -> None:
    bench.orders()
    bench.write("jobs/orders.yaml", (bench.root / "jobs/orders.yaml").read_text() + "trigger: {files: {poll: 30s}}\n")
    bench.report()
    bench.write("jobs/report.yaml", (bench.root / "jobs/report.yaml").read_text() + "trigger: {on: upstream}\n")

    def prefixed(spec: dg.AssetSpec, data: AssetData) -> dg.AssetSpec:
        return spec.replace_attributes(key=spec.key.with_prefix("shop"), owners=[f"team:{data.job.group}"])

    definitions = build_definitions(bench.root, translation=prefixed)
    specs = {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}
    assert specs["shop/sales/orders"].owners == ["team:sales"]
    assert dg.AssetKey(["shop", "sales", "orders"]) in {dep.asset_key for dep in specs["shop/sales/report"].deps}
    result = run(definitions, bench.instance)
    assert {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()} == {
        "shop/sales/orders",
        "shop/sales/report",
    }
    assert {event.asset_key.to_user_string() for event in result.get_asset_check_evaluations()} == {"shop/sales/orders"}
    graph = definitions.resolve_asset_graph()
    for sensor in definitions.sensors or ():
        assert sensor.asset_selection.resolve(graph) <= graph.get_all_asset_keys()


def test_two_jobs_translated_to_one_key_harm_only_the_second(bench: Any) -> None:
    bench.orders()
    bench.report()
    definitions = build_definitions(bench.root, translation=lambda spec, _: spec.replace_attributes(key="same"))
    specs = {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}
    assert "dativo/broken" not in specs["same"].tags
    assert "are both translated to same" in specs["sales/report"].description


def test_a_job_whose_own_key_was_given_to_another_is_still_told(bench: Any) -> None:
    bench.orders()
    bench.report()

    def swapped(spec: dg.AssetSpec, data: AssetData) -> dg.AssetSpec:
        return spec.replace_attributes(key=dg.AssetKey(["sales", "report"]))

    definitions = build_definitions(bench.root, translation=swapped)
    specs = {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}
    assert "dativo/broken" not in specs["sales/report"].tags
    assert "are both translated to sales/report" in specs["sales/report_"].description


def test_a_translation_that_raises_breaks_its_own_job_alone(bench: Any) -> None:
    bench.orders()
    bench.report()

    def picky(spec: dg.AssetSpec, data: AssetData) -> dg.AssetSpec:
        if data.job.name == "report":
            raise ValueError("no reports here")
        return spec

    definitions = build_definitions(bench.root, translation=picky)
    specs = {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}
    assert "no reports here" in specs["sales/report"].description
    assert "dativo/broken" not in specs["sales/orders"].tags


def test_a_team_wraps_one_job_and_adds_its_own_assets_before_and_after(bench: Any) -> None:
    bench.orders()
    steps: list[str] = []

    @dg.asset
    def exported() -> None:
        steps.append("exported")

    @dg.asset(deps=[asset_key("orders", "sales")])
    def mailed() -> None:
        steps.append("mailed")

    def after_export(spec: dg.AssetSpec, _: AssetData) -> dg.AssetSpec:
        return spec.replace_attributes(deps=[*spec.deps, "exported"])

    def wrapped(context: dg.AssetExecutionContext, asset: JobAsset) -> Any:
        steps.append(f"before {asset.job.name}")
        yield from execute(context, asset)
        steps.append("after")

    definitions = dg.Definitions.merge(
        build_definitions(bench.root, translation=after_export, execute=wrapped),
        dg.Definitions(assets=[exported, mailed]),
    )
    assert run(definitions, bench.instance).success
    assert steps == ["exported", "before orders", "after", "mailed"]


def test_a_team_swaps_where_one_job_lands(pull: Any) -> None:
    def elsewhere(context: dg.AssetExecutionContext, asset: JobAsset) -> Any:
        target = asset.job.target.model_copy(update={"path": "scratch/pull"})
        yield from execute(context, replace(asset, job=asset.job.model_copy(update={"target": target})))

    assert run(build_definitions(pull.root, execute=elsewhere), pull.instance).success
    assert list(pull.root.glob("scratch/pull/**/*.jsonl"))
    assert landed(pull.root) == ""


def test_steps_of_several_jobs_keep_apart_under_one_op_name(bench: Any) -> None:
    from dagster.components.resolved.core_models import OpSpec

    bench.orders()
    bench.report()
    definitions = build_definitions(bench.root, op=OpSpec(name="load", tags={"cpu": "2"}, pool="night"))
    ops = [item.op for item in definitions.assets or () if isinstance(item, dg.AssetsDefinition)]
    assert {op.name for op in ops} == {"load__sales__orders", "load__sales__report"}
    assert {(op.tags["cpu"], op.pool) for op in ops} == {("2", "night")}


@pytest.mark.parametrize("way", ["a resource", "a resource's key", "keys"])
def test_a_connection_comes_from_dagster_and_its_variables_resolve_at_run_time(
    pull: Any, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.delenv("SHOP_TOKEN", raising=False)
    shop = Shop(host="api.example.com", token=dg.EnvVar("SHOP_TOKEN"), port=8443)
    keys = {"host": "api.example.com", "token": dg.EnvVar("SHOP_TOKEN"), "port": 8443}
    given: Any = {"a resource": shop, "a resource's key": "shop_db", "keys": keys}[way]
    definitions = build_definitions(pull.root, connections={"shop": given})
    if way == "a resource's key":
        definitions = dg.Definitions.merge(definitions, dg.Definitions(resources={"shop_db": shop}))
    monkeypatch.setenv("SHOP_TOKEN", "seventeen-letters")
    assert run(definitions, pull.instance).success
    assert landed(pull.root) == '{"host":"api.example.com","port":8443,"characters":17}\n'


def test_the_secret_of_a_resource_is_masked_in_what_a_failure_says(pull: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "wrong-token-1234")
    shop = Shop(host="api.example.com", token=dg.EnvVar("SHOP_TOKEN"))
    definitions = build_definitions(pull.root, connections={"shop": shop})
    result = run(definitions, pull.instance, raising=False)
    assert not result.success
    told = "".join(str(entry) for entry in pull.instance.all_logs(result.run_id))
    assert "refused with *** by api.example.com" in told
    assert "wrong-token-1234" not in told


def test_text_of_a_resource_that_looks_like_a_reference_is_text(pull: Any) -> None:
    definitions = build_definitions(pull.root, connections={"shop": Shop(host="${HOST}", token="x")})
    assert run(definitions, pull.instance).success
    assert '"host":"${HOST}"' in landed(pull.root)


def test_without_a_resource_the_connection_is_that_of_dativo_yaml(pull: Any) -> None:
    assert run(build_definitions(pull.root), pull.instance).success
    assert '"host":"from-yaml"' in landed(pull.root)


def test_a_resource_for_a_connection_that_is_not_there_is_refused_with_the_nearest_name(pull: Any) -> None:
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="did you mean `shop`"):
        build_definitions(pull.root, connections={"shp": "shop_db"})


def test_a_resource_without_fields_is_told_by_its_key(pull: Any) -> None:
    definitions = dg.Definitions.merge(
        build_definitions(pull.root, connections={"shop": "clock"}), dg.Definitions(resources={"clock": 12})
    )
    result = run(definitions, pull.instance, raising=False)
    (failed,) = result.filter_events(lambda event: event.is_step_failure)
    said = failed.step_failure_data.user_failure_data
    assert "the resource `clock` is a int" in said.description
    assert "ConfigurableResource" in said.metadata["hint"].value


def test_the_sensor_probes_with_the_connection_that_dagster_gives(pull: Any) -> None:
    pull.write(
        "plugins/api.py",
        API + "\n        def probe(self, cursor):\n            return self.source_config.connection['host']\n",
    )
    pull.write("jobs/pull.yaml", PULL + "    trigger: {probe: {poll: 30s}}\n")
    shop = Shop(host="api.example.com", token="x")
    definitions = build_definitions(pull.root, connections={"shop": shop})
    (sensor,) = definitions.sensors or ()
    assert sensor.required_resource_keys == {"dativo_shop"}
    with dg.build_sensor_context(
        instance=pull.instance, definitions=definitions, resources={"dativo_shop": shop}
    ) as context:
        told = sensor.evaluate_tick(context)
    assert [request.run_key for request in told.run_requests] == ["pull:api.example.com"]
