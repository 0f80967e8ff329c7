"""A plugin with a virtual environment of its own: two of them hold different versions of one library."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from dativo_plugin_sdk import PluginError
from dativo_plugin_sdk.library import header_folder

from dativo_assets.config import load_project
from dativo_assets.errors import ConfigurationError
from dativo_assets.plan import bind
from dativo_assets.trust.lock import Lock, locked

pytestmark = pytest.mark.timeout(300)  # uv asks the package index
ROOT = Path(__file__).resolve().parents[2]
LIBRARY = "iniconfig"
PYPROJECT = """
[project]
name = "planets"
version = "1.0"
requires-python = "=={python}.*"
dependencies = ["dativo-plugin-sdk", "pyarrow=={pyarrow}", "{library}=={version}"]

[tool.uv]
package = false

[tool.uv.sources]
dativo-plugin-sdk = {{ path = "{wheel}" }}
"""
PLUGIN = """
from importlib.metadata import version

import iniconfig
from dativo_plugin_sdk import BaseReader, Options


class Planets(BaseReader):
    __version__ = "4.5.6"

    class Options(Options):
        name: str = "Mars"

    def extract(self):
        yield [{"name": self.options.name, "library": version("iniconfig")}]
"""


def uv() -> str:
    found = shutil.which("uv")
    bundled = ROOT / ".cache" / "uv" / "bin" / "uv"
    return str(bundled) if bundled.exists() else found or "uv"


def run_uv(*arguments: str, cwd: Path) -> None:
    done = subprocess.run([uv(), *arguments, "--quiet"], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders named by the version of the library in them, each with a plugin and its lock."""
    root = tmp_path_factory.mktemp("environments")
    run_uv("build", "--wheel", "--out-dir", str(root), str(ROOT / "plugin_sdk"), cwd=root)
    (wheel,) = root.glob("*.whl")
    for number in ("1.1.1", "2.0.0"):
        folder = root / number
        folder.mkdir()
        values = {"pyarrow": version("pyarrow"), "library": LIBRARY, "version": number, "wheel": wheel}
        values["python"] = f"{sys.version_info[0]}.{sys.version_info[1]}"
        (folder / "pyproject.toml").write_text(PYPROJECT.format(**values))
        (folder / "planets.py").write_text(PLUGIN)
        run_uv("lock", cwd=folder)
    return root


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}{os.pathsep}{Path(uv()).parent}")


def job(bench: Any, name: str, environment: Path | str, reader: str = "planets:Planets", options: str = "{}") -> None:
    bench.job(
        f"""
        source:
          reader: "{reader}"
          options: {options}
          isolation: {{mode: env, environment: "{environment}"}}
        target: {{writer: parquet, path: {name}}}
        retry: {{max_attempts: 1}}
        """,
        name,
    )


def test_two_plugins_have_two_versions_of_a_library(bench: Any, environments: Path) -> None:
    job(bench, "old", environments / "1.1.1")
    job(bench, "new", environments / "2.0.0", "planets.py:Planets", "{name: Venus}")
    assert bench.ok("old").commit.plugins["reader"] == "planets:Planets 4.5.6"
    bench.ok("new")
    assert bench.rows("old") == [{"name": "Mars", "library": "1.1.1"}]
    assert bench.rows("new") == [{"name": "Venus", "library": "2.0.0"}]
    made = [path for path in (bench.root / ".dativo" / "envs").iterdir() if path.is_dir()]
    bench.ok("old")
    assert [path for path in (bench.root / ".dativo" / "envs").iterdir() if path.is_dir()] == made

    job(bench, "wrong", environments / "1.1.1", options="{name: [hush]}")
    error = bench.run("wrong").error
    assert isinstance(error, ConfigurationError) and error.message.startswith("name: ")
    assert "hush" not in error.message and error.details["line"] == 4
    job(bench, "none", environments / "1.1.1", "nowhere")
    error = bench.run("none").error
    assert isinstance(error, PluginError) and "is not in the environment" in error.message

    project = load_project(bench.root)
    shutil.copytree(environments / "1.1.1", bench.root / "mine")
    job(bench, "mine", "mine")
    ref = bind(load_project(bench.root).jobs["mine"], project).reader
    lock = Lock((locked(ref, bench.root),))
    assert lock.plugins[0].version == "4.5.6"
    lock.check(ref)
    (bench.root / "mine" / "planets.py").write_text(PLUGIN + "\n")
    with pytest.raises(ConfigurationError, match=r"is not what dativo\.lock has"):
        lock.check(bind(load_project(bench.root).jobs["mine"], project).reader)


