"""The extension modules as they would be shipped: for every Python from 3.10 on, and for the systems that they name."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path

import pytest

PACKAGES = ["dativo_rust_contract", "dativo_rust_csv", "dativo_rust_json", "dativo_rust_parquet"]
MANYLINUX = "manylinux_2_34"
"""The oldest systems that a build on this machine may ask for: glibc of 2021."""


@pytest.mark.parametrize("package", PACKAGES)
def test_a_wheel_is_abi3_and_asks_for_no_newer_system_than_it_may(package: str, tmp_path: Path) -> None:
    metadata = distribution(package).read_text("WHEEL") or ""
    machine = platform.machine()
    assert f"Tag: cp310-abi3-linux_{machine}" in metadata.splitlines()
    spec = find_spec(f"{package}._native")
    assert spec is not None and spec.origin is not None and spec.origin.endswith("_native.abi3.so")

    wheel = tmp_path / f"{package}-0.1.0-cp310-abi3-linux_{machine}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(spec.origin, f"{package}/_native.abi3.so")
        archive.writestr(f"{package}-0.1.0.dist-info/WHEEL", metadata)
        archive.writestr(f"{package}-0.1.0.dist-info/METADATA", f"Name: {package}\nVersion: 0.1.0\n")
        archive.writestr(f"{package}-0.1.0.dist-info/RECORD", f"{package}/_native.abi3.so,,\n")
    command = [sys.executable, "-m", "auditwheel", "show", "--json", str(wheel)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["pure"] is False
    assert _version(found["overall_tag"]) <= _version(MANYLINUX), found


def _version(tag: str) -> tuple[int, ...]:
    """Of the C library that a tag stands for."""
    return tuple(int(part) for part in tag.split("_")[1:3])
