"""What a process that Dagster starts for a run reads of a project: counted in the job files that it opens."""

from __future__ import annotations

import importlib
import multiprocessing
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.code_pointer import CodePointer, FileCodePointer, ModuleCodePointer
from dagster._core.definitions.definitions_load_context import DefinitionsLoadContext, DefinitionsLoadType
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.definitions.reconstruct import (
    ReconstructableJob,
    ReconstructableRepository,
    initialize_repository_def_from_pointer,
)
from dagster._core.definitions.repository_definition import RepositoryLoadData
from dagster._core.execution.api import create_execution_plan
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.multiprocess import MultiprocessExecutorChildProcessCommand
from dagster._grpc.impl import core_execute_run

ALL = "__ASSET_JOB"
ORDERS = dg.AssetKey(["sales", "orders"])
OWN = "dativo_assets.definitions"
PLAIN = """
    from dativo_assets import build_definitions
    defs = build_definitions({root!r})
"""
MERGED = """
    import dagster as dg
    from dativo_assets import build_definitions
    project = build_definitions({root!r})
    report = project.resolve_assets_def(dg.AssetKey(["sales", "report"]))
    defs = dg.Definitions.merge(project, dg.Definitions(jobs=[dg.define_asset_job("one", [report])]))
"""
COMPONENT = """
    from pathlib import Path
    import dagster as dg

    @dg.definitions
    def defs():
        return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
"""
DEFS_YAML = "type: dativo_assets.DativoProject\nattributes: {{project: {root}}}\n"
POST_PROCESSING = "post_processing: {assets: [{target: sales/report, attributes: {tags: {a: b}}}]}\n"
_opened: set[str] | None = None


def _audit(event: str, arguments: Any) -> None:
    if event == "open" and _opened is not None and "/jobs/" in str(arguments[0]):
        _opened.add(Path(arguments[0]).name)


sys.addaudithook(_audit)


@contextmanager
def reading() -> Iterator[set[str]]:
    """The job files that are opened meanwhile, by a process which has loaded no location yet."""
    global _opened
    _opened = set()
    try:
        with DefinitionsLoadContext.scoped(DefinitionsLoadContext(DefinitionsLoadType.INITIALIZATION)):
            DefinitionsLoadContext._instance = None
            yield _opened
    finally:
        _opened = None


@dataclass
class Location:
    """A code location over the project of a workbench."""

    bench: Any
    pointer: CodePointer
    loaded: RepositoryLoadData | None = None

    def launched(self, keys: set[dg.AssetKey] | None, job: str = ALL) -> tuple[ReconstructableJob, dg.DagsterRun]:
        """The job as the process of a run has it first, and the run, both made by a code server."""
        self.forget()
        config: dict[str, Any] = {"execution": {"config": {"in_process": {}}}}
        recon = ReconstructableRepository(self.pointer).get_reconstructable_job(job)
        with DefinitionsLoadContext.scoped(DefinitionsLoadContext(DefinitionsLoadType.INITIALIZATION)):
            repository = initialize_repository_def_from_pointer(self.pointer)
            self.loaded = repository.repository_load_data
            some = repository.get_maybe_subset_job_def(job, asset_selection=keys)
            plan = create_execution_plan(InMemoryJob(some), run_config=config, repository_load_data=self.loaded)
            run = self.bench.instance.create_run_for_job(
                some, plan, run_config=config, asset_selection=keys, job_code_origin=recon.get_python_origin()
            )
        self.forget()
        return recon, run

    def opened(self, keys: set[dg.AssetKey] | None, job: str = ALL) -> set[str]:
        """The job files that the process of a run opens, which succeeds."""
        recon, run = self.launched(keys, job=job)
        with reading() as found:
            list(core_execute_run(recon, run, self.bench.instance, inject_env_vars=False))
        ended = self.bench.instance.get_run_by_id(run.run_id)
        assert ended is not None and ended.is_success, [e.message for e in self.bench.instance.all_logs(run.run_id)]
        return found

    def forget(self) -> None:
        """What one process has imported of it, that of a run imports again."""
        for name, module in list(sys.modules.items()):
            if name == OWN or str(getattr(module, "__file__", "")).startswith(str(self.bench.root)):
                del sys.modules[name]
        importlib.invalidate_caches()


