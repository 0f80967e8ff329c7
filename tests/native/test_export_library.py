"""The macro that exports a shared library, driven through the same toy plugin as the wheel's: no Python is in it."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from dativo_plugin_sdk import API_VERSION, CancelledError, PluginError, ReadRequest, SourceConfig
from dativo_plugin_sdk.library import LibraryReader, load_library, open_library
from dativo_plugin_sdk.library.abi import Head, Host, Log, size_of
from dativo_plugin_sdk.testing import ReaderConformance, run_suite
from pydantic import ValidationError

from tests.native.toy import build

# The first test may have to build the toy.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build("library", tmp_path_factory.mktemp("toy") / "toy.so"))


@pytest.fixture(scope="session")
def counter(library: str) -> type[LibraryReader]:
    found: type[LibraryReader] = load_library("reader", open_library(library, "toy"), "counter", "toy.so:counter")
    return found


def made(counter: type[LibraryReader], **options: Any) -> LibraryReader:
    return counter(SourceConfig(reader="counter", options=options))


def numbers(reader: LibraryReader) -> list[int]:
    plan = reader.plan(ReadRequest())
    return [n for split in plan.splits for batch in reader.read(split) for n in batch[0].to_pylist()]


def test_the_toy_counts(counter: type[LibraryReader]) -> None:
    reader = made(counter, to=25)
    assert numbers(reader) == list(range(25))
    assert reader.check_connection().success
    assert reader.discover().objects == [{"name": "numbers"}]
    assert counter.__version__ == "0.1.0"


@pytest.mark.parametrize(("oldest", "newest"), [(1, 1), (1, 5), (3, 5)])
def test_a_table_is_of_a_version_that_both_have_or_tells_the_newest_of_its_own(
    library: str, tmp_path: Path, oldest: int, newest: int
) -> None:
    own = ctypes.CDLL(str(shutil.copy(library, tmp_path / "toy.so")))  # a process's first host is that of a library
    own.counter.restype, own.counter.argtypes = ctypes.c_void_p, [ctypes.POINTER(Host)]
    host = Host(newest, size_of(Host), None, Log(), oldest)
    assert Head.from_address(own.counter(host)).api_version == API_VERSION


def test_the_library_needs_no_python(library: str) -> None:
    undefined = subprocess.run(["nm", "--undefined-only", "-D", library], capture_output=True, text=True, check=True)
    assert undefined.stdout
    assert not [line for line in undefined.stdout.splitlines() if " Py" in line or " _Py" in line]


def test_a_panic_in_a_stream_is_an_error_that_names_the_plugin(counter: type[LibraryReader]) -> None:
    with pytest.raises(PluginError, match="plugin counter panicked: lost count at 10") as caught:
        numbers(made(counter, to=25, panic_at=12))
    assert caught.value.error_code == "PLUGIN_PANIC"
    assert numbers(made(counter, to=5)) == list(range(5))


def test_cancel_from_another_thread_stops_a_stream(counter: type[LibraryReader]) -> None:
    reader = made(counter, to=10, pause_ms=50)
    stream = reader.read(reader.plan(ReadRequest()).splits[0])
    next(stream)
    thread = threading.Thread(target=reader.cancel)
    thread.start()
    thread.join()
    with pytest.raises(CancelledError):
        next(stream)


def test_python_runs_while_a_library_works(counter: type[LibraryReader]) -> None:
    reader = made(counter, to=3, pause_ms=500)
    split = reader.plan(ReadRequest()).splits[0]
    thread = threading.Thread(target=lambda: list(reader.read(split)))
    thread.start()
    turns = 0
    while thread.is_alive():
        time.sleep(0.01)
        turns += 1
    assert turns > 20


def test_options_are_held_to_the_schema_that_the_plugin_gives(counter: type[LibraryReader]) -> None:
    with pytest.raises(ValidationError, match="to_what"):
        made(counter, to_what=3)
    with pytest.raises(Exception, match="must be a number"):
        made(counter)


def test_the_toy_conforms(counter: type[LibraryReader]) -> None:
    suite = type("Suite", (ReaderConformance,), {"reader": counter, "options": {"to": 35}, "expected_rows": 35})
    report = run_suite(suite, "counter")
    assert report.passed, report.to_markdown()
