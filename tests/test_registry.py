"""From a reference to a plugin, and what a person is told when it does not work."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest
from dativo_plugin_sdk import BaseReader, BaseWriter, ConfigurationError, PluginError, PluginVersionError

from dativo_assets.registry import Registry, _installed

READER = """
from dativo_plugin_sdk import BaseReader

class Rows(BaseReader):
    def extract(self, state_manager=None):
        yield [{{"from": {name!r}}}]
"""


def project(root: Path, name: str, text: str) -> Registry:
    root.mkdir(exist_ok=True)
    (root / name).write_text(text)
    return Registry(root)


def test_a_file_names_its_class(tmp_path: Path) -> None:
    plugin = project(tmp_path, "mine.py", READER.format(name="a")).resolve("reader", "mine.py:Rows").load()
    assert issubclass(plugin.target, BaseReader)
    assert plugin.name == "mine.py:Rows 1.0.0"


def test_two_projects_files_of_one_name_do_not_meet(tmp_path: Path) -> None:
    plugins = [
        project(tmp_path / name, "mine.py", READER.format(name=name)).resolve("reader", "mine.py:Rows").load()
        for name in ("a", "b")
    ]
    rows = [next(iter(plugin.target.extract(None)))[0]["from"] for plugin in plugins]
    assert rows == ["a", "b"]
    assert "mine" not in sys.modules


def test_resolving_imports_nothing(tmp_path: Path) -> None:
    registry = project(tmp_path, "broken.py", "raise RuntimeError('never imported')")
    assert registry.resolve("reader", "broken.py:Rows").path == tmp_path / "broken.py"


def test_a_plugin_that_fails_to_import_says_where(tmp_path: Path) -> None:
    ref = project(tmp_path, "broken.py", "x = 1\nraise RuntimeError('no luck')\n").resolve("reader", "broken.py:Rows")
    with pytest.raises(PluginError, match=r"broken.py:Rows failed to import: RuntimeError: no luck") as caught:
        ref.load()
    assert caught.value.details["file"] == str(tmp_path / "broken.py")
    assert caught.value.details["line"] == 2


def test_a_syntax_error_names_its_line(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="SyntaxError") as caught:
        project(tmp_path, "broken.py", "x = 1\ndef (:\n").resolve("reader", "broken.py:Rows").load()
    assert caught.value.details["line"] == 2


def test_a_missing_module_names_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(PluginError) as caught:
        project(tmp_path, "needs.py", "import no_such_thing.inside").resolve("reader", "needs.py:Rows").load()
    assert caught.value.hint == "install what the plugin needs: pip install no_such_thing"


def test_a_plugin_that_exits_on_import_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="SystemExit"):
        project(tmp_path, "quits.py", "import sys; sys.exit(3)").resolve("reader", "quits.py:Rows").load()


def test_a_missing_class_lists_those_there(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="not found in module") as caught:
        project(tmp_path, "mine.py", READER.format(name="a")).resolve("reader", "mine.py:Row").load()
    assert "Rows" in str(caught.value.hint)


def test_a_class_that_is_no_plugin_is_refused(tmp_path: Path) -> None:
    registry = project(tmp_path, "mine.py", READER.format(name="a") + "\nclass Other: pass\n")
    with pytest.raises(PluginError, match="must inherit from BaseReader"):
        registry.resolve("reader", "mine.py:Other").load()
    with pytest.raises(PluginError, match="must inherit from BaseWriter"):
        registry.resolve("writer", "mine.py:Rows").load()


def test_a_plugin_for_a_newer_api_says_which_side_to_upgrade(tmp_path: Path) -> None:
    registry = project(tmp_path, "mine.py", READER.format(name="a") + "\n    api_version = 99\n")
    with pytest.raises(PluginVersionError, match="needs plugin API 99") as caught:
        registry.resolve("reader", "mine.py:Rows").load()
    assert "upgrade dativo-assets" in str(caught.value.hint)


def test_a_packages_keywords_tell_its_apis_before_its_import_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = "Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nKeywords: dativo-plugin, {apis}\n"
    for name, apis in (("later", "dativo-api-8,dativo-api-9"), ("both", "dativo-api-1,dativo-api-2,dativo-api-x")):
        (tmp_path / f"{name}_rows.py").write_text(READER.format(name=name))
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(about.format(name=name, apis=apis))
        (folder / "entry_points.txt").write_text(f"[dativo.readers]\n{name} = {name}_rows:Rows\n")
    (tmp_path / "later_rows.py").write_text("from dativo_plugin_sdk import OfApi8\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    _installed.cache_clear()
    try:
        registry = Registry(tmp_path)
        assert registry.resolve("reader", "both").load().api_version == 1
        with pytest.raises(PluginVersionError, match="plugin later needs plugin API 8 to 9") as caught:
            registry.resolve("reader", "later").load()
    finally:
        _installed.cache_clear()
    assert "upgrade dativo-assets" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("csvv", "unknown reader 'csvv'"),
        ("gone.py:Rows", "gone.py was not found"),
        ("../../etc/passwd:x", "neither a .py file, a library nor a module"),
        ("mine.py:", "must be in format"),
        ("mine.py:Rows()", "must be in format"),
        ("mine.py:__import__('os')", "must be in format"),
        ("a\0b.py:Rows", "NUL"),
        ("lib.so:make", "lib.so was not found"),
    ],
)
def test_a_wrong_reference_is_refused_with_a_hint(tmp_path: Path, reference: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Registry(tmp_path).resolve("reader", reference)


def test_the_nearest_name_is_offered(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Registry(tmp_path).resolve("reader", "parqet")
    assert "did you mean `parquet`?" in str(caught.value.hint)


def test_a_module_class_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_package_of_mine").mkdir()
    (tmp_path / "some_package_of_mine" / "__init__.py").write_text(READER.format(name="module"))
    monkeypatch.syspath_prepend(tmp_path)
    plugin = Registry(tmp_path).resolve("reader", "some_package_of_mine:Rows").load()
    assert plugin.factory == plugin.target.at


def test_the_built_ins_are_entry_points_like_a_strangers() -> None:
    names = {point.name for point in importlib.metadata.entry_points(group="dativo.writers")}
    assert {"parquet", "csv", "jsonl"} <= names
    assert issubclass(Registry(Path()).resolve("writer", "parquet").load().target, BaseWriter)
