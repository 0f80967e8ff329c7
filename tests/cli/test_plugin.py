"""dativo plugin: what `new` makes is tested and green at once, and `test` tells what a plugin promises and breaks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dativo_assets.errors import ConfigurationError
from dativo_assets.registry import GROUPS
from dativo_assets.scaffold.build import build_of

UV = Path(__file__).resolve().parents[2] / ".cache" / "uv" / "bin"
PATH = os.pathsep.join([str(Path(sys.executable).parent), str(UV), os.environ["PATH"]])


@pytest.mark.parametrize("kind", GROUPS)
def test_a_new_package_passes_its_own_tests(shell: Any, kind: str) -> None:
    made = shell("plugin", "new", "my-plugin", "--kind", kind, "--with-project", "--json").json
    package = shell.root / "my-plugin"
    assert made["package"] == str(package)
    assert {"pyproject.toml", "README.md", "my_plugin.py", "tests/test_my_plugin.py"} <= set(made["files"])
    assert {".github/workflows/test.yml", "project/definitions.py"} <= set(made["files"])
    assert "$" not in (package / "pyproject.toml").read_text()
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(argv, cwd=package, capture_output=True, text=True, env=shell.environment(), check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (package / "example" / "warehouse").is_dir()
    assert (package / "project" / "warehouse").is_dir(), "made by Dagster"
    built = shell("plugin", "build", "my-plugin", "--json", PATH=PATH)
    assert built.code == 0, built.err
    (wheel,) = built.json
    assert Path(wheel["path"]).name == "my_plugin-0.1.0-py3-none-any.whl" and wheel["size_bytes"] > 500


@pytest.mark.timeout(300)  # Go compiles its runtime first
@pytest.mark.parametrize(
    ("kind", "language", "more"), [("reader", "c", ("--with-project",)), ("writer", "c", ()), ("reader", "go", ())]
)
def test_a_new_package_in_another_language_passes_its_own_tests(
    shell: Any, kind: str, language: str, more: tuple[str, ...]
) -> None:
    if shutil.which("go" if language == "go" else "cc") is None:
        pytest.skip(f"no compiler of {language}")
    said = shell("plugin", "new", "numbers", "--kind", kind, "--lang", language, *more)
    assert "next: cd numbers && make test" in said.out.splitlines()
    command = {"args": ["make", "test"], "cwd": shell.root / "numbers", "env": shell.environment(PATH=PATH)}
    done = subprocess.run(**command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Conformance of {kind} libnumbers.so:numbers_plugin" in done.stdout
    assert ("numbers: 10,000 rows" if kind == "reader" else "cities: 3 rows") in done.stdout
    built = shell("plugin", "build", "numbers", PATH=PATH)
    assert built.out.startswith("numbers/libnumbers.so: "), built.err
    if not more:
        return
    project = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "project"]
    done = subprocess.run(**{**command, "args": project}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("files", "missing", "hint"),
    [
        ({"Makefile": "all:\n", "go.mod": "module a\n"}, "make and go and cc", "go.dev"),
        ({"go.mod": "module a\n"}, "go and cc", "go.dev"),
        ({"Cargo.toml": "[features]\nlibrary = []\n"}, "cargo", "rustup.rs"),
        ({"pyproject.toml": '[build-system]\nbuild-backend = "maturin"\n'}, "uv and cargo", "rustup.rs"),
        ({"pyproject.toml": '[build-system]\nbuild-backend = "hatchling.build"\n'}, "uv", "docs.astral.sh"),
        ({"a.py": ""}, None, "a single .py file needs no build"),
    ],
)
def test_what_a_build_lacks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], missing: str | None, hint: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("dativo_assets.scaffold.build.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError) as caught:
        build_of(tmp_path).run(tmp_path)
    assert (f"needs {missing}, not found here" if missing else "is no package") in caught.value.message
    assert hint in str(caught.value.hint)


def test_a_build_that_fails_or_makes_nothing_is_told(shell: Any) -> None:
    for text, said in (("all:\n\t@echo words; exit 3\n", "ended with 2"), ("all:\n\t@true\n", "made no *.so or")):
        shell.write("package/Makefile", text)
        done = shell("plugin", "build", "package")
        assert done.code == 2 and said in done.err and done.out == ""


def test_a_new_package_in_rust_is_the_example_under_its_name(shell: Any) -> None:
    # tests/e2e/test_rust_plugin.py builds the example, which takes a minute.
    made = shell("plugin", "new", "big-numbers", "--lang", "rust", "--json").json
    package = shell.root / "big-numbers"
    assert {"Cargo.toml", "pyproject.toml", "src/lib.rs", "jobs/big_numbers.yaml"} <= set(made["files"])
    example = Path(__file__).parents[2] / "examples" / "rust_plugin" / "src" / "lib.rs"
    found = (package / "src" / "lib.rs").read_text()
    for name, word in (("big_numbers_plugin", "squares"), ("BigNumbers", "Squares"), ("big_numbers", "squares")):
        assert name in found
        found = found.replace(name, word)
    assert found == example.read_text()
    crates = re.findall(r'\{ path = "(.+?)", version = "0.1"', (package / "Cargo.toml").read_text())
    assert [Path(path).name for path in crates] == ["dativo-plugin", "dativo-plugin-ffi"]
    assert all((Path(path) / "Cargo.toml").is_file() for path in crates), "those of this checkout"
    assert (package / "jobs" / "big_numbers.yaml").read_text().startswith("source: {reader: big_numbers,")


def test_a_new_writer_in_rust_keeps_the_extension_of_its_files(shell: Any) -> None:
    shell("plugin", "new", "tabbed", "--kind", "writer", "--lang", "rust")
    package = shell.root / "tabbed"
    source = (package / "src" / "lib.rs").read_text()
    assert 'EXTENSION: &\'static str = "tsv"' in source
    for line in (
        'const NAME: &\'static str = "tabbed"',
        "file_format tabbed_plugin = crate::Tabbed",
        "module dativo_tabbed",
    ):
        assert line in source
    assert 'tabbed = "dativo_tabbed:Sink"' in (package / "pyproject.toml").read_text()
    assert "target: {writer: tabbed, path: warehouse/readings}" in (package / "jobs" / "readings.yaml").read_text()
    assert (package / "plugins" / "readings.py").is_file()


def test_a_kind_that_no_language_begins_with_is_told(shell: Any) -> None:
    said = shell("plugin", "new", "numbers", "--kind", "writer", "--lang", "go")
    assert (said.code, "there is no writer in go to begin with" in said.err) == (2, True)
    assert "--lang python, c or rust" in said.err
    assert not (shell.root / "numbers").exists()


@pytest.mark.parametrize("name", ["1st", "Über", "../out", "a b", "Big"])
def test_a_name_that_is_none_is_refused(shell: Any, name: str) -> None:
    said = shell("plugin", "new", name)
    assert (said.code, "is no name of a package" in said.err) == (2, True)


def test_a_folder_that_is_there_is_left_alone(shell: Any) -> None:
    shell.write("mine/notes.txt", "keep")
    said = shell("plugin", "new", "mine")
    assert (said.code, "exists already" in said.err) == (2, True)
    assert [path.name for path in (shell.root / "mine").iterdir()] == ["notes.txt"]


READER = """
    from dativo_plugin_sdk import BaseReader


    class Good(BaseReader):
        def extract(self):
            yield [{"n": n} for n in range(10)]


    class Bad(Good):
        def check_connection(self):
            return True
    """


def test_a_report_is_printed_and_written(shell: Any, tmp_path: Path) -> None:
    shell.write("mine.py", READER)
    report = tmp_path / "CONFORMANCE.md"
    said = shell("plugin", "test", "mine.py:Good", "--report", str(report))
    assert said.code == 0, said.out + said.err
    assert said.out == report.read_text()
    assert said.out.startswith("## Conformance of reader mine.py:Good 1.0.0")


def test_a_broken_promise_is_named_and_the_exit_code_tells(shell: Any) -> None:
    shell.write("mine.py", READER)
    said = shell("plugin", "test", "mine.py:Bad", "--json")
    assert said.code == 1
    (failed,) = [outcome for outcome in said.json["outcomes"] if not outcome["passed"]]
    assert failed["check"] == "test_check_connection_answers"
    assert "returned bool" in failed["remark"]


def test_an_installed_plugin_is_tested_with_the_jobs_words(shell: Any) -> None:
    shell.write("data/a.csv", "n;m\n1;2\n3;4\n")
    said = shell("plugin", "test", "rust_csv", "--with", "{files: [data/a.csv], options: {delimiter: ';'}}")
    assert said.code == 0, said.out + said.err
    said = shell("plugin", "test", "jsonl", "--kind", "writer")
    assert said.code == 0, said.out + said.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["nope"], "unknown reader"), (["csv", "--with", "[1]"], "not a mapping"), (["csv", "--with", "{"], "no YAML")],
)
def test_what_cannot_be_tested_is_told(shell: Any, arguments: list[str], message: str) -> None:
    said = shell("plugin", "test", *arguments)
    assert said.code == 2
    assert message in said.err
    assert "Traceback" not in said.err
