"""The repository's own promises: one version, a light import, an import table with teeth, lock files for everybody."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dativo_assets

ROOT = Path(__file__).parents[1]
HEAVY = ("dagster", "duckdb", "pandas", "polars", "pyarrow", "sqlglot")


def _imported_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_one_version_everywhere() -> None:
    found = [
        re.findall(r'^version = "(.+)"$', path.read_text(), re.MULTILINE)[0]
        for path in [
            ROOT / "pyproject.toml",
            ROOT / "plugin_sdk/pyproject.toml",
            *ROOT.glob("rust/plugins/*/pyproject.toml"),
        ]
    ]
    assert set(found) == {dativo_assets.__version__}


@pytest.mark.parametrize("module", ["dativo_assets", "dativo_plugin_sdk", "dativo_assets.cli"])
def test_importing_is_light(module: str) -> None:
    assert _imported_by(f"import {module}").isdisjoint(HEAVY)


@pytest.mark.parametrize(
    ("path", "line", "rule"),
    [
        ("dativo_assets/readers/csv.py", "import dativo_assets.errors", "readers may not import errors"),
        ("dativo_assets/pipeline/run.py", "import dativo_assets.assets", "pipeline may not import assets"),
        ("dativo_assets/pipeline/run.py", "import dagster", "pipeline may not import dagster"),
        ("dativo_plugin_sdk/reader.py", "import dativo_assets.errors", "sdk may not import errors"),
        ("dativo_assets/helpers.py", "", "no row in the import table"),
    ],
)
def test_the_import_table_has_teeth(tmp_path: Path, path: str, line: str, rule: str) -> None:
    for name in ("dativo_assets/readers/csv.py", "dativo_assets/pipeline/run.py", "dativo_plugin_sdk/reader.py"):
        _write(tmp_path / name, "import dativo_plugin_sdk\n")
    for name in ("dativo_assets/errors.py", "dativo_assets/assets/__init__.py"):
        _write(tmp_path / name, "")
    clean = _lint_imports(tmp_path)
    assert clean.returncode == 0, clean.stdout

    _write(tmp_path / path, line + "\n")
    broken = _lint_imports(tmp_path)
    assert broken.returncode == 1
    assert rule in broken.stdout


def test_lock_files_name_public_registries_only() -> None:
    hosts = {
        host
        for path in (ROOT / "uv.lock", ROOT / "rust/Cargo.lock")
        for host in re.findall(r"https?://([^/\"]+)", path.read_text())
    }
    assert hosts <= {"pypi.org", "files.pythonhosted.org", "github.com"}


def _write(path: Path, text: str) -> None:
    """Write a module, and make a package of each folder above it up to the top one, `dativo_*`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    for package in path.parents:
        (package / "__init__.py").touch()
        if package.name.startswith("dativo_"):
            break


def _lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    """The project's own table, over the packages in `tree`."""
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--config", ROOT / "pyproject.toml", "--no-cache"],
        cwd=tree,
        env={**os.environ, "COLUMNS": "200", "PYTHONPATH": os.pathsep.join([str(tree), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )
