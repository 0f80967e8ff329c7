"""A reader in a process of its own: the same rows and errors, and whatever its plugin does is an error that names it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from dativo_plugin_sdk import ConfigurationError, DativoError, PluginError, SandboxError

from dativo_assets.config import load_project
from dativo_assets.pipeline import CancelToken, RunSettings
from dativo_assets.plan import bind

JOB = """
    source: {{reader: "plugin.py:Rows", isolation: {isolation}}}
    target: {{writer: parquet, path: out}}
    retry: {{max_attempts: 1}}
    timeout: {timeout}
    """


def children() -> set[int]:
    """The processes that this one has started and that still run."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has ended meanwhile
            found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


def is_running(pid: object) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


@pytest.fixture
def nothing_stays() -> Any:
    before = children()
    yield
    deadline = time.monotonic() + 10
    while children() - before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not children() - before


@pytest.fixture
def fails(bench: Any, plugin: Callable[[str], None], nothing_stays: None) -> Callable[..., DativoError]:
    """Run a reader that does something after its first batch; how the run fails."""

    def run(does: str, isolation: str = "process", timeout: str = "60s") -> DativoError:
        plugin(f"""
            class Rows(BaseReader):
                def extract(self, state_manager=None):
                    yield [{{"n": 1}}]
                    {does}
            """)
        bench.job(JOB.format(isolation=isolation, timeout=timeout))
        result = bench.run()
        assert result.error is not None
        assert bench.rows() == []
        assert result.error.details["plugin"] == "plugin.py:Rows"
        return result.error

    return run


@pytest.mark.parametrize(
    ("does", "ending"),
    [
        ("import ctypes; ctypes.string_at(0)", "killed its process (SIGSEGV)"),
        ("os._exit(3)", "ended its process (status 3)"),
        ("os.fork() or time.sleep(60); os._exit(4)", "ended its process (status 4)"),
        ("os.kill(os.getpid(), 9)", "was killed (SIGKILL)"),
        ("os.closerange(3, 256); time.sleep(60)", "left its process without an end"),
    ],
)
def test_a_plugin_that_dies_is_named(fails: Callable[..., DativoError], does: str, ending: str) -> None:
    error = fails(does)
    assert isinstance(error, PluginError) and error.error_code == "PLUGIN_DIED"
    assert ending in error.message
    assert error.details["stage"] == "read" and error.hint


def test_the_last_words_of_a_plugin_are_told(fails: Callable[..., DativoError]) -> None:
    error = fails("print('the end is near'); os.abort()")
    assert "killed its process (SIGABRT)" in error.message
    assert error.hint is not None and "the end is near" in error.hint


@pytest.mark.parametrize(
    ("does", "isolation", "limit"),
    [
        ("rows = [bytearray(1 << 20) for _ in range(1000)]", "{memory: 400MB}", "memory"),
        ("files = [open(os.devnull) for _ in range(100)]", "{open_files: 40}", "open_files"),
        ("while True: pass", "{cpu: 1s}", "cpu"),
        ("time.sleep(60)", "{time: 2s}", "time"),
        ("open(self.source_config.root + '/large', 'wb').write(bytes(2000000))", "{file_size: 1MB}", "file_size"),
        ("import subprocess; subprocess.run(['true'])", "{processes: false}", "processes"),
    ],
)
def test_a_limit_that_is_met_is_named(fails: Callable[..., DativoError], does: str, isolation: str, limit: str) -> None:
    error = fails(does, isolation)
    assert isinstance(error, SandboxError)
    assert error.details["limit"] == limit
    assert error.hint is not None and f"isolation.{limit}" in error.hint


def test_a_plugin_that_hangs_is_killed_even_where_no_thread_of_it_gets_to_run(
    fails: Callable[..., DativoError],
) -> None:
    error = fails("import re; re.match('(a+)+$', 'a' * 60 + 'b')", timeout="2s")
    assert error.error_code == "PLUGIN_TIMEOUT"


