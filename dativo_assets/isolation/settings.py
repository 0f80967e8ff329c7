"""What an isolated plugin may have."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dativo_plugin_sdk import ConfigurationError
from dativo_plugin_sdk.remote import is_remote

from dativo_assets.config.entries import plain
from dativo_assets.config.secrets import resolve

_GLOB = frozenset("*?[")
# Where libraries, certificates, the processor's description and the like are.
_OF_THE_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc", "/proc", "/sys", "/dev")
_DEFAULT_MEMORY_BYTES = 2_000_000_000
# What the kernel holds a plugin to: as in a job, then what no job names.
LIMITS: Mapping[str, str] = {
    "memory": "memory",
    "cpu": "processor time",
    "open_files": "open files",
    "file_size": "size of files",
    "tasks": "processes and threads",
    "cores": "processors",
    "network": "network access",
    "processes": "start of processes",
    "files": "files",
}
ALWAYS: Mapping[str, str] = {
    "rights": "rights of an administrator",
    "calls": "calls of the kernel",
    "sight": "sight of other processes",
    "signals": "signals to other processes",
}


@dataclass(frozen=True)
class Files:
    """Absolute paths. read: what a job's source names. write: what is granted besides. target: the folder that a table is in."""

    root: Path
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    target: str | None = None

    @classmethod
    def of(cls, section: Any, root: Path) -> Files:
        """Those of a source or target, variables taken from this process's environment."""
        named = [_resolved(path) for path in plain(getattr(section, "files", ()))]
        read = tuple(_below_which(root, path) for path in named if not is_remote(path))
        path = _resolved(getattr(section, "path", None) or "")
        # What is written is staged beside it.
        target = str((root / path).parent.resolve()) if path and not is_remote(path) else None
        return cls(root, read, tuple(str(root / path) for path in section.isolation.files), target)

    def with_python(self, places: Sequence[str], plugin: Path | None, scratch: str) -> dict[str, list[str]]:
        """With what Python, its libraries and the plugin's own file need. places: of modules and of the interpreter. scratch: a
        folder for temporary files.

        A folder that holds the project is none of it, though Python may look for modules there.
        """
        libraries = [path for path in places if path and not self.root.is_relative_to(Path(path).resolve())]
        own = [] if plugin is None else [str(plugin)]
        target = [] if self.target is None else [self.target]
        for folder in target:
            os.makedirs(folder, exist_ok=True)  # only what is there can be granted
        return {
            "read": [*_OF_THE_SYSTEM, *libraries, *own, *self.read],
            "write": [scratch, "/dev/null", *target, *self.write],
        }


def _resolved(text: str) -> str:
    try:
        return str(resolve(text, os.environ))
    except ConfigurationError:
        return text  # the run tells which variable is not set


def _below_which(root: Path, pattern: str) -> str:
    """The file, or the folder that all that a pattern finds is in."""
    parts = Path(pattern.removeprefix("file://")).parts
    fixed = list(itertools.takewhile(lambda part: not _GLOB & set(part), parts))
    return str((root / Path(*fixed)).resolve())


@dataclass(frozen=True)
class Isolation:
    """memory_bytes: private memory of its process. cpu_s: processor time of all its threads. time_s: how long the process may
    live. call_s: the longest wait for one answer or batch. file_bytes: of any one file. tasks: processes and threads at once.
    cores: processors at once. processes: whether it may start any. env: variables of the run's environment that it sees.
    environment: the folder whose lock file its virtual environment is made of; None: this one. None otherwise: no limit.
    required: the limits without which it must not run.
    """

    memory_bytes: int | None = None
    cpu_s: float | None = None
    time_s: float | None = None
    call_s: float | None = None
    open_files: int | None = None
    file_bytes: int | None = None
    tasks: int | None = None
    cores: float | None = None
    files: Files | None = None
    network: bool = True
    processes: bool = True
    required: frozenset[str] = frozenset()
    env: tuple[str, ...] = ()
    environment: Path | None = None
    root: Path = Path()

    @classmethod
    def of(cls, section: Any, root: Path, call_s: float | None) -> Isolation | None:
        """As `isolation` of a job's source or target says; None for a plugin in this process."""
        given = section.isolation
        if given is None or given.mode == "none":
            return None
        memory_bytes = _DEFAULT_MEMORY_BYTES if given.memory_bytes is None else given.memory_bytes
        found = cls(
            memory_bytes=memory_bytes or None,
            cpu_s=given.cpu_s,
            time_s=given.time_s,
            call_s=call_s,
            open_files=given.open_files,
            file_bytes=given.file_bytes or None,
            tasks=given.tasks,
            cores=given.cores,
            files=None if given.files is None else Files.of(section, root),
            network=given.network,
            processes=given.processes,
            env=given.env,
            environment=root / given.environment if given.mode == "env" else None,
            root=root,
        )
        asked = found.asked - ({"memory"} if given.memory_bytes is None else set())
        return replace(found, required=frozenset() if given.best_effort else asked)

    def limits(self) -> dict[str, Any]:
        """Those that the kernel holds it to, but for files: by the names that they have in a job."""
        return {
            "memory": self.memory_bytes,
            "cpu": self.cpu_s,
            "open_files": self.open_files,
            "file_size": self.file_bytes,
            "tasks": self.tasks,
            "cores": self.cores,
            "network": None if self.network else False,
            "processes": None if self.processes else False,
        }

    @property
    def asked(self) -> frozenset[str]:
        """The names of the limits that the kernel is to hold it to."""
        files = {"files"} if self.files is not None else set()
        return frozenset({key for key, value in self.limits().items() if value is not None} | files)
