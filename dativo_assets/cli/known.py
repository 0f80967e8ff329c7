"""What a run has found out about the jobs it was asked for, so that the next one of the same files need not.

    <project>/.dativo/cache/<what was asked for>.json     one selection of jobs, read, checked and bound to plugins

An entry counts while every file that it was made of is the same by its inode, size and times: dativo.yaml, all job files, the
modules that judge them, and the folders that plugins are installed into. It holds no secret, and no contract or data. What is
not as it was written is no entry; one is written whole and renamed, so that runs side by side don't meet.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from dativo_plugin_sdk import DativoError
from dativo_plugin_sdk.deferred import defers_options

from dativo_assets import __version__
from dativo_assets.config.compiled import Uncompiled, as_object, compiled, kept, restored
from dativo_assets.config.project import PROJECT_FILE, job_files
from dativo_assets.registry import PluginRef, Registry

from .context import Named, Selection

_FOLDER = Path(".dativo", "cache")
_MAX_ENTRIES = 256
# A file that changes twice within one tick of its clock keeps its time: what is younger than this is not trusted. A whole
# second tells a file system whose clock ticks in seconds.
_TICK_NS = 50_000_000
_SLOW_TICK_NS = 2_000_000_000


def recall(names: Sequence[str], root: Path) -> Selection | None:
    """The jobs of these names or paths as an earlier run has bound them; None where it has not, or a file has changed."""
    try:
        digest, _, text = _entry(names, root).read_bytes().partition(b"\n")
        if hashlib.sha256(text).hexdigest().encode() != digest:
            return None
        entry = json.loads(text, object_hook=as_object)
        made_of, _ = _made_of(root, entry["patterns"], entry["files"])
        if entry["made_of"] != made_of:
            return None
        project = restored(root, entry["config"], entry["jobs"])
        registry = Registry(root, [PluginRef(**vars(ref)) for ref in entry["plugins"]])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Selection(project, registry, tuple(Named(name, job) for name, job in project.jobs.items()))


def remember(names: Sequence[str], selection: Selection, read_at_ns: int) -> None:
    """Keep a selection for `recall`, where all of its jobs can be kept. read_at_ns: no later than it was read."""
    with suppress(OSError, Uncompiled, DativoError):
        entry = _described(selection)
        root = selection.project.root
        if not (root / PROJECT_FILE).is_file():
            return  # a folder that is no project is left as it was
        entry["made_of"], newest = _made_of(root, entry["patterns"], entry["files"])
        tick = _TICK_NS if newest % 1_000_000_000 else _SLOW_TICK_NS
        if newest + tick < read_at_ns:
            _write(_entry(names, root), json.dumps(entry).encode())


def _described(selection: Selection) -> dict[str, Any]:
    from dativo_plugin_sdk import Options

    project, registry = selection.project, selection.registry
    plugins: dict[PluginRef, None] = {}
    folders = {Path(compiled.__code__.co_filename).parent}
    files = set()
    jobs = {}
    for named in selection.jobs:
        if named.job is None:
            raise Uncompiled
        options = {}
        for side, kind in (("source", "reader"), ("target", "writer")):
            section = getattr(named.job, side)
            ref = registry.resolve(kind, getattr(section, kind))  # type: ignore[arg-type]
            if ref.module is None:
                continue  # a plugin of a file or a module is looked for each time
            plugins[ref] = None
            if section.isolation is not None:
                continue  # it is not imported here
            plugin = ref.load()
            if not (isinstance(plugin.target, type) and defers_options(plugin.target)) or "${" in str(section.options):
                continue
            options[side] = plugin.options.model_validate(section.options).model_dump(mode="json")
            own = (base for base in plugin.options.__mro__ if issubclass(base, Options))
            folders.update(Path(str(sys.modules[base.__module__].__file__)).parent for base in own)
        jobs[named.name] = compiled(named.job, options)
        files.add(str(named.job.path))
    if project.config.openlineage is not None:
        raise Uncompiled  # its client takes longer to load than all of this saves
    return {
        "patterns": list(project.config.jobs),
        "files": sorted(files.union(str(path) for folder in folders for path in folder.glob("*.py"))),
        "config": kept(project.config),
        "jobs": jobs,
        "plugins": [kept(SimpleNamespace(**vars(ref))) for ref in plugins],
    }


def _made_of(root: Path, patterns: Iterable[str], files: Iterable[str]) -> tuple[str, int]:
    """What changes with anything that an entry depends on, and the newest time in it, in ns."""
    found: list[object] = [str(root), patterns]
    newest = 0
    for path in (*sys.path, str(root / PROJECT_FILE), *map(str, job_files(root, patterns)), *files):
        try:
            info = os.stat(path)
        except OSError:
            found.append(path)
            continue
        found.append((path, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns))
        newest = max(newest, info.st_mtime_ns, info.st_ctime_ns)
    return hashlib.sha256(repr(found).encode("utf-8", "surrogateescape")).hexdigest(), newest


def _entry(names: Sequence[str], root: Path) -> Path:
    here = os.getcwd() if any(name.endswith((".yaml", ".yml")) for name in names) else ""
    asked = repr((__version__, sys.version, here, *names))
    return root / _FOLDER / f"{hashlib.sha256(asked.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.json"


def _write(path: Path, text: bytes) -> None:
    """A line with the digest of the text, and the text."""
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n")
    new = folder / f".{path.stem}-{os.urandom(4).hex()}"
    try:
        new.write_bytes(hashlib.sha256(text).hexdigest().encode() + b"\n" + text)
        os.rename(new, path)
    finally:
        new.unlink(missing_ok=True)
    entries = sorted(folder.glob("*.json"), key=lambda entry: entry.stat().st_mtime_ns)
    for entry in entries[:-_MAX_ENTRIES]:
        entry.unlink(missing_ok=True)
