"""Readers of files: which files there are, which are new since the cursor, and how to open them."""

from __future__ import annotations

import glob
import io
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import IO, Any, ClassVar, Literal, cast

from .errors import ConfigurationError, PluginError, ValidationError
from .file_news import FileNews, InputFile, content_digest
from .models import ConnectionTestResult, DiscoveryResult, Incremental, ReadPlan, ReadRequest
from .reader import BaseReader
from .remote import RangeReader, RemoteFile, RemoteFiles, is_listed_by_fsspec, is_remote, shown

Compression = Literal["auto", "none", "gzip", "zstd", "bz2", "xz", "zip"]
_SUFFIXES: dict[str, Compression] = {
    ".gz": "gzip",
    ".gzip": "gzip",
    ".zst": "zstd",
    ".zstd": "zstd",
    ".bz2": "bz2",
    ".xz": "xz",
    ".zip": "zip",
}
_GLOB = frozenset("*?[")

STDIN = "-"
"""How a job names what is piped into its run."""


def compression_of(path: str, compression: Compression = "auto") -> Compression:
    """The compression of a file: as given, or by its suffix."""
    if compression != "auto":
        return compression
    return _SUFFIXES.get(Path(path).suffix.lower(), "none")


def stem_suffix(path: str) -> str:
    """The suffix that tells the format, without the one that tells the compression: `.csv` for `a.csv.gz`."""
    name = Path(path)
    return Path(name.stem).suffix.lower() if name.suffix.lower() in _SUFFIXES else name.suffix.lower()


def open_input(path: str, compression: Compression = "auto", raw: IO[bytes] | None = None) -> IO[bytes]:
    """The file's decompressed bytes. A zip archive must hold exactly one file. raw: the file, where it is open already.

    Raises: ValidationError: for an archive with none or several.
    """
    kind = compression_of(path, compression)
    file = path if raw is None else raw
    if kind == "gzip":  # each module when its kind is met: a run over plain files begins without them
        import gzip

        return cast(IO[bytes], gzip.open(file, "rb"))
    if kind == "bz2":
        import bz2

        return bz2.open(file, "rb")
    if kind == "xz":
        import lzma

        return lzma.open(file, "rb")
    if kind == "zstd":
        try:
            import pyarrow
        except ImportError as error:
            raise PluginError(f"{path} is zstd, which needs pyarrow", hint="pip install pyarrow") from error
        source = pyarrow.OSFile(path) if raw is None else pyarrow.PythonFile(raw, "r")
        return cast(IO[bytes], pyarrow.CompressedInputStream(source, "zstd"))
    if kind == "zip":
        return _open_zip(path, file)
    return open(path, "rb") if raw is None else raw


def _open_zip(path: str, file: str | IO[bytes]) -> IO[bytes]:
    import zipfile

    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile as error:
        raise ValidationError(f"{path} is no zip archive: {error}", details={"file": path}) from error
    members = [info for info in archive.infolist() if not info.is_dir() and not info.filename.startswith("__MACOSX/")]
    if len(members) != 1:
        archive.close()
        raise ValidationError(
            f"{path} holds {len(members)} files; a zip input must hold exactly one",
            details={"file": path},
            hint="unpack it and name the files in source.files",
        )
    raw = archive.open(members[0])
    archive.close()  # the member keeps the file open until it is closed itself
    return cast(IO[bytes], io.BufferedReader(cast(io.RawIOBase, raw)))


@cache
def _standard_input() -> IO[bytes]:
    """All that is piped in, as a file without a name that goes with the process: a read is planned before it begins."""
    import shutil
    import tempfile

    file = cast(IO[bytes], tempfile.TemporaryFile())  # noqa: SIM115
    shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
    file.flush()
    return file


