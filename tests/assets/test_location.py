"""What a run's process loads of a code location, and which version of a job it runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.definitions_load_context import DefinitionsLoadContext, DefinitionsLoadType
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.definitions.metadata.metadata_value import CodeLocationReconstructionMetadataValue
from dagster._core.definitions.reconstruct import ReconstructableRepository, repository_def_from_target_def
from dagster._core.definitions.repository_definition import RepositoryLoadData
from dagster._core.execution.api import create_execution_plan, execute_run

from dativo_assets.assets import location
from dativo_assets.assets.build import define_some
from dativo_assets.config import load_project

Load = Callable[[], Mapping[str, Any]]
JOB = "__ASSET_JOB"
ORDERS, TOTALS = dg.AssetKey(["sales", "orders"]), dg.AssetKey("totals")
QUERY = """
    source: {reader: sql, query: SELECT sum(amount) AS total FROM orders}
    target: {writer: parquet, path: warehouse/totals}
"""

REPORT_WITHOUT_CONTRACT = """
    source: {reader: csv, files: data/report.csv}
    target: {writer: parquet, path: warehouse/bad}
    contract: contracts/none.yaml
"""


@pytest.fixture
def load(bench, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads the location as the code server does; what it hands to runs."""
    monkeypatch.setenv("DATIVO_PROJECT", str(bench.root))

    def loaded() -> Mapping[str, Any]:
        context = DefinitionsLoadContext(load_type=DefinitionsLoadType.INITIALIZATION)
        with DefinitionsLoadContext.scoped(context):
            assert repository_def_from_target_def(location.code_location()) is not None
        return context.get_pending_reconstruction_metadata()

    return loaded


def in_a_run(handed: Mapping[str, Any], *keys: dg.AssetKey) -> dg.JobDefinition:
    """The job as the process of a run of these assets has it."""
    data = RepositoryLoadData(
        reconstruction_metadata={name: CodeLocationReconstructionMetadataValue(text) for name, text in handed.items()}
    )
    context = DefinitionsLoadContext(load_type=DefinitionsLoadType.RECONSTRUCTION, repository_load_data=data)
    with DefinitionsLoadContext.scoped(context):
        repository = repository_def_from_target_def(location.code_location())
        assert repository is not None
        return repository.get_maybe_subset_job_def(JOB, asset_selection=frozenset(keys))


