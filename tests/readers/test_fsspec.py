"""Files of servers that fsspec reaches: listed, read, and watched by a trigger. Its memory file system stands for a server."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from dativo_plugin_sdk.errors import AuthenticationError, ConfigurationError, PluginError
from dativo_plugin_sdk.remote_fsspec import FsspecFiles

from dativo_assets.config import load_project
from dativo_assets.pipeline import RunResult, RunSettings, run
from dativo_assets.plan import bind
from dativo_assets.registry import Registry
from dativo_assets.sensors.sources import Sources

JOB = """
source: {reader: READER, files: ["memory://landing/*.EXT"], incremental: {strategy: file_modified_time}}
target: {writer: parquet, path: warehouse/orders}
trigger: {files: {poll: 5s}}
"""


@pytest.fixture
def server() -> Iterator[Any]:
    files = fsspec.filesystem("memory")
    files.store.clear()
    yield files
    files.store.clear()


def project(root: Path, reader: str = "csv", extension: str = "csv") -> Any:
    (root / "jobs").mkdir()
    (root / "dativo.yaml").touch()
    (root / "jobs/orders.yaml").write_text(textwrap.dedent(JOB).replace("READER", reader).replace("EXT", extension))
    return load_project(root)


def load(loaded: Any) -> RunResult:
    return run(bind(loaded.jobs["orders"], loaded), RunSettings(retries=False))


@pytest.mark.parametrize(("reader", "extension"), [("csv", "csv"), ("json", "jsonl")])
def test_new_files_of_a_server_are_seen_by_the_trigger_and_read_once(
    server: Any, tmp_path: Path, reader: str, extension: str
) -> None:
    def text(n: int) -> bytes:
        return f"n\n{n}\n".encode() if reader == "csv" else f'{{"n": {n}}}\n'.encode()

    server.pipe(f"/landing/a.{extension}", text(1))
    server.pipe(f"/landing/other/b.{extension}", text(9))
    loaded = project(tmp_path, reader, extension)
    job, watched = loaded.jobs["orders"], Sources(Registry(tmp_path))
    assert watched.news(job, loaded)[""].startswith(f"1:memory://landing/a.{extension}:")
    result = load(loaded)
    assert (result.error, result.rows_written) == (None, 1)
    assert watched.news(job, loaded) == {}
    server.pipe(f"/landing/c.{extension}", text(2))
    assert watched.news(job, loaded)
    assert load(loaded).rows_written == 1


def test_a_folder_and_what_is_not_there(server: Any) -> None:
    files = FsspecFiles({})
    server.pipe("/landing/deep/a.csv", b"0123456789")
    assert [found.uri for found in files.find("memory://landing")] == ["memory://landing/deep/a.csv"]
    assert [found.size_bytes for found in files.find("memory://landing/**/*.csv")] == [10]
    assert files.read("memory://landing/deep/a.csv", 2, 5, None) == b"234"
    assert files.open(files.stat("memory://landing/deep/a.csv")).read() == b"0123456789"
    assert files.find("memory://landing/*.csv") == []
    with pytest.raises(ConfigurationError, match=r"memory://landing/none\.csv does not exist"):
        files.find("memory://landing/none.csv")


def test_what_goes_wrong_says_what_to_do_and_holds_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError) as written:
        FsspecFiles({}).find("sftp://ann:hunter2@files.example.org/landing/*.csv")
    assert "hunter2" not in f"{written.value} {written.value.hint}" and "credentials" in str(written.value.hint)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("permission denied")

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.glob", refuse)
    with pytest.raises(AuthenticationError, match="permission denied"):
        FsspecFiles({}).find("memory://landing/*.csv")
    with pytest.raises(PluginError) as missing:  # smbprotocol is none of what the tests install
        FsspecFiles({}).find("smb://files.example.org/landing/*.csv")
    assert "dativo-assets[sftp]" in str(missing.value.hint)
