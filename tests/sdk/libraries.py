"""Libraries in C for tests, compiled with the header of the SDK."""

from __future__ import annotations

import subprocess
from pathlib import Path

from dativo_plugin_sdk.library import header_folder


def compiled(source: Path, target: Path, *more: str) -> Path:
    """The program or library that a source makes; a warning is an error. more: options of the compiler."""
    command = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{header_folder()}", *more, "-o"]
    done = subprocess.run([*command, str(target), str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target