@pytest.mark.parametrize(
    "raised", ["ValueError('no luck')", "RateLimitError('slow', retryable=False, hint='wait')", "SystemExit(3)"]
)
def test_what_a_plugin_raises_comes_as_it_would_without_isolation(
    fails: Callable[..., DativoError], raised: str
) -> None:
    found = [fails(f"raise {raised}", mode).to_dict() for mode in ("none", "process")]
    assert found[0] == found[1]


def test_a_plugin_whose_import_dies_harms_nobody(
    bench: Any, plugin: Callable[[str], None], nothing_stays: None
) -> None:
    plugin("os._exit(7)")
    bench.job(JOB.format(isolation="process", timeout="60s"))
    error = bench.run().error
    assert error.error_code == "PLUGIN_DIED" and "status 7" in error.message


def test_a_library_that_aborts_when_it_is_loaded_harms_nobody(bench: Any, nothing_stays: None) -> None:
    source = bench.write(
        "crash.c", "#include <stdlib.h>\n__attribute__((constructor)) static void f(void) { abort(); }\n"
    )
    subprocess.run(["cc", "-shared", "-fPIC", "-o", bench.root / "crash.so", source], check=True)
    bench.job(JOB.replace("plugin.py:Rows", "crash.so:nothing").format(isolation="process", timeout="60s"))
    error = bench.run().error
    assert error.error_code == "PLUGIN_DIED" and "SIGABRT" in error.message
    assert error.details["plugin"] == "crash.so:nothing"


def test_cancelling_kills_a_plugin_that_does_not_listen(
    bench: Any, plugin: Callable[[str], None], nothing_stays: None, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    plugin(f"""
        class Rows(BaseReader):
            def extract(self, state_manager=None):
                yield [{{"n": 1}}]
                open({str(begun)!r}, "w").close()
                time.sleep(60)
        """)
    bench.job(JOB.format(isolation="process", timeout="60s"))
    token = CancelToken()

    def cancel() -> None:
        while not begun.exists():
            time.sleep(0.01)
        token.cancel()

    threading.Thread(target=cancel, daemon=True).start()
    assert bench.run(settings=RunSettings(workers=1, cancel=token)).status == "cancelled"


def test_a_plugin_sees_what_the_job_grants(
    bench: Any, plugin: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, nothing_stays: None
) -> None:
    monkeypatch.setenv("GRANTED", "yes")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    plugin("""
        class Rows(BaseReader):
            def extract(self, state_manager=None):
                yield [{"name": name} for name in sorted(os.environ)]
        """)
    bench.job(JOB.format(isolation="{env: [GRANTED]}", timeout="60s"))
    bench.ok()
    names = {row["name"] for row in bench.rows()}
    assert "GRANTED" in names and "PATH" in names
    assert names <= {
        "GRANTED",
        "PATH",
        "HOME",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "TZ",
        "TMPDIR",
        "OPENBLAS_NUM_THREADS",
    } | {
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    }


def test_a_secret_that_a_plugin_prints_is_masked(
    bench: Any, plugin: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOKEN", "hush-hush")
    plugin("""
        class Rows(BaseReader):
            def extract(self, state_manager=None):
                print("token", self.source_config.credentials["key"])
                os.write(2, b"by the way, hush-hush\\n")
                raise ValueError("hush-hush")
        """)
    bench.job("""
        source: {reader: "plugin.py:Rows", isolation: process, credentials: {key: "${TOKEN}"}}
        target: {writer: parquet, path: out}
        retry: {max_attempts: 1}
        """)
    error = bench.run().error
    told = capfd.readouterr()
    assert "hush" not in told.out + told.err + str(error.to_dict())
    assert "token ***" in told.err and "by the way, ***" in told.err


def test_without_a_network_no_server_is_reached(fails: Callable[..., DativoError]) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        error = fails(
            f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}))", "{network: false}"
        )
    assert "unreachable" in error.message


@pytest.mark.parametrize(
    "does",
    [
        "open(f'/proc/{os.getppid()}/environ', 'rb').read()",
        "open(f'/proc/{os.getppid()}/mem', 'rb').read(1)",
        "os.kill(os.getppid(), 9)",
    ],
)
def test_the_run_itself_is_out_of_reach(fails: Callable[..., DativoError], does: str) -> None:
    assert fails(does).error_code == "PERMISSION_DENIED"