@pytest.fixture
def project(bench: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    bench.orders()
    bench.report()
    bench.write("jobs/broken.yaml", "source: [")
    for number in range(5):
        bench.write(
            f"jobs/other{number}.yaml", "source: {reader: csv, files: a}\ntarget: {writer: csv, path: w/{name}}\n"
        )
    monkeypatch.setenv("DATIVO_PROJECT", str(bench.root))
    monkeypatch.syspath_prepend(str(bench.root / "code/src"))
    monkeypatch.setenv("SF_PARTNER", "")  # Dagster sets it in every process of a run
    yield bench
    Location(bench, ModuleCodePointer(OWN, "defs", None)).forget()


def located(bench: Any, how: str, defs_yaml: str = "", **more: str) -> Location:
    """how: OWN, or the text of a definitions.py."""
    if how == OWN:
        return Location(bench, ModuleCodePointer(OWN, "defs", None))
    root = str(bench.root)
    if how != COMPONENT:
        return Location(bench, FileCodePointer(str(bench.write("code/team.py", how.format(root=root))), "defs", None))
    src = bench.root / "code/src"
    files = {
        "dg.toml": 'directory_type = "project"\n\n[project]\nroot_module = "shop"\n',
        "src/shop/__init__.py": "",
        "src/shop/definitions.py": how,
        "src/shop/defs/__init__.py": "",
        "src/shop/defs/warehouse/defs.yaml": DEFS_YAML.format(root=root) + defs_yaml,
        **more,
    }
    for name, text in files.items():
        bench.write(f"code/{name}", text)
    return Location(bench, FileCodePointer(str(src / "shop/definitions.py"), "defs", str(src)))


@pytest.mark.parametrize("how", [OWN, PLAIN, COMPONENT], ids=["own", "build_definitions", "component"])
def test_the_process_of_a_run_reads_the_files_of_no_other_job(project: Any, how: str) -> None:
    assert located(project, how).opened({ORDERS}) <= {"orders.yaml"}
    assert (project.root / "warehouse/orders").is_dir()


@pytest.mark.parametrize(
    ("how", "more"),
    [
        (MERGED, {}),
        (COMPONENT, {"defs_yaml": POST_PROCESSING}),
        (COMPONENT, {"src/shop/defs/team.py": "import dagster as dg\n\n@dg.asset\ndef mine(): ...\n"}),
    ],
    ids=["merged", "post_processing", "beside python"],
)
def test_a_run_of_a_location_that_others_make_too_has_all_the_assets_they_may_look_for(
    project: Any, how: str, more: Mapping[str, str]
) -> None:
    assert "report.yaml" in located(project, how, **more).opened({ORDERS})


def test_a_scheduled_run_reads_its_job_alone(project: Any) -> None:
    project.write(
        "runner.yaml",
        "runner: {orchestrator: {schedules: [{name: nightly, config: jobs/report.yaml, cron: '0 1 * * *'}]}}\n",
    )
    assert located(project, OWN).opened(None, job="nightly_job") <= {"report.yaml"}
    assert (project.root / "warehouse/report").is_dir()


def test_a_step_in_a_process_of_its_own_reads_the_files_of_no_other_job(project: Any) -> None:
    with dg.instance_for_test() as instance:
        project.instance = instance
        location = located(project, COMPONENT)
        recon, run = location.launched({ORDERS})
        some = recon.get_subset(asset_selection={ORDERS}).with_repository_load_data(location.loaded)
        step, told = "sales__orders", multiprocessing.Event()
        command = MultiprocessExecutorChildProcessCommand(
            run.run_config, run, step, instance.get_ref(), told, some, RetryMode.DISABLED, None, location.loaded
        )
        with reading() as opened:
            events = list(command.execute())
    assert [event.step_key for event in events if event.is_step_success] == [step]
    assert opened <= {"orders.yaml"}
