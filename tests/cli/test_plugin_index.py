"""dativo plugin search, info, install, upgrade, remove and lock, over a folder and a web server."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import os
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

UV = Path(__file__).resolve().parents[2] / ".cache" / "uv" / "bin"
READER = """
from dativo_plugin_sdk import BaseReader


class Planets(BaseReader):
    __version__ = "VERSION"

    def extract(self):
        yield [{"name": "Mars", "version": "VERSION"}]
"""


class Shelf:
    """An index in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir()
        self.plugins: list[dict[str, Any]] = []

    def add(self, name: str, files: dict[str, tuple[str, bytes]], **more: Any) -> None:
        """files: {version: (name of the artefact, its bytes)}."""
        releases = []
        for version, (file, data) in files.items():
            (self.folder / file).write_bytes(data)
            sha256 = hashlib.sha256(data).hexdigest()
            releases.append({"version": version, "api_version": 1, "artefact": file, "sha256": sha256, "new_key": 1})
        plugin = {
            "name": name,
            "kind": "reader",
            "reference": "Planets",
            "summary": "All planets",
            "language": "python",
        }
        self.plugins.append({**plugin, "releases": releases, **more})
        self.save()

    def save(self) -> None:
        (self.folder / "index.json").write_text(json.dumps({"version": 1, "plugins": self.plugins}))


def source(version: str) -> bytes:
    return READER.replace("VERSION", version).encode()


@pytest.fixture
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    found = Shelf(tmp_path_factory.mktemp("shelf") / "index")
    found.add("planets", {v: (f"planets-{v}.py", source(v)) for v in ("1.9.0", "1.10.0", "2.0.0rc1")})
    return found


@pytest.fixture
def served(shelf: Shelf) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(shelf.folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_single_file_is_found_installed_run_upgraded_and_removed(shell: Any, shelf: Shelf, served: str) -> None:
    shell.write("dativo.yaml", f"jobs: jobs/*.yaml\nplugins: {{index: '{served}'}}\n")
    assert "planets" in shell("plugin", "search", "planets").out
    assert shell("plugin", "search", "stars", "--json").json == []
    said = shell("plugin", "install", "planets==1.9.0", "--json")
    assert said.code == 0, said.err
    assert said.json["reference"] == "plugins/planets-1.9.0.py:Planets"
    assert "installed: 1.9.0" in shell("plugin", "info", "planets").out
    (listed,) = [item for item in shell("plugins", "--json").json if item["name"].startswith("plugins/")]
    assert (listed["version"], listed["api"], listed["error"]) == ("1.9.0", 1, None)

    shell.write(
        "jobs/j.yaml", f"source: {{reader: '{said.json['reference']}'}}\ntarget: {{writer: jsonl, path: out}}\n"
    )
    assert shell("run", "j").code == 0

    (shell.root / "plugins" / "planets-1.9.0.py").write_text("raise SystemExit('tampered')\n")
    assert "was changed since it was installed" in shell("plugins").out
    assert shell("plugin", "remove", "planets").code == 0
    assert not (shell.root / "plugins" / "planets-1.9.0.py").exists()
    again = shell("plugin", "remove", "planets")
    assert (again.code, "nothing was installed" in again.err) == (2, True)


def test_an_upgrade_takes_the_newest_release_and_removes_the_file_before(shell: Any, shelf: Shelf) -> None:
    where = ("--index", str(shelf.folder))
    shell("plugin", "install", "planets==1.9.0", *where)
    assert shell("plugin", "upgrade", *where).out == "planets 1.9.0 -> 1.10.0\n"
    assert shell("plugin", "upgrade", "planets", *where).out == "planets 1.10.0 is the newest\n"
    assert shell.files("plugins") == ["installed.json", "planets-1.10.0.py"]


def test_what_is_not_as_the_index_says_is_not_installed(shell: Any, shelf: Shelf) -> None:
    (shelf.folder / "planets-1.10.0.py").write_bytes(b"import os\n")
    said = shell("plugin", "install", "planets", "--index", str(shelf.folder))
    assert (said.code, "DIGEST_MISMATCH" in said.err) == (2, True)
    assert not (shell.root / "plugins").exists()


def test_a_file_of_the_project_is_not_replaced(shell: Any, shelf: Shelf) -> None:
    mine = shell.write("plugins/planets-1.10.0.py", "mine")
    said = shell("plugin", "install", "planets", "--index", str(shelf.folder))
    assert (said.code, "is there already" in said.err) == (2, True)
    assert mine.read_text() == "mine"


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../planets"},
        {"reference": "Planets; import os"},
        {"kind": "sensor"},
        {"releases": []},
        {"releases": [{"version": "1", "artefact": "../../etc/passwd", "sha256": "0" * 64}]},
        {"releases": [{"version": "1", "artefact": "a/../../x.py", "sha256": "0" * 64}]},
        {"releases": [{"version": "1", "artefact": "file:///etc/x.py", "sha256": "0" * 64}]},
        {"releases": [{"version": "1", "artefact": ".hidden.py", "sha256": "0" * 64}]},
        {"releases": [{"version": "one", "artefact": "x.py", "sha256": "0" * 64}]},
        {"releases": [{"version": "1", "artefact": "x.py", "sha256": "short"}]},
        {"releases": {"version": "1"}},
        {"summary": ["no", "text"]},
    ],
)
def test_an_index_that_means_harm_is_refused(shell: Any, shelf: Shelf, change: dict[str, Any]) -> None:
    shelf.plugins[0].update(change)
    shelf.save()
    said = shell("plugin", "install", shelf.plugins[0]["name"], "--index", str(shelf.folder))
    assert said.code == 2 and "hint:" in said.err
    assert not (shell.root / "plugins").exists()


