"""A Dagster project that uses the plugin of a package: the package's example job as an asset, and an asset of Dagster's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import Template

FOLDER = "project"
_EXAMPLE = re.compile(r"(?:example/)?(?P<path>dativo\.yaml|jobs/(?P<job>\w+)\.yaml|(?:data|input)/.*)")
_LIBRARY = re.compile(r"(?<=[\s\"])(?=lib\w+\.so:)")

_DEFINITIONS = '''\
"""The jobs of this folder as assets, and an asset of Dagster's own that comes after one: dagster dev -f $folder/definitions.py"""

from pathlib import Path

import dagster as dg
from dativo_assets import build_definitions
from dativo_assets.assets import asset_key

ROOT = Path(__file__).resolve().parent


@dg.asset(deps=[asset_key("$job")])
def table_size() -> dg.MaterializeResult:
    """What the table takes on disk."""
    size_bytes = sum(path.stat().st_size for path in (ROOT / "warehouse").rglob("*") if path.is_file())
    return dg.MaterializeResult(metadata={"size_bytes": size_bytes})


defs = dg.Definitions.merge(build_definitions(ROOT), dg.Definitions(assets=[table_size]))
'''

_TEST = """\
from definitions import defs


def test_the_assets_are_made_in_turn() -> None:
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process()
    made = result.get_asset_materialization_events()
    assert [event.asset_key.path[-1] for event in made] == ["$job", "table_size"]
    assert made[1].materialization.metadata["size_bytes"].value > 0
"""


def project_texts(package: Mapping[str, str]) -> dict[str, str]:
    """The project's files for a package's: {path: text}. Paths that its job names are one folder up from it."""
    texts = {}
    job = ""
    for path, text in package.items():
        if found := _EXAMPLE.fullmatch(path):
            job = found["job"] or job
            texts[f"{FOLDER}/{found['path']}"] = _LIBRARY.sub("../", text) if found["job"] else text
    for name, text in (("definitions.py", _DEFINITIONS), ("test_project.py", _TEST)):
        texts[f"{FOLDER}/{name}"] = Template(text).substitute(folder=FOLDER, job=job)
    return texts