class FileReader(BaseReader):
    """Level 3 over files, on this machine or, where `remote` is set, by URI. A subclass gives `suffixes` and `plan_files`,
    and `read`.

    Incremental strategies `file` and `file_modified_time` read files that are new since the cursor, and those that changed as
    the job's `changed` says; `append` by a cursor field skips files unchanged since the last commit and leaves the field to
    the pipeline.
    """

    suffixes: ClassVar[tuple[str, ...]] = ()
    """Which files of a directory count, without compression suffix: (".csv", ".tsv")."""

    remote: ClassVar[bool] = False
    """Whether it reads files by URI: it then opens all files by `open_file`."""

    def plan_files(self, files: tuple[InputFile, ...], request: ReadRequest) -> ReadPlan:
        """Divide these files into splits. The cursor is added by the caller."""
        raise PluginError(f"reader {type(self).__name__} has no plan_files()")

    def list_files(self) -> tuple[InputFile, ...]:
        """Every file that the job names, in the order of its patterns, then by path; each file once.

        Raises: ConfigurationError: for a name without wildcards that is not there, or when no file is named at all.
        """
        patterns = self.source_config.files
        if not patterns:
            raise ConfigurationError(
                f"reader {self.source_config.reader} needs source.files", hint="files: [data/*.csv] under source"
            )
        found: dict[str, InputFile] = {}
        for pattern in patterns:
            for file in self._find_remote(pattern) if is_remote(pattern) else self._find_local(pattern):
                found.setdefault(file.path, file)
        return tuple(found.values())

    def _elsewhere(self, path: str) -> RemoteFiles:
        """What lists and reads a URI."""
        if not is_listed_by_fsspec(path):
            return self._stores
        from .remote_fsspec import FsspecFiles  # of no use to most

        return FsspecFiles(self._given)

    @cached_property
    def _stores(self) -> RemoteFiles:
        return RemoteFiles(self._given)

    @property
    def _given(self) -> dict[str, Any]:
        return {**self.source_config.connection, **self.source_config.credentials}

    def open_file(self, path: str, compression: Compression = "auto") -> IO[bytes]:
        """The decompressed bytes of one of `list_files`."""
        if is_remote(path):
            return open_input(path, compression, cast(IO[bytes], self._elsewhere(path).open(self._version(path))))
        return open_input(path, compression)

    def open_ranges(self, path: str) -> RangeReader:
        """One of `list_files` that is remote, for range requests."""
        return RangeReader(self._elsewhere(path), self._version(path))

    def _version(self, path: str) -> RemoteFile:
        """A remote file as this reader met it first: every opening is of that version."""
        if path not in self._versions:
            self._versions[path] = self._elsewhere(path).stat(self._uri(path))
        return self._versions[path]

    @cached_property
    def _versions(self) -> dict[str, RemoteFile]:
        return {}

    def fingerprint(self, path: str) -> list[int]:
        """What tells one state of a file from another, as it is now: time of the last change, in ns, and size in bytes; of a
        file of this machine also its inode, and when that changed.
        """
        if is_remote(path):
            file = self._elsewhere(path).stat(self._uri(path))
            return [file.modified_ns, file.size_bytes]
        info = os.stat(path)
        return [info.st_mtime_ns, info.st_size, info.st_ino, info.st_ctime_ns]

    def _uri(self, path: str) -> str:
        """The URI of a remote file as the job has it: with the query that paths and cursors leave out."""
        return next((uri for uri in self.source_config.files if shown(uri) == path), path)

    def _find_remote(self, pattern: str) -> list[InputFile]:
        if not self.remote:
            raise ConfigurationError(
                f"reader {self.source_config.reader} reads files of this machine, not {shown(pattern)}",
                hint="read it with the reader csv, json or parquet",
            )
        found = self._elsewhere(pattern).find(pattern)
        named = len(found) == 1 and not _GLOB & set(shown(pattern))
        return [
            InputFile(shown(file.uri), shown(file.uri), file.size_bytes, file.modified_ns, file.e_tag)
            for file in found
            if named or self._wanted(shown(file.uri))
        ]

    def _find_local(self, pattern: str) -> list[InputFile]:
        if pattern == STDIN:
            return [self._stdin()]
        return [file for path in self._expand(pattern) if (file := self._stat(path)) is not None]

    def _stdin(self) -> InputFile:
        folder = "/proc/self/fd"
        if not os.path.isdir(folder):
            raise ConfigurationError("reading what is piped in needs Linux", hint="save it and name the file")
        handle = _standard_input().fileno()
        info = os.fstat(handle)
        return InputFile(f"{folder}/{handle}", STDIN, info.st_size, info.st_mtime_ns)

    def _expand(self, pattern: str) -> Sequence[str]:
        root = Path(self.source_config.root)
        full = os.path.abspath(root / pattern.removeprefix("file://"))
        if os.path.isfile(full):
            return [full]
        if os.path.isdir(full):
            inside = glob.glob(os.path.join(glob.escape(full), "**", "*"), recursive=True)
            return sorted(path for path in inside if self._wanted(path))
        if not _GLOB & set(pattern):
            raise ConfigurationError(
                f"file {pattern} does not exist",
                details={"file": full},
                hint=f"paths are relative to the project's root, {root}",
            )
        return sorted(glob.glob(full, recursive=True))

    def _wanted(self, path: str) -> bool:
        return not self.suffixes or stem_suffix(path) in self.suffixes

    def _stat(self, path: str) -> InputFile | None:
        """A file as it is now; None for what is no file, or no longer there."""
        try:
            info = os.stat(path)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(info.st_mode):
            return None
        below = path.startswith(self._root)
        key = path[len(self._root) :] if below else os.path.relpath(path, self.source_config.root)
        return InputFile(path, key, info.st_size, info.st_mtime_ns)

    @cached_property
    def _root(self) -> str:
        """The folder that paths are relative to, with a slash at its end."""
        return os.path.join(os.path.abspath(self.source_config.root), "")

    def plan(self, request: ReadRequest) -> ReadPlan:
        incremental = self.source_config.incremental
        files = self.list_files()
        if request.partition is not None and request.partition.file is not None:
            return self._plan_one(files, request, request.partition.file.values[0])
        if incremental is None or incremental.strategy == "full_refresh":
            if not files:
                raise ValidationError(
                    f"no file matches {', '.join(self.source_config.files)}",
                    hint=f"paths are relative to the project's root, {self.source_config.root}",
                )
            return self.plan_files(files, request)
        if STDIN in self.source_config.files:
            raise ConfigurationError(
                "what is piped in can't be read incrementally", hint="leave out source.incremental, or name a file"
            )
        if incremental.strategy not in ("append", "file", "file_modified_time", "updated_at"):
            raise ConfigurationError(
                f"reader {self.source_config.reader} can't do incremental strategy {incremental.strategy}",
                hint="use file_modified_time, or append with cursor_field",
            )
        news = self._news(files, request.cursor)
        fresh = news.to_read(incremental)
        if not fresh:
            return ReadPlan(splits=(), unchanged=True, notes=news.notes(incremental))
        plan = self.plan_files(fresh, request)
        cursor = {"strategy": incremental.strategy, "files": news.cursor(fresh)}
        return replace(plan, cursor=cursor, notes=(*plan.notes, *news.notes(incremental)))

    def _plan_one(self, files: Sequence[InputFile], request: ReadRequest, key: str) -> ReadPlan:
        """Of the one file that the run loads; with it read, the cursor knows one more."""
        found = tuple(file for file in files if file.key == key)
        if not found:
            raise ValidationError(
                f"there is no file {key}",
                details={"file": key},
                hint=f"source.files names {', '.join(map(shown, self.source_config.files))}",
            )
        news = self._news(found, request.cursor)
        plan = self.plan_files(found, request)
        return replace(plan, cursor={"strategy": "file", "files": news.cursor(found)}, applied=plan.applied | {"file"})

    def _news(self, files: Sequence[InputFile], cursor: Mapping[str, Any] | None) -> FileNews:
        incremental = self.source_config.incremental
        by_content = incremental is not None and incremental.compare == "content"
        return FileNews.of(files, (cursor or {}).get("files", {}), self._content if by_content else None)

    def new_files(self, cursor: Mapping[str, Any] | None) -> Mapping[str, str]:
        fresh = self._fresh(cursor)
        return {
            file.key: f"{file.modified_ns}:{file.size_bytes}" for file in sorted(fresh, key=lambda x: x.modified_ns)
        }

    def _fresh(self, cursor: Mapping[str, Any] | None) -> list[InputFile]:
        incremental = self.source_config.incremental or Incremental()
        news = self._news(self.list_files(), cursor)
        return [file for file in news.fresh if incremental.changed != "ignore" or file.key not in news.changed]

    def _content(self, file: InputFile) -> str:
        """What changes with a file's content: its store's word for it, or a digest."""
        if file.e_tag is not None:
            return file.e_tag
        with self.open_file(file.path, "none") as source:
            return content_digest(source)

    def probe(self, cursor: Mapping[str, Any] | None) -> str | None:
        fresh = self._fresh(cursor)
        if not fresh:
            return None
        newest = max(fresh, key=lambda file: file.modified_ns)
        return f"{len(fresh)}:{newest.key}:{newest.modified_ns}:{sum(file.size_bytes for file in fresh)}"

    def check_connection(self) -> ConnectionTestResult:
        files = self.list_files()
        unreadable = [file.path for file in files if not is_remote(file.path) and not os.access(file.path, os.R_OK)]
        if unreadable:
            return ConnectionTestResult(False, f"no permission to read {unreadable[0]}", "AUTHENTICATION_ERROR")
        if not files:
            return ConnectionTestResult(False, f"no file matches {', '.join(self.source_config.files)}", "NOT_FOUND")
        return ConnectionTestResult(True, f"{len(files)} files, {sum(file.size_bytes for file in files):,} bytes")

    def discover(self) -> DiscoveryResult:
        return DiscoveryResult(
            [
                {"name": file.key, "type": stem_suffix(file.path).lstrip("."), "bytes": file.size_bytes}
                for file in self.list_files()
            ]
        )