def test_a_run_loads_the_assets_it_runs_and_no_other(bench, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.orders()
    bench.report()
    bench.write("jobs/broken.yaml", "source: [")
    bench.write("jobs/totals.yaml", QUERY)
    handed = load()
    whole = bench.definitions().resolve_implicit_global_asset_job_def()

    monkeypatch.delattr(location, "load")
    for keys in ([ORDERS], [TOTALS], [ORDERS, TOTALS]):
        job = in_a_run(handed, *keys)
        expected = whole.get_subset(asset_selection=frozenset(keys))
        assert {node.name for node in job.nodes} == {node.name for node in expected.nodes}
        for key in keys:
            found, wanted = job.asset_layer.asset_graph.get(key), expected.asset_layer.asset_graph.get(key)
            assert found.parent_keys == wanted.parent_keys
            assert found.check_keys == wanted.check_keys
            assert found.code_version == wanted.code_version
    assert in_a_run(handed, ORDERS, TOTALS).execute_in_process(instance=bench.instance).success


def test_a_run_uses_the_job_as_it_was_when_the_location_was_loaded(bench, load: Load) -> None:
    bench.orders()
    handed = load()
    text = (bench.root / "jobs/orders.yaml").read_text()
    bench.write("jobs/orders.yaml", text.replace("path: warehouse/orders", "path: warehouse/moved"))
    assert in_a_run(handed, ORDERS).execute_in_process(instance=bench.instance).success
    assert list((bench.root / "warehouse").iterdir()) == [bench.root / "warehouse/orders"]


def test_the_digest_of_a_job_is_in_the_tags_of_its_run(bench, load: Load) -> None:
    bench.orders()
    bench.report()
    handed = load()
    digest = load_project(bench.root).jobs["orders"].digest
    assert digest.startswith(tags_of_a_run(bench.instance, handed, ORDERS)["dativo/digest"])
    assert "dativo/digest" not in tags_of_a_run(bench.instance, handed, ORDERS, dg.AssetKey(["sales", "report"]))


def tags_of_a_run(instance: dg.DagsterInstance, handed: Mapping[str, Any], *keys: dg.AssetKey) -> Mapping[str, str]:
    """After its end, of one that was launched without tags."""
    job = in_a_run(handed, *keys)
    run = launched_run(instance, job, *keys)
    assert execute_run(InMemoryJob(job), run, instance).success
    ended = instance.get_run_by_id(run.run_id)
    assert ended is not None
    return ended.tags


def launched_run(instance: dg.DagsterInstance, job: dg.JobDefinition, *keys: dg.AssetKey) -> dg.DagsterRun:
    """A run of these assets as the webserver makes it."""
    config = {"execution": {"config": {"in_process": {}}}}
    origin = ReconstructableRepository.for_module("dativo_assets.definitions", "defs").get_reconstructable_job(JOB)
    return instance.create_run_for_job(
        job,
        execution_plan=create_execution_plan(job, run_config=config),
        run_config=config,
        asset_selection=frozenset(keys),
        job_code_origin=origin.get_python_origin(),
    )


@pytest.mark.parametrize("cache", ["kept", "gone"])
def test_a_plan_runs_the_job_it_was_made_of_or_says_that_it_is_gone(bench, load: Load, cache: str) -> None:
    bench.orders()
    run = launched_run(bench.instance, in_a_run(load(), ORDERS), ORDERS)
    text = (bench.root / "jobs/orders.yaml").read_text()
    bench.write("jobs/orders.yaml", text.replace("path: warehouse/orders", "path: warehouse/moved"))
    if cache == "gone":
        shutil.rmtree(bench.root / ".dativo")
    now = bench.definitions().resolve_implicit_global_asset_job_def().get_subset(asset_selection={ORDERS})
    result = execute_run(InMemoryJob(now), run, bench.instance, raise_on_error=False)
    assert not (bench.root / "warehouse/moved").exists()
    assert result.success == (cache == "kept")
    if cache == "gone":
        (failed,) = [event for event in result.all_events if event.is_step_failure]
        said = failed.step_failure_data.user_failure_data
        assert said is not None
        assert "has changed since the run was launched" in str(said.description)


def test_some_jobs_alone_are_as_in_the_whole_project(bench) -> None:
    bench.orders()
    bench.report()
    bench.write("jobs/totals.yaml", QUERY)
    for folder in ("a*", "a?"):  # read alike once their wildcards are gone: the sources' keys tell them apart
        name = f"j{len(folder)}{ord(folder[1])}"
        bench.write(
            f"jobs/{name}.yaml", f"source: {{reader: csv, files: ['{folder}/x']}}\ntarget: {{writer: csv, path: w}}\n"
        )
    bench.write("jobs/bad.yaml", REPORT_WITHOUT_CONTRACT)
    whole = bench.definitions().resolve_asset_graph()
    project = load_project(bench.root)
    for names in (["orders"], ["totals"], ["report", "orders"], ["j242"], ["j263"], ["bad"]):
        some = define_some(project, names).resolve_asset_graph()
        assert len(some.executable_asset_keys) == len(names)
        for key in some.executable_asset_keys:
            found, wanted = some.get(key), whole.get(key)
            assert (found.parent_keys, found.check_keys, found.code_version, found.description) == (
                wanted.parent_keys,
                wanted.check_keys,
                wanted.code_version,
                wanted.description,
            )


@pytest.mark.parametrize("harm", ["cache", "record"])
def test_without_the_cache_a_run_loads_the_project_as_it_is_now(bench, load: Load, harm: str) -> None:
    bench.orders()
    handed = load()
    if harm == "cache":
        shutil.rmtree(bench.root / ".dativo")
    else:
        handed = dict.fromkeys(handed, "0" * 64)
    assert in_a_run(handed, ORDERS).execute_in_process(instance=bench.instance).success


def test_a_broken_job_fails_with_its_error_in_a_run_too(bench, load: Load) -> None:
    bench.write("jobs/broken.yaml", "source: [")
    job = in_a_run(load(), dg.AssetKey("broken"))
    result = job.execute_in_process(instance=bench.instance, raise_on_error=False)
    assert not result.success


def test_a_job_that_is_not_kept_is_read_from_its_file(bench, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.orders()
    text = (bench.root / "jobs/orders.yaml").read_text()
    bench.write("jobs/orders.yaml", text.replace("{writer: parquet,", "{writer: parquet, credentials: {token: abc},"))
    handed = load()
    monkeypatch.delattr(location, "load")
    assert [node.name for node in in_a_run(handed, ORDERS).nodes] == ["sales__orders"]


def test_the_shards_of_a_project_are_its_assets_shared_out_and_a_query_reads_over_their_borders(
    bench, load: Load
) -> None:
    bench.write("dativo.yaml", "code_locations: 3\n")
    bench.orders()
    bench.write("jobs/totals.yaml", QUERY)
    bench.write("jobs/broken.yaml", "source: [")
    for number in range(8):
        bench.write(f"jobs/j{number}.yaml", "source: {reader: csv, files: a.csv}\ntarget: {writer: csv, path: w}\n")
    whole = {spec.key for spec in bench.definitions().resolve_all_asset_specs() if spec.group_name != "sources"}
    shards = [location.code_location(number) for number in (1, 2, 3)]
    found = [{item.key for item in shard.assets or () if isinstance(item, dg.AssetsDefinition)} for shard in shards]
    assert all(found)
    assert sorted(key.to_user_string() for keys in found for key in keys) == sorted(
        key.to_user_string() for key in whole
    )
    for name, key in (("orders", ORDERS), ("totals", TOTALS)):
        (shard,) = [shard for shard, keys in zip(shards, found, strict=True) if key in keys]
        job = shard.resolve_implicit_global_asset_job_def().get_subset(asset_selection={key})
        assert job.execute_in_process(instance=bench.instance).success, name
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="code_locations: 3"):
        location.code_location(4)


def test_a_stream_runs_alone_and_what_waits_for_streams_knows_their_keys(
    bench, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.write(
        "jobs/shop.yaml",
        """
        source: {reader: csv, files: [{path: data/a.csv, object: a}, {path: data/b.csv, object: b}]}
        target: {writer: parquet, path: "warehouse/{stream}"}
        """,
    )
    bench.write("data/a.csv", "n\n1\n")
    bench.write("data/b.csv", "n\n2\n")
    bench.write(
        "jobs/after.yaml",
        "depends_on: [shop]\nsource: {reader: csv, files: data/a.csv}\ntarget: {writer: parquet, path: warehouse/after}\n",
    )
    handed = load()
    graph = bench.definitions().resolve_asset_graph()
    (stream, other) = sorted(graph.get(dg.AssetKey("after")).parent_keys & graph.executable_asset_keys)
    monkeypatch.delattr(location, "load")
    assert in_a_run(handed, stream).execute_in_process(instance=bench.instance).success
    assert [path.name for path in (bench.root / "warehouse").glob("[!.]*")] == ["a"]
    after = in_a_run(handed, dg.AssetKey("after")).asset_layer.asset_graph.get(dg.AssetKey("after"))
    assert {stream, other} <= after.parent_keys
