"""What this host can hold an isolated plugin to."""

from __future__ import annotations

import json
import subprocess
import sys

from .group import Group
from .settings import Isolation

_PROBE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from dativo_plugin_sdk.isolation.limits import apply_limits; "
    "print(json.dumps(apply_limits(json.loads(sys.stdin.readline()))))"
)
_LIMIT_S = 20.0


def held(settings: Isolation) -> frozenset[str]:
    """The names of the limits, found out by a process that sets them for itself. Raises: OSError. subprocess.SubprocessError."""
    argv = [sys.executable, "-I", "-c", _PROBE, json.dumps(sys.path)]
    limits = settings.limits()
    if settings.files is not None:
        limits["files"] = {"read": ["/"], "write": []}
    group = Group.of(settings)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            found = set() if group is None else group.take(process.pid)
            limits.update(dict.fromkeys(found - {"memory"}))
            told, _ = process.communicate(json.dumps(limits) + "\n", _LIMIT_S)
        finally:
            process.kill()
            if group is not None:
                group.end()
    return frozenset(found.union(json.loads(told)))