def test_a_release_for_another_api_is_left_out_and_the_side_to_upgrade_is_named(shell: Any, shelf: Shelf) -> None:
    for release in shelf.plugins[0]["releases"]:
        release["api_version"] = 7
    shelf.save()
    said = shell("plugin", "install", "planets", "--index", str(shelf.folder))
    assert said.code == 2 and "upgrade dativo-assets" in said.err
    for release in shelf.plugins[0]["releases"]:
        release["api_version"] = [1, 7]
    shelf.save()
    assert shell("plugin", "install", "planets", "--index", str(shelf.folder)).code == 0


def test_an_index_that_is_not_there_is_told(shell: Any) -> None:
    for where in ("nowhere", "http://127.0.0.1:9"):
        said = shell("plugin", "search", "--index", where)
        assert said.code == 2 and "can't be read" in said.err
    assert "plugins: {index:" in shell("plugin", "search").err


def wheel(path: Path, version: str, package: str = "planets_wheel") -> bytes:
    info = f"{package}-{version}.dist-info"
    files = {
        "planets_wheel.py": source(version).decode(),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[dativo.readers]\nplanets = planets_wheel:Planets\n",
    }
    rows = []
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            rows.append(f"{name},sha256={digest},{len(text)}")
        archive.writestr(f"{info}/RECORD", "\n".join([*rows, f"{info}/RECORD,,"]))
    return path.read_bytes()


def test_a_wheel_is_installed_locked_run_and_removed(shell: Any, shelf: Shelf, tmp_path: Path) -> None:
    names = {version: f"planets_wheel-{version}-py3-none-any.whl" for version in ("1.0", "1.1")}
    files = {version: (name, wheel(tmp_path / name, version)) for version, name in names.items()}
    shelf.add("planets-wheel", files, reference="planets")
    site = tmp_path / "site"
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    variables = {"PATH": f"{UV}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": path}
    where = ("--index", str(shelf.folder), "--target", str(site))
    said = shell("plugin", "install", "planets-wheel==1.0", *where, **variables)
    assert said.code == 0, said.err
    assert "`reader: planets`" in said.out

    shell.write("jobs/j.yaml", "source: {reader: planets}\ntarget: {writer: jsonl, path: out}\n")
    assert shell("plugin", "lock", **variables).out == "dativo.lock: 2 plugins\n"
    assert shell("plugin", "lock", "--check", **variables).code == 0
    assert shell("run", "--locked", **variables).code == 0
    assert shell("plugin", "upgrade", "planets-wheel", *where, **variables).code == 0
    refused = shell("run", "--locked", "--json", **variables)
    assert refused.code == 2 and "PLUGIN_CHANGED" in refused.err
    changed = shell("plugin", "lock", "--check", **variables)
    assert changed.code == 1 and '+      "version": "1.1"' in changed.out
    assert shell("plugin", "remove", "planets-wheel", *where[2:], **variables).code == 0
    assert not (site / "planets_wheel.py").exists()