def test_files_are_those_that_the_job_names(bench: Any, plugin: Callable[[str], None], nothing_stays: None) -> None:
    bench.write("secret.txt", "hush")
    bench.write("granted/extra.txt", "extra")
    bench.write("data/a.txt", "named")
    plugin("""
        import tempfile

        def tried(path, mode="r"):
            try:
                with open(path, mode) as file:
                    return file.read() if mode == "r" else "written"
            except OSError as error:
                return type(error).__name__

        class Rows(BaseReader):
            def extract(self, state_manager=None):
                root = self.source_config.root
                yield [
                    {
                        "named": tried(f"{root}/data/a.txt"),
                        "named_write": tried(f"{root}/data/a.txt", "w"),
                        "granted": tried(f"{root}/granted/extra.txt"),
                        "granted_write": tried(f"{root}/granted/new.txt", "w"),
                        "temporary": tried(f"{tempfile.gettempdir()}/x", "w"),
                        "secret": tried(f"{root}/secret.txt"),
                        "job": tried(f"{root}/dativo.yaml", "w"),
                        "home": tried(os.path.expanduser("~/.isolation-test"), "w"),
                    }
                ]
        """)
    bench.job("""
        source: {reader: "plugin.py:Rows", files: "data/*.txt", isolation: {files: [granted]}}
        target: {writer: parquet, path: out}
        """)
    bench.ok()
    (row,) = bench.rows()
    assert row == {
        "named": "named",
        "named_write": "PermissionError",
        "granted": "extra",
        "granted_write": "written",
        "temporary": "written",
        "secret": "PermissionError",
        "job": "PermissionError",
        "home": "PermissionError",
    }


@pytest.mark.parametrize("reader", ["csv", "rust_csv"])
def test_readers_and_writers_that_are_built_in_need_no_more_than_the_job_names(bench: Any, reader: str) -> None:
    bench.write("data/a.csv", "n\n1\n2\n")
    writer = {"csv": "parquet", "rust_csv": "rust_parquet"}[reader]
    bench.job(f"""
        source: {{reader: {reader}, files: data/*.csv, isolation: {{files: [], network: false}}}}
        target: {{writer: {writer}, path: warehouse/out, mode: overwrite, isolation: {{files: [], network: false}}}}
        """)
    for _ in range(2):
        bench.ok()
    assert sorted(row["n"] for row in bench.rows("warehouse/out")) == [1, 2]


def test_a_child_dies_with_its_run_however_that_ends(bench: Any, plugin: Callable[[str], None], tmp_path: Path) -> None:
    """Even where it holds Python's lock, and its run is killed; what it has started dies too."""
    begun = tmp_path / "begun"
    plugin(f"""
        import re

        class Rows(BaseReader):
            def extract(self, state_manager=None):
                yield [{{"n": 1}}]
                if (other := os.fork()) == 0:
                    os.setsid()
                    time.sleep(60)
                with open({str(begun)!r} + "-", "w") as file:
                    file.write(f"{{os.getpid()}} {{other}}")
                os.rename({str(begun)!r} + "-", {str(begun)!r})
                re.match("(a+)+$", "a" * 60 + "b")
        """)
    bench.job(JOB.format(isolation="process", timeout="60s"))
    dativo = Path(sys.executable).with_name("dativo")
    with subprocess.Popen([dativo, "run", "job"], cwd=bench.root, stderr=subprocess.DEVNULL) as run:
        while not begun.exists():
            assert run.poll() is None
            time.sleep(0.01)
        run.kill()
    deadline = time.monotonic() + 10
    for pid in begun.read_text().split():
        while is_running(pid):
            assert time.monotonic() < deadline, "the child lives on"
            time.sleep(0.02)


def test_options_are_checked_where_the_plugin_is(bench: Any, plugin: Callable[[str], None]) -> None:
    plugin("""
        class Rows(BaseReader):
            class Options(Options):
                size: int = 1
        """)
    bench.job("""
        source:
          reader: "plugin.py:Rows"
          isolation: process
          options:
            size: many
        target: {writer: parquet, path: out}
        """)
    error = bench.run().error
    assert isinstance(error, ConfigurationError)
    assert (error.details["line"], error.details["source_line"].strip()) == (6, "size: many")
    assert "size" in error.message and "many" not in error.message


