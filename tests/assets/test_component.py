"""`dativo_assets.DativoProject` as a user of `dg` meets it: Dagster's own suites for components, and its commands."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster.components.testing import create_defs_folder_sandbox
from dagster.components.testing.test_cases import TestOpCustomization as OpCustomization
from dagster.components.testing.test_cases import TestTranslation as Translation

from dativo_assets import DativoProject

TYPE = "dativo_assets.DativoProject"


@contextmanager
def scaffolded(
    attributes: Mapping[str, Any], type_: str = TYPE, component_py: str | None = None, **more: Any
) -> Iterator[tuple[Any, dg.Definitions]]:
    """What `dg scaffold defs` writes, with other attributes, loaded."""
    with create_defs_folder_sandbox() as sandbox:
        body = {"type": type_, "attributes": {"project": ".", **attributes}, **more}
        where = sandbox.scaffold_component(component_cls=DativoProject, defs_yaml_contents=body)
        if component_py is not None:
            (where.parent / "team.py").write_text(textwrap.dedent(component_py))
            body["type"] = f"{sandbox.project_name}.defs.team.TeamProject"
            where.joinpath("defs.yaml").write_text(str(body))  # JSON-like flow mappings are YAML
        with sandbox.load_component_and_build_defs(where) as loaded:
            yield loaded


# The suite itself says `automation_condition.eager()`, which is an older spelling.
@pytest.mark.filterwarnings("ignore:Accessing .*automation_condition:DeprecationWarning")
class TestTranslation(Translation):
    def test_translation(
        self,
        attributes: Mapping[str, Any],
        assertion: Callable[[dg.AssetSpec], bool],
        key_modifier: Callable[[dg.AssetKey], dg.AssetKey] | None,
    ) -> None:
        key = dg.AssetKey("cities")
        with scaffolded({"translation": attributes}) as (_, defs):
            key = key_modifier(key) if key_modifier else key
            assert assertion(defs.resolve_assets_def(key).get_asset_spec(key))


class TestOpCustomization(OpCustomization):
    def test_op(self, attributes: Mapping[str, Any], assertion: Callable[[Any], bool]) -> None:
        with scaffolded({"op": attributes}) as (component, defs):
            assert assertion(component.op)
            asset = defs.resolve_assets_def("cities")
            assert assertion(asset if "backfill_policy" in attributes else asset.op)


def test_a_translation_may_use_the_words_of_the_job() -> None:
    attributes = {"translation": {"group_name": "{{ job.source.reader }}", "metadata": {"file": "{{ job.file }}"}}}
    with scaffolded(attributes) as (_, defs):
        spec = defs.resolve_assets_def("cities").get_asset_spec(dg.AssetKey("cities"))
    assert (spec.group_name, spec.metadata["file"]) == ("csv", "jobs/cities.yaml")


def test_a_template_that_fails_on_a_job_is_told_at_its_place_in_defs_yaml_without_a_traceback() -> None:
    with scaffolded({"translation": {"group_name": "{{ job.nothing.at_all }}"}}) as (_, defs):
        said = defs.resolve_assets_def("cities").get_asset_spec().description or ""
    assert said.startswith("Broken: job cities can't be translated: ")
    assert "defs.yaml:3" in said
    assert "Traceback" not in said


def test_post_processing_changes_assets_that_a_selection_names() -> None:
    processing = {"assets": [{"target": "key:cities", "attributes": {"tags": {"checked": "yes"}}}]}
    with scaffolded({}, post_processing=processing) as (_, defs):
        specs = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
    assert specs["cities"].tags["checked"] == "yes"
    assert "checked" not in specs["source/csv/data/cities.csv"].tags


def test_a_subclass_changes_specs_and_what_a_step_does() -> None:
    team = """
        import dagster as dg

        from dativo_assets import DativoProject


        class TeamProject(DativoProject):
            def get_asset_spec(self, data):
                return super().get_asset_spec(data).merge_attributes(tags={"rows": data.job.source.reader})

            def execute(self, context, asset):
                assert isinstance(context, dg.AssetExecutionContext)
                for event in super().execute(context, asset):
                    if isinstance(event, dg.MaterializeResult):
                        event = event._replace(metadata={**event.metadata, "told": asset.job.name})
                    yield event
    """
    with scaffolded({}, component_py=team) as (_, defs), dg.DagsterInstance.ephemeral() as instance:
        assert defs.resolve_assets_def("cities").get_asset_spec().tags["rows"] == "csv"
        result = defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance)
        (landed,) = result.asset_materializations_for_node("cities")
    assert landed.metadata["told"].value == "cities"
    assert landed.metadata["dagster/row_count"].value == 3


def test_dg_lists_the_component_scaffolds_a_project_and_finds_it_right(tmp_path: Path) -> None:
    files = {
        "dg.toml": 'directory_type = "project"\n\n[project]\nroot_module = "shop"\n',
        "src/shop/__init__.py": "",
        "src/shop/definitions.py": """
            from pathlib import Path
            import dagster as dg

            @dg.definitions
            def defs():
                return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
        """,
        "src/shop/defs/__init__.py": "",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    assert TYPE in _dg(tmp_path, "list", "components", "--json")
    _dg(tmp_path, "scaffold", "defs", TYPE, "warehouse")
    made = tmp_path / "src/shop/defs/warehouse"
    assert {path.name for path in made.iterdir()} >= {"defs.yaml", "dativo.yaml", "jobs", "data"}
    assert "All definitions loaded successfully" in _dg(tmp_path, "check", "defs")


def test_a_scaffold_of_a_project_that_is_there_names_it(tmp_path: Path) -> None:
    with create_defs_folder_sandbox() as sandbox:
        there = sandbox.project_root / "warehouse"
        there.mkdir()
        (there / "dativo.yaml").write_text("jobs: [jobs/*.yaml]\n")
        where = sandbox.scaffold_component(component_cls=DativoProject, scaffold_params={"project": str(there)})
        assert [path.name for path in where.iterdir()] == ["defs.yaml"]
        with sandbox.load_component_and_build_defs(where) as (component, _):
            assert Path(component.project).resolve() == there.resolve()


def _dg(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "VIRTUAL_ENV": sys.prefix}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment["DAGSTER_HOME"] = ""
    argv = [str(Path(sys.executable).parent / "dg"), *arguments]
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(autouse=True)
def _no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
