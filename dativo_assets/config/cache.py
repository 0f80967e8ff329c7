"""Jobs as they were read, by the content of their files: what did not change is not parsed again.

    <project>/.dativo/cache/jobs.db     jobs by key and by digest, and what is known of code locations by digest

An entry is found by everything it was made of, so it is never stale, and a job stays to be found by its digest after its file
has changed. The database may be deleted at any time; one that can't be read or written is as good as none. It holds no job
that has a secret written out, and none that takes keys from other files than its own and dativo.yaml.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import sqlite3
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from .compiled import Uncompiled, kept
from .models import JobConfig, ProjectConfig
from .project import PROJECT_FILE

DIGEST_CHARACTERS = 16
_FILE = Path(".dativo", "cache", "jobs.db")
_TABLES = """
create table if not exists jobs (key text primary key, digest text, used integer, value blob) without rowid;
create index if not exists jobs_by_digest on jobs (digest);
create table if not exists locations (digest text primary key, used integer, value blob) without rowid;
"""
_KEEP_DAYS = 30
_DAY_S = 86_400
_WAIT_S = 2.0
_AT_ONCE = 500  # variables of one statement
_BUILTINS = frozenset({"set", "frozenset", "tuple", "list", "dict", "object"})


class JobCache:
    """The cache of one project."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = root / _FILE

    def keys(self, config: ProjectConfig) -> Callable[[str, bytes], str]:
        """(the file as errors call it, its text) -> what its job is found by: also by what goes under it and what reads it."""
        base = hashlib.sha256(repr((str(self._root), _code(), _below(config))).encode("utf-8", "surrogateescape"))

        def key(shown: str, text: bytes) -> str:
            own = base.copy()
            own.update(repr(shown).encode("utf-8", "surrogateescape"))
            own.update(text.removeprefix(b"\xef\xbb\xbf"))
            return own.hexdigest()

        return key

    def jobs(self, keys: Iterable[str]) -> dict[str, JobConfig]:
        """Those that are there, by key."""
        return self._found("key", keys)

    def by_digest(self, digests: Iterable[str]) -> dict[str, JobConfig]:
        """Those that are there, by the first DIGEST_CHARACTERS of their digest."""
        return self._found("digest", digests)

    def add(self, jobs: Mapping[str, JobConfig]) -> None:
        """Keep jobs by their keys, those that can be kept."""
        rows = [
            (key, job.digest[:DIGEST_CHARACTERS], _today(), _packed(job))
            for key, job in jobs.items()
            if _may_be_kept(job)
        ]
        if rows:
            self._write("insert or replace into jobs values (?, ?, ?, ?)", rows)

    def texts(self, digests: Sequence[str]) -> list[str] | None:
        """What `add_texts` kept, in the order of its digests; None where one is gone."""
        found: dict[str, str] = {}
        query = f"select digest, value from locations where digest in ({','.join('?' * len(digests))})"
        with suppress(sqlite3.Error, OSError, ValueError, zlib.error), self._reading() as database:
            for digest, value in database.execute(query, list(digests)):
                found[digest] = zlib.decompress(value).decode()
        return [found[digest] for digest in digests] if found.keys() >= set(digests) else None

    def add_texts(self, texts: Sequence[str]) -> list[str] | None:
        """The digests under which texts are kept; None where they can't be."""
        digests = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
        rows = [
            (digest, _today(), zlib.compress(text.encode(), 1)) for digest, text in zip(digests, texts, strict=True)
        ]
        return digests if self._write("insert or replace into locations values (?, ?, ?)", rows) else None

    def _found(self, column: str, values: Iterable[str]) -> dict[str, JobConfig]:
        wanted = list(values)
        found: dict[str, JobConfig] = {}
        old: list[tuple[int, str]] = []
        today = _today()
        with suppress(sqlite3.Error, OSError), self._reading() as database:
            for start in range(0, len(wanted), _AT_ONCE):
                part = wanted[start : start + _AT_ONCE]
                marks = ",".join("?" * len(part))
                query = f"select {column}, key, used, value from jobs where {column} in ({marks})"
                for value, key, used, packed in database.execute(query, part):
                    job = _unpacked(packed)
                    if job is not None:
                        found[value] = job
                        if used < today:
                            old.append((today, key))
        if old:
            self._write("update jobs set used = ? where key = ?", old)
        return found

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        if not self._path.is_file():
            raise FileNotFoundError(self._path)
        with closing(sqlite3.connect(self._path, timeout=_WAIT_S)) as database:
            yield database

    def _write(self, statement: str, rows: list[tuple[Any, ...]]) -> bool:
        if not (self._root / PROJECT_FILE).is_file():
            return False  # a folder that is no project is left as it was
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            (self._path.parent / ".gitignore").write_text("*\n")
            with closing(sqlite3.connect(self._path, timeout=_WAIT_S)) as database, database:
                database.execute("pragma synchronous = off")  # what a power cut takes is read again
                database.executescript(_TABLES)
                database.executemany(statement, rows)
                for table in ("jobs", "locations"):
                    database.execute(f"delete from {table} where used < ?", (_today() - _KEEP_DAYS,))
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                with suppress(OSError):
                    self._path.unlink()  # no database any more
            return False
        return True


def _today() -> int:
    return int(time.time() // _DAY_S)


def _below(config: ProjectConfig) -> str:
    """What of dativo.yaml a job is read with."""
    return json.dumps([config.defaults, sorted(config.connections)], sort_keys=True, default=str)


@cache
def _code() -> str:
    """Changes with the modules that read a job."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return repr([sys.version, *((path.name, os.stat(path).st_size, os.stat(path).st_mtime_ns) for path in files)])


def _may_be_kept(job: JobConfig) -> bool:
    own = {job.file, PROJECT_FILE}
    if job.notes or any(layer.moved or layer.document.file not in own for layer in job.origin.layers):
        return False
    try:
        kept({name: getattr(job, name) for name in type(job).model_fields})
    except Uncompiled:
        return False
    return True


def _packed(job: JobConfig) -> bytes:
    value = pickle.dumps(job, protocol=pickle.HIGHEST_PROTOCOL)
    return hashlib.sha256(value).digest() + value


class _Unpickler(pickle.Unpickler):
    """Makes models of this package and paths, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        own = module.startswith("dativo_assets.config.") and "." not in name
        if own or (module == "pathlib" and name.endswith("Path")) or (module == "builtins" and name in _BUILTINS):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a job")


def _unpacked(packed: bytes) -> JobConfig | None:
    digest, value = packed[:32], packed[32:]
    if hashlib.sha256(value).digest() != digest:
        return None
    try:
        found = _Unpickler(io.BytesIO(value)).load()
    except Exception:  # of another version of the models: as good as none
        return None
    return found if isinstance(found, JobConfig) else None
