"""A project in a temporary folder, and runs of its jobs."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from dativo_assets.config import load_project
from dativo_assets.errors import ConfigurationError
from dativo_assets.pipeline import RunResult, RunSettings, run
from dativo_assets.plan import bind

from ..writers.postgres import Server  # noqa: TID252 - the tests are no package that could be named
from .targets import KINDS, Target


class Workbench:
    """One project; `write` makes files, `run` runs a job, `rows` reads what is visible of its table."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("dativo.yaml", "jobs: jobs/**/*.yaml\n")

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    def job(self, text: str, name: str = "job") -> None:
        self.write(f"jobs/{name}.yaml", text)

    def run(self, name: str = "job", settings: RunSettings | None = None, run_id: str | None = None) -> RunResult:
        project = load_project(self.root)
        assert not project.broken, project.broken
        return run(bind(project.jobs[name], project), settings or RunSettings(workers=2), run_id)

    def ok(self, name: str = "job", **settings: object) -> RunResult:
        result = self.run(name, RunSettings(**{"workers": 2, **settings}))  # type: ignore[arg-type]
        assert result.error is None, result.error.to_dict()
        return result

    def refused(self, name: str = "job") -> ConfigurationError:
        """Why a job can't be bound."""
        project = load_project(self.root)
        with pytest.raises(ConfigurationError) as raised:
            bind(project.jobs[name], project)
        return raised.value

    def rows(self, table: str = "out") -> list[dict[str, object]]:
        files = sorted(str(path) for path in (self.root / table).resolve().glob("**/*.parquet"))
        return list(ds.dataset(files, format="parquet").to_table().to_pylist()) if files else []

    def leftovers(self, table: str = "out") -> list[str]:
        return sorted(path.name for path in self.root.glob(f".{table}.staging/*"))


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench(tmp_path)


@pytest.fixture
def plugin(bench: Workbench) -> Callable[[str], None]:
    """Write plugin.py with the SDK imported."""

    def write(text: str) -> None:
        head = "import time, threading, sys, os\nfrom dativo_plugin_sdk import *\n"
        bench.write("plugin.py", head + textwrap.dedent(text))

    return write


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("postgres")) as found:
        yield found


@pytest.fixture(params=KINDS)
def target(request: pytest.FixtureRequest, bench: Workbench) -> Target:
    """A table of each kind in the bench's project."""
    if request.param != "postgres":
        return Target(request.param, bench.root, {})
    return Target(request.param, bench.root, request.getfixturevalue("server").database())
