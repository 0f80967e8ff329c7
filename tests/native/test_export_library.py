"""The macro that exports a shared library, driven through the same toy plugin as the wheel's: no Python is in it."""

from __future__ import annotations

import ctypes
import json
import logging
import shutil
import subprocess
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import obstore
import pytest
from dativo_plugin_sdk import (
    API_VERSION,
    CancelledError,
    ConnectionError,
    DativoError,
    PluginError,
    ReadRequest,
    SourceConfig,
    Split,
    TransientError,
)
from dativo_plugin_sdk.library import LibraryReader, load_library, open_library
from dativo_plugin_sdk.library.abi import Close, FreeText, Head, Host, Log, Open, Read, size_of
from dativo_plugin_sdk.testing import ReaderConformance, run_suite
from pydantic import ValidationError

from dativo_assets.config import load_project
from dativo_assets.pipeline import run
from dativo_assets.plan import bind
from tests.native.toy import build
from tests.s3 import s3_server, store_of
from tests.web import SECRET, Web, web_server

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


JOB = """
source:
  reader: "toy.so:lines"
  files: ["s3://lake/in/*.txt"]
  connection: {connection}
  credentials: {{secret_access_key: {secret}}}
  incremental: {{strategy: file}}
target: {{writer: jsonl, path: out}}
"""


def test_a_library_reads_files_by_uri_through_its_host_and_writes_to_the_runs_log(
    library: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("dativo"), "propagate", True)
    shutil.copy(library, tmp_path / "toy.so")
    with s3_server() as connection, caplog.at_level(logging.INFO):
        store = store_of(connection)
        big = "".join(f"line {number}\n" for number in range(60_000))
        for name, text in {"in/a.txt": big, "in/b.txt": "one\n\n\ntwo\n", "in/c.md": "other\n"}.items():
            obstore.put(store, name, text.encode())
        (tmp_path / "dativo.yaml").touch()
        job = tmp_path / "jobs" / "lines.yaml"
        job.parent.mkdir()
        secret = connection.pop("secret_access_key")
        job.write_text(JOB.format(connection=json.dumps(connection), secret=secret))
        project = load_project(tmp_path)
        result = run(bind(project.jobs["lines"], project), run_id="first")
        again = run(bind(project.jobs["lines"], project), run_id="second")
        job.write_text(job.read_text().replace("in/*.txt", "in/absent.txt"))
        project = load_project(tmp_path)
        absent = run(bind(project.jobs["lines"], project), run_id="third")
    assert (result.rows_read, result.error) == (60_002, None)
    assert "all: 2 rows were left out" in result.notes
    assert again.rows_read == 0, "both files are known to the cursor"
    assert absent.error is not None and "s3://lake/in/absent.txt does not exist" in absent.error.message
    lines = [record.getMessage() for record in caplog.records if record.name == "dativo.plugin.lines"]
    assert lines == [
        f's3://lake/in/a.txt has {len(big)} bytes; key "***"',
        's3://lake/in/b.txt has 10 bytes; key "***"',
    ]


def test_what_a_store_refuses_in_a_read_is_its_own_error(library: str, tmp_path: Path) -> None:
    lines = load_library("reader", open_library(library, "toy"), "lines", "toy.so:lines")
    with web_server() as address:
        Web.files["/a.txt"] = b"line\n" * 200_000
        Web.files["/cut.txt"] = b"line\n" * 200_000
        Web.cut["/cut.txt"] = 1000
        for path, error in (("a.txt", None), ("cut.txt", TransientError), ("none.txt", ConnectionError)):
            source = SourceConfig(reader="lines", files=(f"{address}/{path}?signature={SECRET}",))
            reader = lines(source)
            try:
                plan = reader.plan(ReadRequest())
                rows = sum(batch.num_rows for split in plan.splits for batch in reader.read(split))
            except DativoError as told:
                assert error is not None and isinstance(told, error) and path in told.message
                assert SECRET not in str(told)
                continue
            assert (error, rows) == (None, 200_000)


@pytest.mark.parametrize("said", [None, b""])
def test_a_host_that_refuses_without_a_word_is_an_error_with_one(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes | None
) -> None:
    text = None if said is None else ctypes.create_string_buffer(said)

    def refuse(_: Any, storage: bytes, uri: bytes, file: Any, size: Any, answer: Any) -> int:
        answer[0] = None if text is None else ctypes.addressof(text)
        return 1

    calls = Open(refuse), Read(lambda *_: 1), Close(lambda *_: None), FreeText(lambda *_: None)
    mute = Host(API_VERSION, size_of(Host), None, Log(lambda *_: None), API_VERSION, *calls)
    monkeypatch.setattr(import_module("dativo_plugin_sdk.library.load"), "host_for", lambda *_: mute)
    own = str(shutil.copy(library, tmp_path / "toy.so"))  # the other tests' library has a host of its own
    reader = load_library("reader", open_library(own, "toy"), "lines", "toy.so:lines")
    source = reader(SourceConfig(files=("https://127.0.0.1:9/a",)))
    with pytest.raises(PluginError, match="the host told no reason"):
        list(source.whole(source.source_config).read(Split("all")))


def test_the_toy_conforms(counter: type[LibraryReader]) -> None:
    suite = type("Suite", (ReaderConformance,), {"reader": counter, "options": {"to": 35}, "expected_rows": 35})
    report = run_suite(suite, "counter")
    assert report.passed, report.to_markdown()