@pytest.mark.parametrize("reader", ["csv", "rust_csv"])
def test_rows_and_notes_are_the_same(bench: Any, reader: str, nothing_stays: None) -> None:
    lines = "".join(f"{n};name {n % 7};2024-01-0{n % 9 + 1}\n" for n in range(5000))
    bench.write("data/a.csv", "n;name;day\n" + lines)
    bench.write("data/b.csv", "n;name;day\n7;seven;2024-02-03\n")
    found = []
    for mode in ("none", "process"):
        bench.job(
            f"""
            source: {{reader: {reader}, files: data/*.csv, isolation: {mode}}}
            target: {{writer: parquet, path: {mode}}}
            schema: [{{name: n, type: int32}}, {{name: name, type: string}}, {{name: day, type: date}}]
            """,
            mode,
        )
        result = bench.ok(mode)
        rows = sorted(bench.rows(mode), key=str)
        found.append((rows, result.notes, result.commit.schema_text, result.commit.plugins))
        peaks = [stage["peak_rss_bytes"] for stage in result.to_dict()["stages"].values()]
        assert [peak > 10_000_000 for peak in peaks] == [
            mode == "process" and stage == "read" for stage in result.stages
        ]
    assert len(found[0][0]) == 5001
    assert found[0] == found[1]


def test_types_that_change_on_the_way_widen_as_without_isolation(bench: Any, plugin: Callable[[str], None]) -> None:
    plugin("""
        class Rows(BaseReader):
            def plan(self, request):
                self.request = request
                return ReadPlan(tuple(Split(str(n)) for n in range(3)), cursor={"n": 3})

            def read(self, split):
                yield [{"n": 1, "late": None}, {"n": 2}]
                yield [{"n": 2.5 if split.id == "1" else 3, "late": split.id}]
        """)
    bench.job(JOB.format(isolation="process", timeout="60s"))
    result = bench.ok()
    assert result.commit.schema_text == {"n": "float64", "late": "string"}
    assert sorted(row["n"] for row in bench.rows()) == [1, 1, 1, 2, 2, 2, 2.5, 3, 3]
    assert result.commit.cursor == {"n": 3}


def test_a_plugin_that_speaks_no_frames_is_an_error(fails: Callable[..., DativoError]) -> None:
    error = fails(
        "import stat; [os.write(n, b'garbage!' * 8) for n in range(3, 64) "
        "if os.path.exists(f'/proc/self/fd/{n}') and stat.S_ISSOCK(os.fstat(n).st_mode)]; time.sleep(60)"
    )
    assert isinstance(error, PluginError)
    assert "no frame" in error.message


def test_a_batch_that_lies_about_its_buffers_is_refused(fails: Callable[..., DativoError]) -> None:
    error = fails(
        """
                    import pyarrow as pa
                    offsets = pa.array([0, 1 << 30, 3], pa.int32()).buffers()[1]
                    lie = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"abc")])
                    yield pa.record_batch([pa.array([1, 2]), lie], names=["n", "text"])
        """.strip()
    )
    assert isinstance(error, PluginError)
    assert "not what its schema says" in error.message or "appeared late" in error.message


def test_a_bound_job_survives_pickling_without_its_child(bench: Any) -> None:
    import pickle

    bench.write("data/a.csv", "n\n1\n")
    bench.job("""
        source: {reader: csv, files: data/*.csv, isolation: process}
        target: {writer: parquet, path: out}
        """)
    project = load_project(bench.root)
    ref = bind(project.jobs["job"], project).reader
    assert ref.load().version
    again = pickle.loads(pickle.dumps(ref))
    assert again == ref
    reader = again.load().factory(bind(project.jobs["job"], project).source_config(os.environ))
    assert reader.check_connection().success
    assert [item["name"] for item in reader.discover().objects] == ["data/a.csv"]
    assert reader.probe(None)
    reader.close()
