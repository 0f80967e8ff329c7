"""Which plugins and installations go together, whichever side is the older one, and who is told to upgrade."""

from __future__ import annotations

import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from dativo_plugin_sdk import BaseReader, PluginVersionError, lift_reader, version
from dativo_plugin_sdk.library import load_library, open_library

from .libraries import compiled

UPGRADE_US, UPGRADE_IT = "upgrade dativo-assets and dativo-plugin-sdk", "upgrade the plugin planets"

CASES = [
    # this installation's versions, the plugin's, and who has to be upgraded
    ((1, 1), (1, 1), None),
    ((1, 1), (1, 3), None),
    ((2, 4), (1, 2), None),
    ((2, 4), (4, 9), None),
    ((2, 4), (3, 3), None),
    ((1, 5), (2, 3), None),
    ((1, 1), (2, 2), UPGRADE_US),
    ((1, 1), (2, 3), UPGRADE_US),
    ((2, 4), (1, 1), UPGRADE_IT),
    ((3, 4), (1, 2), UPGRADE_IT),
]


def install(monkeypatch: pytest.MonkeyPatch, provided: tuple[int, int]) -> None:
    for module in (version, import_module("dativo_plugin_sdk.library.load")):
        monkeypatch.setattr(module, "MIN_API_VERSION", provided[0])
        monkeypatch.setattr(module, "API_VERSION", provided[1])


@pytest.mark.parametrize(("provided", "declared", "hint"), CASES)
def test_a_class_is_refused_where_no_version_is_common(
    monkeypatch: pytest.MonkeyPatch, provided: tuple[int, int], declared: tuple[int, int], hint: str | None
) -> None:
    install(monkeypatch, provided)
    spelled = [declared, list(declared)] + [declared[0]] * (declared[0] == declared[1])
    for said in spelled:
        plugin: Any = type("Planets", (BaseReader,), {"api_version": said})
        if hint is None:
            assert lift_reader(plugin, "planets") == plugin.at
            continue
        with pytest.raises(PluginVersionError, match=f"plugin API {version.api_text(declared)}; this") as caught:
            lift_reader(plugin, "planets")
        assert caught.value.hint == hint
        assert f"provides {version.api_text(provided)}" in caught.value.message


@pytest.mark.parametrize("said", ["1", None, True, 1.0, (), (1,), (1, 2, 3), (2, 1), (1, "2"), {"oldest": 1}])
def test_what_is_no_version_is_told(said: Any) -> None:
    with pytest.raises(PluginVersionError, match="neither an integer nor a pair of them"):
        lift_reader(type("Planets", (BaseReader,), {"api_version": said}), "planets")


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.parametrize(("provided", "declared", "hint"), CASES)
def test_a_library_gives_the_newest_table_that_this_installation_takes(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    provided: tuple[int, int],
    declared: tuple[int, int],
    hint: str | None,
) -> None:
    install(monkeypatch, provided)
    flags = (f"-DOLDEST={declared[0]}", f"-DNEWEST={declared[1]}", "-shared", "-fPIC")
    path = compiled(Path(__file__).with_name("liar.c"), tmp_path / "planets.so", *flags)
    library = open_library(str(path), "planets")
    if hint is None:
        plugin = load_library("reader", library, "several", "planets")
        assert version.api_range(plugin.api_version) == declared
        assert plugin.library.table_version == min(provided[1], declared[1])
        return
    with pytest.raises(PluginVersionError) as caught:
        load_library("reader", library, "several", "planets")
    assert caught.value.hint == hint
