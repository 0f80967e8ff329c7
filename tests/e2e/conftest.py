"""Projects in temporary folders, driven through the command as a person would."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import polars as pl
import pytest

ROOT = Path(__file__).resolve().parents[2]
DATIVO = Path(sys.executable).with_name("dativo")


class Folder:
    """One project. `run` gives what `dativo run --json` prints; `table` reads what is visible, with Polars."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    def dativo(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(DATIVO), *arguments],
            cwd=self.root,
            env={**self.environment(), **environment},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def environment(self) -> dict[str, str]:
        return {**os.environ, "DATIVO_PROJECT": str(self.root)}

    def run(self, *jobs: str, **environment: str) -> dict[str, dict[str, Any]]:
        done = self.dativo("run", *jobs, "--json", **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return {result["job"]: result for result in json.loads(done.stdout)}

    def files(self, table: str) -> list[Path]:
        folder = (self.root / "warehouse" / table).resolve()
        return sorted(path for path in folder.glob("**/*.parquet") if path.is_file())

    def table(self, table: str) -> pl.DataFrame:
        return pl.concat([pl.read_parquet(path) for path in self.files(table)])

    def seq(self, table: str) -> int:
        folder = (self.root / "warehouse" / table).resolve()
        return max(int(path.name) for path in folder.iterdir() if path.name.isdigit())


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty project whose tables are Parquet under warehouse/."""
    project = Folder(tmp_path)
    project.write(
        "dativo.yaml",
        """
        jobs: jobs/*.yaml
        defaults: {target: {writer: parquet, path: "warehouse/{name}"}}
        """,
    )
    return project


def copy_example(name: str, target: Path) -> Folder:
    """A copy of an example without what earlier runs left in it."""
    left_out = shutil.ignore_patterns("warehouse", ".dagster", ".dativo", "data", "__pycache__", "*.so")
    shutil.copytree(ROOT / "examples" / name, target, ignore=left_out)
    return Folder(target)


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The flights example, its data in place, every job run once."""
    project = copy_example("flights", tmp_path_factory.mktemp("e2e") / "flights")
    subprocess.run([sys.executable, str(project.root / "data.py")], check=True, capture_output=True)
    names = sorted(path.stem for path in (project.root / "jobs").glob("*.yaml"))
    done = project.dativo("run", *names, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return project
