"""Which plugins a project may use: allowed by dativo.yaml, as dativo.lock has them, and nobody else's to write."""

from __future__ import annotations

import json
import platform
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from dativo_plugin_sdk import DativoError

from dativo_assets.artefacts import wheel_platform
from dativo_assets.cli import plugin_lock
from dativo_assets.config import load_project
from dativo_assets.errors import ConfigurationError
from dativo_assets.pipeline import RunSettings, run
from dativo_assets.plan import bind
from dativo_assets.registry import PluginRef, Registry
from dativo_assets.trust.lock import lock_text, locked
from tests.sdk.libraries import compiled

READER = """
from dativo_plugin_sdk import BaseReader


class Rows(BaseReader):
    __version__ = "1.2.3"

    def extract(self):
        yield [{"n": 1}]
"""
JOB = "source: {reader: 'READER'}\ntarget: {writer: jsonl, path: out}\n"


class Folder:
    """A project whose one job names one reader."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("plugins/mine.py", READER)

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def bind(self, reader: str, plugins: dict[str, Any]) -> Any:
        self.write("dativo.yaml", json.dumps({"plugins": plugins}))
        self.write("jobs/job.yaml", JOB.replace("READER", reader))
        project = load_project(self.root)
        assert not project.broken, project.broken
        return bind(project.jobs["job"], project)

    def refused(self, reader: str, plugins: dict[str, Any]) -> DativoError:
        with pytest.raises(ConfigurationError) as caught:
            self.bind(reader, plugins)
        assert caught.value.details["line"] == 1
        assert caught.value.hint
        return caught.value


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "project")


@pytest.mark.parametrize(
    ("reader", "entry"),
    [
        ("csv", "csv"),
        ("csv", "c*"),
        ("plugins/mine.py:Rows", "plugins/"),
        ("plugins/mine.py:Rows", "plugins/mine.py:Rows"),
        ("plugins/../plugins/mine.py:Rows", "plugins/*.py:*"),
        ("dativo_assets.readers.csv:CsvReader", "dativo_assets.*"),
    ],
)
def test_what_is_allowed_is_bound(folder: Folder, reader: str, entry: str) -> None:
    assert folder.bind(reader, {"allow": [entry, "jsonl"]}).reader.reference == reader


@pytest.mark.parametrize(
    "reader",
    ["csv", "elsewhere/mine.py:Rows", "plugins/../elsewhere/mine.py:Rows", "plugins/link.py:Rows", "json:loads"],
)
def test_what_is_not_allowed_is_refused_at_its_line(folder: Folder, reader: str) -> None:
    there = folder.write("elsewhere/mine.py", READER)
    (folder.root / "plugins" / "link.py").symlink_to(there)
    error = folder.refused(reader, {"allow": ["plugins/", "plugins/*.py:*", "jsonl"]})
    assert error.error_code == "PLUGIN_NOT_ALLOWED"


def write_lock(folder: Folder, plan: Any) -> None:
    folder.write("dativo.lock", lock_text([locked(plan.reader, folder.root), locked(plan.writer, folder.root)]))


def test_a_lock_holds_plugins_to_what_they_were(folder: Folder) -> None:
    plan = folder.bind("plugins/mine.py:Rows", {})
    write_lock(folder, plan)
    items = {item["kind"]: item for item in json.loads((folder.root / "dativo.lock").read_text())["plugins"]}
    assert items["reader"]["version"] == "1.2.3"
    assert items["reader"]["source"] == "plugins/mine.py"
    assert items["reader"]["api_version"] == 1
    assert items["writer"]["name"] == "dativo-assets"
    assert folder.bind("plugins/mine.py:Rows", {"locked": True}).reader == plan.reader
    folder.write("plugins/mine.py", READER + "\n# one line more\n")
    assert folder.refused("plugins/mine.py:Rows", {"locked": True}).error_code == "PLUGIN_CHANGED"


def test_what_is_not_in_the_lock_is_refused(folder: Folder) -> None:
    write_lock(folder, folder.bind("csv", {}))
    assert folder.refused("plugins/mine.py:Rows", {"locked": True}).error_code == "PLUGIN_NOT_LOCKED"


def lock_on(folder: Folder, monkeypatch: pytest.MonkeyPatch, system: str) -> dict[str, Any]:
    """What `dativo plugin lock` writes there."""
    monkeypatch.setattr("platform.system", lambda: system)
    done = CliRunner().invoke(plugin_lock.command, ["--project", str(folder.root)], standalone_mode=False)
    assert done.exit_code == 0 and not done.exception, done.output
    return {item["kind"]: item for item in json.loads((folder.root / "dativo.lock").read_text())["plugins"]}


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_a_lock_holds_a_compiled_plugin_for_each_platform_that_it_was_locked_on(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = folder.root / "plugins" / "lib.so"
    library.parent.mkdir(exist_ok=True)
    source = Path(__file__).parents[1] / "sdk" / "liar.c"
    compiled(source, library, "-shared", "-fPIC")
    machine = platform.machine().lower()
    folder.bind("plugins/lib.so:liar", {})
    linux = lock_on(folder, monkeypatch, "Linux")
    assert list(linux["reader"]["sha256"]) == [f"linux_{machine}"]
    assert list(linux["writer"]["sha256"]) == ["any"], "a writer in Python"
    folder.bind("plugins/lib.so:liar", {"locked": True})

    monkeypatch.setattr("platform.system", lambda: "Darwin")
    refused = folder.refused("plugins/lib.so:liar", {"locked": True})
    assert refused.error_code == "PLUGIN_NOT_LOCKED"
    assert f"for linux_{machine}, not for darwin_{machine}" in refused.message
    compiled(source, library, "-shared", "-fPIC", "-O2")  # another artefact, of the same version
    both = lock_on(folder, monkeypatch, "Darwin")
    assert list(both["reader"]["sha256"]) == [f"darwin_{machine}", f"linux_{machine}"]
    assert both["reader"]["sha256"][f"linux_{machine}"] == linux["reader"]["sha256"][f"linux_{machine}"]
    folder.bind("plugins/lib.so:liar", {"locked": True})
    monkeypatch.setattr("platform.system", lambda: "Linux")
    assert folder.refused("plugins/lib.so:liar", {"locked": True}).error_code == "PLUGIN_CHANGED"

    entry = {**both["reader"], "version": "0.1.0"}
    folder.write("dativo.lock", json.dumps({"version": 1, "plugins": [entry, both["writer"]]}))
    anew = lock_on(folder, monkeypatch, "Linux")
    assert list(anew["reader"]["sha256"]) == [f"linux_{machine}"], "the other one is of an older version"


def test_a_wheels_platform_is_its_tag() -> None:
    assert wheel_platform("Wheel-Version: 1.0\nTag: py2-none-any\nTag: py3-none-any\n") == "any"
    tags = "Tag: cp310-abi3-manylinux_2_17_x86_64\nTag: cp310-abi3-manylinux2014_x86_64\n"
    assert wheel_platform(tags) == "cp310-abi3-manylinux2014_x86_64.cp310-abi3-manylinux_2_17_x86_64"


OLD = '{"version": 1, "plugins": [{"kind": "", "reference": "", "name": "", "version": "", "source": "", "api_version": 1, '


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "[]",
        '{"version": 9, "plugins": []}',
        '{"version": 1, "plugins": [{}]}',
        OLD + '"sha256": "ab"}]}',
        OLD + '"sha256": {"any": 1}}]}',
    ],
)
def test_a_lock_that_cannot_be_read_is_told(folder: Folder, text: str | None) -> None:
    if text is not None:
        folder.write("dativo.lock", text)
    assert "dativo.lock" in folder.refused("csv", {"locked": True}).message


WHEEL = {
    "stranger.py": READER,
    "stranger-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n",
    "stranger-1.0.dist-info/entry_points.txt": "[dativo.readers]\nstranger = stranger:Rows\n",
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the import path with an installed package in it, as an installer leaves one."""
    import base64
    import hashlib

    site = tmp_path / "site"
    rows = []
    for name, text in WHEEL.items():
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{len(text)}")
    rows += ["../bin/stranger,sha256=AAAA,1", "stranger-1.0.dist-info/INSTALLER,sha256=BBBB,2", "stranger.pyc,,"]
    (site / "stranger-1.0.dist-info" / "RECORD").write_text("\n".join(rows))
    monkeypatch.syspath_prepend(str(site))
    return site


