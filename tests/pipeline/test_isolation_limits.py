"""What the kernel holds an isolated plugin to, and what is said where a host can't."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dativo_plugin_sdk import SandboxError

from dativo_assets.isolation.group import Group
from dativo_assets.isolation.settings import Isolation

from .test_isolation import is_running

JOB = """
    source: {{reader: "plugin.py:Rows", isolation: {isolation}}}
    target: {{writer: parquet, path: out}}
    retry: {{max_attempts: 1}}
    """
TRIED = """
    import ctypes, socket, subprocess

    def tried(call):
        try:
            call()
        except OSError as error:
            return error.strerror
        return "done"
    """


@pytest.fixture
def one_row(plugin: Callable[[str], None]) -> None:
    plugin("""
        class Rows(BaseReader):
            def extract(self, state_manager=None):
                yield [{"n": 1}]
        """)


@pytest.fixture
def bare_host(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host without limits is played by a resource module that knows none, and that this process does not see."""
    assert resource.RLIMIT_DATA
    bench.write("bare/resource.py", "")
    monkeypatch.syspath_prepend(str(bench.root / "bare"))


def test_a_limit_that_was_asked_for_and_that_a_host_lacks_is_an_error(
    bench: Any, one_row: None, bare_host: None
) -> None:
    bench.job(JOB.format(isolation="{open_files: 100, memory: null}"))
    error = bench.run().error
    assert isinstance(error, SandboxError)
    assert error.details["limit"] == "open_files" and "best_effort" in (error.hint or "")


def test_other_limits_that_a_host_lacks_are_told(bench: Any, one_row: None, bare_host: None) -> None:
    for isolation, lacking in (
        ("process", ["memory"]),
        ("{open_files: 100, best_effort: true}", ["open files", "memory"]),
    ):
        bench.job(JOB.format(isolation=isolation))
        notes = bench.ok().notes
        for what in lacking:
            assert f"plugin.py:Rows is isolated, but this host can't limit its {what}" in notes


def test_calls_that_no_plugin_needs_are_refused(bench: Any, plugin: Callable[[str], None]) -> None:
    plugin(
        TRIED
        + """
    libc = ctypes.CDLL(None, use_errno=True)

    def call(name, *arguments):
        if getattr(libc, name)(*arguments) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    class Rows(BaseReader):
        def extract(self, state_manager=None):
            os.setsid()
            yield [
                {
                    "traces": tried(lambda: call("ptrace", 0, 0, 0, 0)),
                    "mounts": tried(lambda: call("mount", b"none", b"/mnt", b"tmpfs", 0, None)),
                    "users": tried(lambda: call("unshare", 0x10000000)),
                    "network": tried(socket.socket),
                    "pair": tried(socket.socketpair),
                    "program": tried(lambda: subprocess.run(["true"])),
                    "group": os.getpgrp() == os.getpid(),
                }
            ]
    """
    )
    bench.job(JOB.format(isolation="{network: false, processes: false}"))
    assert [note for note in bench.ok().notes if "this host" in note] == []
    (row,) = bench.rows()
    assert row == {
        "traces": "Operation not permitted",
        "mounts": "Operation not permitted",
        "users": "Operation not permitted",
        "network": "Network is unreachable",
        "pair": "done",
        "program": "Resource temporarily unavailable",
        "group": True,
    }


def test_a_plugin_has_the_processors_that_it_was_given(bench: Any, plugin: Callable[[str], None]) -> None:
    plugin(
        TRIED
        + """
    class Rows(BaseReader):
        def extract(self, state_manager=None):
            every = range(os.cpu_count())
            yield [{"changes": tried(lambda: os.sched_setaffinity(0, every)), "cores": len(os.sched_getaffinity(0))}]
    """
    )
    bench.job(JOB.format(isolation="{cores: 1}"))
    bench.ok()
    assert bench.rows() == [{"changes": "Operation not permitted", "cores": 1}]


def test_what_a_plugin_starts_ends_with_it(bench: Any, plugin: Callable[[str], None]) -> None:
    """Even a process that would leave for a session of its own."""
    plugin("""
        class Rows(BaseReader):
            def extract(self, state_manager=None):
                ready, told = os.pipe()
                if (pid := os.fork()) == 0:
                    os.setsid()
                    os.setpgid(0, 0)
                    os.write(told, b".")
                    time.sleep(60)
                os.read(ready, 1)
                yield [{"pid": pid}]
        """)
    bench.job(JOB.format(isolation="process"))
    bench.ok()
    pid = bench.rows()[0]["pid"]
    deadline = time.monotonic() + 10
    while is_running(pid):
        assert time.monotonic() < deadline, "it lives on"
        time.sleep(0.01)


