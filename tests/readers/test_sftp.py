"""Files of an SFTP server, as a job reads them and a trigger watches them."""

from __future__ import annotations

from pathlib import Path

import pytest
from dativo_plugin_sdk.errors import AuthenticationError, ConfigurationError, TransientError
from dativo_plugin_sdk.remote_fsspec import FsspecFiles

from dativo_assets.config import load_project
from dativo_assets.pipeline import RunSettings, run
from dativo_assets.plan import bind
from dativo_assets.registry import Registry
from dativo_assets.sensors.sources import Sources

from .sftp_server import PASSWORD, USER, serving

JOB = """
source:
  reader: csv
  files: ["sftp://127.0.0.1/landing/*.csv"]
  incremental: {strategy: file_modified_time}
  connection: {username: %s, port: %d}
  credentials: {password: "${SFTP_PASSWORD}"}
target: {writer: parquet, path: warehouse/orders}
trigger: {files: {poll: 5s}}
"""


def test_new_files_are_seen_by_the_trigger_and_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFTP_PASSWORD", PASSWORD)
    landing = tmp_path / "served/landing"
    landing.mkdir(parents=True)
    (landing / "a.csv").write_text("n\n1\n")
    with serving(tmp_path / "served") as port:
        (tmp_path / "jobs").mkdir()
        (tmp_path / "dativo.yaml").touch()
        (tmp_path / "jobs/orders.yaml").write_text(JOB % (USER, port))
        loaded = load_project(tmp_path)
        job, watched = loaded.jobs["orders"], Sources(Registry(tmp_path))
        assert watched.news(job, loaded)[""].startswith("1:sftp://127.0.0.1/landing/a.csv:")
        result = run(bind(job, loaded), RunSettings(retries=False))
        assert (result.error, result.rows_written) == (None, 1)
        assert watched.news(job, loaded) == {}
        (landing / "b.csv").write_text("n\n2\n3\n")
        assert watched.news(job, loaded)
        assert run(bind(job, loaded), RunSettings(retries=False)).rows_written == 2


def test_a_server_that_refuses_or_is_not_there_says_so_without_the_password(tmp_path: Path) -> None:
    files = "sftp://127.0.0.1/landing/*.csv"
    with serving(tmp_path) as port:
        for given, kind in (
            ({"username": USER, "password": "wr0ng", "port": port}, AuthenticationError),
            ({"username": USER, "password": PASSWORD, "port": 1}, TransientError),
            ({"username": USER, "password": PASSWORD, "port": port, "colour": "red"}, ConfigurationError),
        ):
            with pytest.raises(kind) as raised:
                FsspecFiles(given).find(files)
            assert not any(secret in str(raised.value.to_dict()) for secret in ("wr0ng", PASSWORD))