def ref_of(site: Path) -> PluginRef:
    from dativo_assets.registry import _installed

    _installed.cache_clear()
    try:
        return Registry(site).resolve("reader", "stranger")
    finally:
        _installed.cache_clear()


def test_a_wheel_that_was_tampered_with_after_its_installation_is_refused(folder: Folder, site: Path) -> None:
    from dativo_assets.trust.lock import Lock, _tampered

    ref = ref_of(site)
    lock = Lock((locked(ref, folder.root),))
    assert (lock.plugins[0].name, lock.plugins[0].version) == ("stranger", "1.0")
    lock.check(ref)
    (site / "stranger.py").write_text(READER + "import os\n")
    _tampered.cache_clear()  # as another process finds it
    with pytest.raises(ConfigurationError, match=r"changed after it was installed: stranger\.py") as caught:
        lock.check(ref)
    assert caught.value.error_code == "PLUGIN_CHANGED"


def test_the_digest_of_a_wheel_is_the_same_whatever_installed_it(site: Path) -> None:
    record = site / "stranger-1.0.dist-info" / "RECORD"
    before = ref_of(site).record
    rows = [row for row in record.read_text().splitlines() if "INSTALLER" not in row and "bin" not in row]
    record.write_text("\n".join(reversed(rows)))
    assert ref_of(site).record == before != ""
    record.write_text("\n".join(rows[1:]))
    assert ref_of(site).record != before


@pytest.mark.parametrize("shared", ["plugins/mine.py", "plugins", "plugins/__pycache__"])
def test_a_file_that_everybody_may_write_is_refused(folder: Folder, shared: str) -> None:
    folder.bind("plugins/mine.py:Rows", {})
    path = folder.root / shared
    path.mkdir(exist_ok=True) if path.suffix == "" else None
    path.chmod(path.stat().st_mode | 0o002)
    error = folder.refused("plugins/mine.py:Rows", {})
    assert error.error_code == "PLUGIN_WRITABLE"
    assert error.hint == f"chmod o-w {path}"


def test_a_commit_says_what_its_plugins_were(folder: Folder) -> None:
    import hashlib

    for isolation in ("none", "process"):
        plan = folder.bind("plugins/mine.py:Rows", {})
        folder.write("jobs/job.yaml", JOB.replace("READER'", f"plugins/mine.py:Rows', isolation: {isolation}"))
        project = load_project(folder.root)
        result = run(bind(project.jobs["job"], project), RunSettings(workers=1))
        assert result.error is None and result.commit is not None
        assert result.commit.plugins["reader"] == "plugins/mine.py:Rows 1.2.3"
        digest = hashlib.sha256((folder.root / "plugins" / "mine.py").read_bytes()).hexdigest()
        assert result.commit.details["plugin_sha256"]["reader"] == digest
        assert plan.reader.path is not None
        shutil.rmtree(folder.root / "out", ignore_errors=True)