# A reader and a writer with the older symbols, where rows are JSON.
OLDER = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static char *copy(const char *text) { return strcpy(malloc(strlen(text) + 1), text); }
void *create_reader(const char *config) { return calloc(1, sizeof(int)); }
char *extract_batch(int *calls) { return (*calls)++ ? NULL : copy("[{\"n\": 1}, {\"n\": 2}]"); }
void *create_writer(const char *config) {
    const char *base = strstr(config, "\"output_base\": \"") + 16;
    return strncpy(calloc(4096, 1), base, strcspn(base, "\""));
}
char *write_batch(const char *base, const char *batch) {
    char path[5000], *told = calloc(6000, 1);
    snprintf(path, sizeof path, "%s/rows.json", base);
    FILE *file = fopen(path, "w");
    fputs(batch, file);
    fclose(file);
    sprintf(told, "[{\"path\": \"%s\", \"size_bytes\": %zu, \"record_count\": 2}]", path, strlen(batch));
    return told;
}
void free_reader(void *made) { free(made); }
void free_writer(void *made) { free(made); }
void free_string(char *text) { free(text); }
"""


def test_libraries_of_both_kinds_are_loaded_there(bench: Any, environments: Path) -> None:
    folder = bench.root / "mine"
    shutil.copytree(environments / "1.1.1", folder)
    older = bench.write("older.c", OLDER)
    for source, name in ((older, "older.so"), (ROOT / "examples" / "c_reader" / "squares.c", "squares.so")):
        command = ["cc", "-shared", "-fPIC", "-w", f"-I{header_folder()}", "-o", str(folder / name), str(source)]
        subprocess.run(command, check=True)
    job(bench, "squares", "mine", "squares.so:squares", "{to: 3}")
    bench.ok("squares")
    assert sorted(row["square"] for row in bench.rows("squares")) == [0, 1, 4]
    isolation = "{mode: env, environment: mine}"
    bench.job(
        f"""
        source: {{reader: "older.so:create_reader", isolation: {isolation}}}
        target: {{writer: "older.so:create_writer", path: older, mode: overwrite, isolation: {isolation}}}
        """,
        "older",
    )
    bench.ok("older")
    (written,) = (bench.root / "older").resolve().glob("**/rows.json")
    assert json.loads(written.read_text())["records"] == [{"n": 1}, {"n": 2}]


def test_an_environment_without_its_lock_is_refused(bench: Any) -> None:
    bench.write("mine/pyproject.toml", "[project]\nname = 'mine'\nversion = '1'\n")
    job(bench, "job", "mine")
    error = bench.refused()
    assert "has no uv.lock" in error.message and error.details["line"] == 3


def test_a_lock_that_does_not_fit_is_told_in_the_words_of_uv(bench: Any, environments: Path) -> None:
    shutil.copytree(environments / "1.1.1", bench.root / "mine")
    text = (bench.root / "mine" / "pyproject.toml").read_text()
    bench.write("mine/pyproject.toml", text.replace("1.1.1", "2.0.0"))
    job(bench, "job", "mine")
    error = bench.run().error
    assert isinstance(error, PluginError) and "lock" in error.message and error.hint


@pytest.mark.parametrize("isolation", ["{mode: env}", "{environment: mine}", "env"])
def test_an_environment_belongs_to_its_mode(bench: Any, isolation: str) -> None:
    bench.job(f"source: {{reader: csv, files: a.csv, isolation: {isolation}}}\ntarget: {{writer: jsonl, path: out}}\n")
    (broken,) = load_project(bench.root).broken
    assert "go together" in broken.error.message
