"""What jobs read, as explicit external assets: several jobs that read the same files share one."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

import dagster as dg

from dativo_assets.config import JobConfig
from dativo_assets.config.masking import mask_line

from .translate import plugin_kinds

GROUP = "sources"
_WILDCARDS_ALONE = re.compile(r"[*?]+(\.\w+)*")
_REFERENCE = re.compile(r"\$\{(\w+)(?::-[^}]*)?\}")
_USER = re.compile(r"://[^/@]*@")


def source_assets(
    jobs: Iterable[JobConfig], derived: frozenset[str]
) -> tuple[dict[str, list[dg.AssetKey]], list[dg.AssetSpec]]:
    """The sources of each job, and a spec for each source.

    derived: names of jobs that read upstream tables alone, and so have no source of their own.
    Returns: {job: keys}, specs sorted by key.
    """
    wanted: dict[tuple[str, ...], dict[str, list[JobConfig]]] = defaultdict(lambda: defaultdict(list))
    for job in jobs:
        for path, what in _sources(job) if job.name not in derived else ():
            wanted[path][what].append(job)
    keys: dict[str, list[dg.AssetKey]] = defaultdict(list)
    specs = []
    for path, by_what in sorted(wanted.items()):
        for what, readers in by_what.items():
            # Two sources that read alike once their wildcards are gone are told apart.
            full = path if len(by_what) == 1 else (*path[:-1], f"{path[-1]}_{_digest(what)}")
            key = dg.AssetKey(list(full))
            specs.append(_spec(key, what, readers))
            for name in dict.fromkeys(job.name for job in readers):
                keys[name].append(key)
    return keys, specs


def _sources(job: JobConfig) -> Iterable[tuple[tuple[str, ...], str]]:
    """(key, identity) of each thing that a job names under `source`."""
    source = job.source
    kind = plugin_kinds(source.reader)[0]
    for pattern in source.files:
        path = _path(_plain(pattern))
        yield ("source", kind, *_segments(path)), f"files {'/'.join(path)}"
    where = _plain(source.connection) if isinstance(source.connection, str) else None
    prefix = ("source", kind) if where is None else ("source", kind, where)
    for table in source.tables:
        yield (*prefix, *_plain(table).split(".")), f"table {_plain(table)}{f' of {where}' if where else ''}"
    for name in source.objects:
        yield (*prefix, _plain(name)), f"{_plain(name)}{f' of {where}' if where else ''}"
    if not (source.files or source.tables or source.objects):
        yield (*prefix, job.name), f"what {source.reader.rpartition(':')[2]} reads for {job.name}"


def _plain(text: str) -> str:
    return mask_line(_USER.sub("://", _REFERENCE.sub(lambda match: match[1], text)))


def _path(pattern: str) -> list[str]:
    """`data/flights/*.csv.gz` as [data, flights]: wildcards alone stand for their folder."""
    parts = [part for part in re.split(r"/+", pattern.replace("://", "/")) if part not in ("", ".")]
    while len(parts) > 1 and _WILDCARDS_ALONE.fullmatch(parts[-1]):
        parts.pop()
    return parts or ["all"]


def _segments(path: list[str]) -> list[str]:
    return [re.sub(r"[*?\[\]]+", "_", part) for part in path]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def _spec(key: dg.AssetKey, what: str, readers: list[JobConfig]) -> dg.AssetSpec:
    names = ", ".join(sorted({job.name for job in readers})[:5])
    more = f" and {len(readers) - 5} more" if len(readers) > 5 else ""
    metadata: Mapping[str, str] = {"source": what}
    return dg.AssetSpec(
        key=key,
        group_name=GROUP,
        description=f"{what[:1].upper()}{what[1:]}, read by {names}{more}.",
        kinds={plugin_kinds(readers[0].source.reader)[0]},
        metadata=metadata,
    )
