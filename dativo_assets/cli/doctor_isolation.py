"""What `dativo doctor` says of plugins in processes of their own."""

from __future__ import annotations

from pathlib import Path

from dativo_assets.isolation.host import held
from dativo_assets.isolation.settings import ALWAYS, LIMITS, Files, Isolation

from .context import Selection
from .findings import Finding

_GROUP = "give runs a cgroup: DATIVO_CGROUP, or Delegate=yes and DelegateSubgroup= in their systemd unit"
_FILTERS = "it takes Linux with seccomp, on x86_64 or aarch64"
_HINTS = {
    "tasks": f"run as a user who is not root, or {_GROUP}",
    "cores": f"take a whole number, or {_GROUP}",
    "network": _FILTERS,
    "processes": _FILTERS,
    "files": "it takes Linux 5.19 with Landlock",
}
# Each limit once, so wide that a process can do nothing wrong with it.
_EACH = Isolation(
    memory_bytes=2_000_000_000,
    cpu_s=60,
    open_files=256,
    file_bytes=2_000_000_000,
    tasks=100,
    cores=1.0,
    files=Files(Path("/")),
    network=False,
    processes=False,
)


def isolation(selection: Selection) -> list[Finding]:
    """What the kernel holds plugins to here, and the jobs that ask for what it doesn't."""
    here = held(_EACH)
    words = {**LIMITS, **ALWAYS}
    found = [Finding("isolation", "plugins", "ok", f"held to {', '.join(words[key] for key in words if key in here)}")]
    if lacking := [words[key] for key in words if key not in here]:
        found.append(Finding("isolation", "plugins", "ok", f"not held to {', '.join(lacking)}, on this host"))
    seen: dict[tuple[object, ...], frozenset[str]] = {}
    for named in selection.jobs:
        for side in ("source", "target") if named.job is not None else ():
            settings = Isolation.of(getattr(named.job, side), selection.project.root, None)
            if settings is None:
                continue
            key = (*settings.limits().values(), settings.files is None)
            seen[key] = seen.get(key) or held(settings)
            for limit in sorted(settings.asked - seen[key]):
                needed = limit in settings.required
                message = (
                    f"the {side}'s `isolation.{limit}` is not held on this host{': it will not run' if needed else ''}"
                )
                hint = _HINTS.get(limit, "it takes Linux")
                found.append(Finding("isolation", named.name, "error" if needed else "warning", message, hint))
    return found
