"""The command, run as a person runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .forked import dativo

DATIVO = Path(sys.executable).with_name("dativo")


@dataclass(frozen=True)
class Said:
    """What one call printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Shell:
    """A project's folder and the command in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("dativo.yaml", "jobs: jobs/*.yaml\n")

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
        return path

    def command(self, *arguments: str) -> list[str]:
        return [str(DATIVO), *arguments]

    def environment(self, **more: str) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if key not in ("DATIVO_PROJECT", "DAGSTER_HOME")}
        return {**kept, **more}

    def __call__(self, *arguments: str, **environment: str) -> Said:
        """A process of the command; only what Python reads as it starts makes it another than a fork."""
        if any(name.startswith("PYTHON") for name in environment):
            return self.started(*arguments, **environment)
        code, out, err = dativo(arguments, self.root, self.environment(**environment))
        assert "Traceback" not in err, err
        return Said(code, out, err)

    def started(self, *arguments: str, **environment: str) -> Said:
        """The installed command, from its first import on."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.root,
            env=self.environment(**environment),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Said(done.returncode, done.stdout, done.stderr)

    def files(self, folder: str) -> list[str]:
        root = (self.root / folder).resolve()
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)
