"""The lakes that the tests of their writers run against."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.s3 import s3_server

from .lake import KINDS, Target, rest_server


@pytest.fixture(scope="session")
def bucket() -> Iterator[dict[str, str]]:
    with s3_server() as found:
        yield found


@pytest.fixture(scope="session")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with rest_server(tmp_path_factory.mktemp("rest")) as found:
        yield found


@pytest.fixture(params=KINDS)
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    fixture = {"delta_s3": "bucket", "iceberg_rest": "rest"}.get(request.param)
    return Target(request.param, tmp_path, request.getfixturevalue(fixture) if fixture else {})


@pytest.fixture(params=["iceberg", "delta"])
def local(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    return Target(request.param, tmp_path, {})
