"""What jobs read that is no job's table: several jobs that read the same files share one source."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from dativo_assets.artefacts import LIBRARIES
from dativo_assets.config import JobConfig, plain
from dativo_assets.config.masking import mask_line

_WILDCARDS_ALONE = re.compile(r"[*?]+(\.\w+)*")
_REFERENCE = re.compile(r"\$\{(\w+)(?::-[^}]*)?\}")
_USER = re.compile(r"://[^/@]*@")
_KIND_OF = {"jsonl": "json", "delta": "deltalake", "postgresql": "postgres"}


@dataclass(frozen=True)
class Source:
    """path: its name in parts, such as `source`, `csv`, `data`, `flights`. what: the same for a person. readers: jobs.

    table: the table, object or path as the job writes it, by which a plugin's column lineage names it.
    """

    path: tuple[str, ...]
    what: str
    readers: tuple[JobConfig, ...]
    table: str

    @property
    def name(self) -> str:
        return "/".join(self.path)


def project_sources(jobs: Iterable[JobConfig], derived: frozenset[str]) -> list[Source]:
    """The sources of jobs, sorted by path. derived: names of jobs that read upstream tables alone."""
    wanted: dict[tuple[str, ...], dict[tuple[str, str], list[JobConfig]]] = defaultdict(lambda: defaultdict(list))
    for job in jobs:
        for path, what, table in _named(job) if job.name not in derived else ():
            readers = wanted[path][what, table]
            if job not in readers[-1:]:
                readers.append(job)
    found = []
    for path, by_what in sorted(wanted.items()):
        for (what, table), readers in by_what.items():
            # Two sources that read alike once their wildcards are gone are told apart.
            full = path if len(by_what) == 1 else (*path[:-1], f"{path[-1]}_{_digest(what)}")
            found.append(Source(full, what, tuple(readers), table))
    return found


def plugin_kinds(reference: str) -> tuple[str, ...]:
    """The kinds that a plugin's name tells: `rust_csv` is csv and rust, `shop.py:Orders` is python, `shop.so:orders` a
    library.
    """
    if ":" in reference:
        return ("library",) if reference.rpartition(":")[0].endswith(LIBRARIES) else ("python",)
    if reference.startswith("rust_"):
        return (_kind(reference.removeprefix("rust_")), "rust")
    if reference == "sql":
        return ("sql", "duckdb")
    return (_kind(reference),)


def _kind(name: str) -> str:
    word = re.sub(r"[^a-z0-9_]", "", name.lower())[:40] or "plugin"
    return _KIND_OF.get(word, word)


def _named(job: JobConfig) -> Iterable[tuple[tuple[str, ...], str, str]]:
    """(path, what, table) of each thing that a job names under `source`."""
    source = job.source
    kind = plugin_kinds(source.reader)[0]
    for pattern in plain(source.files):
        path = _path(_plain(pattern))
        yield ("source", kind, *_segments(path)), f"files {'/'.join(path)}", ""
    where = _plain(source.connection) if isinstance(source.connection, str) else None
    prefix = ("source", kind) if where is None else ("source", kind, where)
    for table in plain(source.tables):
        yield (*prefix, *_plain(table).split(".")), f"table {_plain(table)}{f' of {where}' if where else ''}", table
    for name in () if source.files or source.tables else plain(source.objects):
        yield (*prefix, _plain(name)), f"{_plain(name)}{f' of {where}' if where else ''}", name
    if not (source.files or source.tables or source.objects):
        yield (*prefix, job.name), f"what {source.reader.rpartition(':')[2]} reads for {job.name}", ""


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