def test_a_user_who_is_no_administrator_has_so_many_tasks() -> None:
    """Those of the user's other processes don't count."""
    code = """
import os, resource, sys, threading  # before it loses sight of them
sys.path[:0] = sys.argv[1:]
from dativo_plugin_sdk.isolation.limits import apply_limits
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
assert "tasks" in apply_limits({"tasks": 10})
stop = threading.Event()
for number in range(20):
    try:
        threading.Thread(target=stop.wait).start()
    except RuntimeError:
        break
stop.set()
print(number)
"""
    import dativo_plugin_sdk

    place = str(Path(dativo_plugin_sdk.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code, place], capture_output=True, text=True, check=False)
    assert done.stdout == "9\n", done.stderr


def test_an_administrator_can_not_be_held_to_a_number_of_tasks_without_a_group(
    bench: Any, one_row: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATIVO_CGROUP", str(bench.root / "nowhere"))
    bench.job(JOB.format(isolation="{tasks: 100}"))
    error = bench.run().error
    if os.geteuid() != 0:
        assert error is None
    else:
        assert isinstance(error, SandboxError) and error.details["limit"] == "tasks"


# What the kernel puts into a folder of cgroups that is made; a machine of the tests may have no such folder to give away.
FILES = ("memory.max", "memory.swap.max", "memory.oom.group", "memory.events", "pids.max", "cpu.max", "cgroup.procs")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that takes groups as the kernel's does."""
    real_mkdir, real_rmdir = Path.mkdir, Path.rmdir

    def mkdir(folder: Path, *arguments: Any, **more: Any) -> None:
        real_mkdir(folder, *arguments, **more)
        if folder.parent == tmp_path:
            for name in (*FILES, "cgroup.kill"):
                (folder / name).touch()

    def rmdir(folder: Path) -> None:
        if folder.parent == tmp_path:
            for file in folder.iterdir():
                file.unlink()
        real_rmdir(folder)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    monkeypatch.setattr(Path, "rmdir", rmdir)
    (tmp_path / "cgroup.subtree_control").touch()
    monkeypatch.setenv("DATIVO_CGROUP", str(tmp_path))
    return tmp_path


def test_a_group_is_given_the_limits_of_its_child(place: Path) -> None:
    left = place / "dativo-999999999-0"
    left.mkdir()
    group = Group.of(Isolation(memory_bytes=100_000_000, tasks=50, cores=0.5))
    assert group is not None
    (folder,) = place.glob("dativo-*")
    assert folder.name.startswith(f"dativo-{os.getpid()}-")
    assert group.take(123) == {"memory", "tasks", "cores"}
    told = {name: (folder / name).read_text() for name in FILES}
    assert told == {
        "memory.max": "100000000",
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "memory.events": "",
        "pids.max": "50",
        "cpu.max": "50000 100000",
        "cgroup.procs": "123",
    }
    (folder / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\noom_group_kill 1\n")
    group.end()
    assert group.ran_out_of_memory
    assert list(place.glob("dativo-*")) == []


def test_a_group_without_controllers_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATIVO_CGROUP", str(tmp_path))
    group = Group.of(Isolation(memory_bytes=100_000_000, tasks=50))
    assert group is not None and group.take(os.getpid()) == set()
    group.end()
    assert list(tmp_path.iterdir()) == []


def test_a_group_that_the_kernel_made_ends_with_all_that_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if line.split()[2] == "cgroup2"]
    monkeypatch.setenv("DATIVO_CGROUP", mounts[0] if mounts else "/nowhere")
    group = Group.of(Isolation())
    if group is None:
        assert os.geteuid() != 0 or not mounts or not os.access(mounts[0], os.W_OK)
        return
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        group.take(process.pid)
        assert f"/dativo-{os.getpid()}-" in Path(f"/proc/{process.pid}/cgroup").read_text()
        group.end()
        assert process.wait(10) == -9
    assert list(Path(mounts[0]).glob(f"dativo-{os.getpid()}-*")) == []
