"""DativoProject: a project as a component, for users of `dg`.

No `from __future__ import annotations` here: Dagster reads the annotations of a Resolvable dataclass as they stand.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import dagster as dg
from dagster.components.component_scaffolding import scaffold_component
from dagster.components.resolved.core_models import OpSpec
from dagster.components.utils.translation import TranslationFn, TranslationFnResolver
from pydantic import BaseModel, Field

from dativo_assets.config.starter import write_starter

from .connections import Connections
from .customize import Customization, execute, translated
from .execute import JobAsset
from .location import component_definitions
from .translate import AssetData

_FOLDERS = {"ComponentRootComponent", "DefsFolderComponent", "CompositeYamlComponent", "AppManagedDefinitionsComponent"}


class ScaffoldParams(BaseModel):
    """What `dg scaffold defs dativo_assets.DativoProject NAME` takes."""

    project: str | None = Field(
        None, description="The folder of a project that is there; without it, a small one is written beside defs.yaml."
    )


class DativoProjectScaffolder(dg.Scaffolder[ScaffoldParams]):
    """Writes defs.yaml, and where no project is named one that runs."""

    @classmethod
    def get_scaffold_params(cls) -> type[ScaffoldParams]:
        return ScaffoldParams

    def scaffold(self, request: dg.ScaffoldRequest[ScaffoldParams]) -> None:
        if request.params.project is None:
            write_starter(request.target_path)
            scaffold_component(request, {"project": "."})
        else:
            root = request.project_root or Path.cwd()
            there = os.path.relpath(request.params.project, root)
            scaffold_component(request, {"project": "{{ context.project_root }}/" + there})


@dg.scaffold_with(DativoProjectScaffolder)
@dataclass
class DativoProject(dg.Component, dg.Resolvable):
    """The jobs of a Dativo project, each a YAML file, as assets with their checks, sources, schedules and sensors."""

    project: Annotated[
        str,
        dg.Resolver(
            lambda context, path: str(context.resolve_source_relative_path(context.resolve_value(path))),
            model_field_type=str,
            description="The project's folder, relative to this file.",
            examples=[".", "{{ context.project_root }}/warehouse"],
        ),
    ] = "."
    translation: Annotated[
        TranslationFn[AssetData] | None,
        TranslationFnResolver(lambda data: {"job": data.job, "data": data}),
    ] = None
    op: Annotated[
        OpSpec | None,
        dg.Resolver.default(
            description="The steps of the jobs. Its name is that of the step where the project has one job, else what the "
            "names of its steps begin with.",
        ),
    ] = None
    connections: Annotated[
        Mapping[str, str],
        dg.Resolver.default(
            description="Connections of dativo.yaml that Dagster gives: by name, the key of a resource whose fields are "
            "the connection's keys.",
            examples=[{"shop": "shop_db"}],
        ),
    ] = field(default_factory=dict)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The definitions of the project."""
        custom = Customization(
            self.get_asset_spec, self.execute, self.op or OpSpec(), Connections.of(dict(self.connections))
        )
        return component_definitions(self.project, custom, undisturbed=_only_projects(context))

    def get_asset_spec(self, data: AssetData) -> dg.AssetSpec:
        """The spec of a job's asset. Override it for what `translation` can't say."""
        return translated(self.translation)(data)

    def execute(self, context: dg.AssetExecutionContext, asset: JobAsset) -> Iterator[Any]:
        """The body of a job's step. Override it to do something before, after or instead.

        Yields: check results and a MaterializeResult; an observation alone when nothing is new.
        Raises: dg.Failure: when the run failed.
        """
        yield from execute(context, asset)


def _only_projects(context: dg.ComponentLoadContext) -> bool:
    """Whether the location's folder has no other definitions, which may look for assets by key, nor changes any by key."""
    try:
        decls = [decl for _, decl in context.component_tree.find_root_decl().iterate_loc_component_decl_pairs()]
        return all(_is_harmless(decl) for decl in decls)
    except AttributeError:
        return False  # another version's tree


def _is_harmless(decl: Any) -> bool:
    type_, model = decl.component_type, getattr(decl, "component_file_model", None)
    if type_.__name__ == "PythonFileComponent":
        return not decl.loc.file_path.read_text().strip()
    return (type_.__name__ in _FOLDERS or issubclass(type_, DativoProject)) and not (model and model.post_processing)
