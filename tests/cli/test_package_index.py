"""dativo plugin info and install from an index of Python packages, on this machine."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from dativo_assets.index import packages
from tests.cli.test_plugin_index import UV, wheel

LOGIN = "reader:hush%40hush"


class Packages(BaseHTTPRequestHandler):
    """The simple API in JSON, for who knows the login."""

    pages: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        wanted = "Basic " + base64.b64encode(b"reader:hush@hush").decode()
        body = self.pages.get(self.path)
        status = 401 if self.headers.get("Authorization") != wanted else 404 if body is None else 200
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Packages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    files = []
    for name, version in (
        ("dativo_planets-1.0-py3-none-any.whl", "1.0"),
        ("dativo_planets-1.1-py3-none-any.whl", "1.1"),
        ("dativo_planets-1.2-cp27-cp27m-win32.whl", "1.2"),
        ("dativo_planets-1.3.tar.gz", "1.3"),
        ("dativo_planets-1.4-py3-none-any.whl", "1.4"),
    ):
        data = wheel(tmp_path / name, version, "dativo_planets")
        Packages.pages[f"/files/{name}"] = data
        hashes = {"sha256": hashlib.sha256(data).hexdigest()}
        files.append({"filename": name, "url": f"../../files/{name}", "hashes": hashes, "yanked": version == "1.4"})
    Packages.pages["/simple/dativo-planets/"] = json.dumps({"files": files}).encode()
    Packages.pages["/simple/odd/"] = b"<html>"
    yield f"127.0.0.1:{server.server_port}/simple"
    server.shutdown()
    server.server_close()


def test_a_plugin_is_found_by_name_in_the_index_that_pip_is_set_to(shell: Any, index: str, tmp_path: Path) -> None:
    variables = {"PIP_INDEX_URL": f"http://{LOGIN}@{index}", "PATH": f"{UV}{os.pathsep}{os.environ['PATH']}"}
    told = shell("plugin", "info", "planets", "--index", "pypi", "--json", **variables)
    assert told.code == 0, told.err
    found = told.json
    assert (found["name"], found["kind"], found["reference"]) == ("dativo-planets", "reader", "planets")
    assert [release["version"] for release in found["releases"]] == ["1.0", "1.1"], "for this Python, not yanked"

    site = str(tmp_path / "site")
    done = shell("plugin", "install", "planets==1.0", "--index", "pypi", "--target", site, **variables)
    assert done.code == 0, done.err
    assert (tmp_path / "site" / "planets_wheel.py").is_file()
    record = (shell.root / "plugins" / "installed.json").read_text()
    assert index in record and "hush" not in record


def test_what_an_index_of_packages_cannot_do_is_told(shell: Any, index: str) -> None:
    right = {"PIP_INDEX_URL": f"http://{LOGIN}@{index}/"}
    for verb, name, url, said in (
        ("search", "planets", right, "can't be searched"),
        ("info", "nothing", right, "has no wheel for this Python of nothing or dativo-nothing"),
        ("info", "odd", right, "is no page of an index of packages in JSON"),
        ("info", "planets", {"PIP_INDEX_URL": f"http://{index}"}, "answers 401"),
        ("info", "planets", {"PIP_INDEX_URL": "http://127.0.0.1:9/simple"}, "can't be read"),
    ):
        done = shell("plugin", verb, name, "--index", "pypi", **url)
        assert done.code == 2 and said in done.err, done.err
        assert "hush" not in done.err


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("uv/uv.toml", 'index-url = "https://a.example/simple"\n'),
        ("pip/pip.conf", "[global]\nindex-url = https://a.example/simple\n"),
    ],
)
def test_the_index_is_that_of_uvs_or_pips_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str
) -> None:
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL", "PIP_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_text(text)
    assert packages.package_index().where == "https://a.example/simple/"
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://b.example/simple")
    assert packages.package_index().where == "https://b.example/simple/"
