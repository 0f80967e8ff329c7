"""The commits of one version of a directory table: a folder each, and beside them a log of older ones.

    <version>/<seq>/_commit.json      the record, and the data files of that commit
    <version>/_dativo/<end>.log         the records of commits end - 99 to end, or the first of them; no name that a table's
                                      files end with, for a plain glob of JSON lines would take it for data

The folders are the truth; the log saves looking into each. A chunk is written once its last commit is there, and carried
over when a new version begins, so that neither finding the newest commit nor a run's own costs more with each commit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from .errors import ValidationError
from .models import Commit
from .posix import fsync, link, naming
from .records import parse_record

RECORD = "_commit.json"
LOG = "_dativo"
CHUNK = 100
"""Records of one chunk."""

_SEEN_AHEAD = 4
_RETRIED_COMMITS = 1000


class CommitLog:
    """What a version's folder says of its commits. It remembers where the newest was, and looks on from there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._chunks = folder / LOG
        self._seen = 0

    def sequences(self) -> list[int]:
        """Every commit that has a folder, lowest first."""
        return _numbers(self.folder, "")

    def newest(self) -> int:
        """The highest commit, 0 where there is none."""
        seq = self._seen if self._seen and self._exists(self._seen) else self._logged_end()
        while seq and self._exists(seq + 1):
            seq += 1
        # Beyond a gap there is more where somebody removed one.
        if not seq or any(self._exists(seq + ahead) for ahead in range(2, 2 + _SEEN_AHEAD)):
            seq = max(self.sequences(), default=0)
        self._seen = seq
        return seq

    def _logged_end(self) -> int:
        """The last commit of the log; 0 where it does not save the listing of the folder."""
        ends = _numbers(self._chunks, ".log")
        return ends[-1] if ends and self._exists(ends[-1]) else 0

    def strangers(self) -> list[str]:
        """Names beside the commits that are of none and that readers see; none where finding the newest takes no listing."""
        if self._logged_end():
            return []
        names = os.listdir(self.folder)
        return sorted(name for name in names if name[0] not in "._" and not name.isdigit())

    def _exists(self, seq: int) -> bool:
        return os.path.isdir(f"{self.folder}/{seq}")

    def record(self, seq: int) -> Commit:
        """The record of a commit that has a folder. Raises: ValidationError: for one that can't be read."""
        folder = self.folder / str(seq)
        path = folder / RECORD
        details = {"file": str(path)}
        try:
            return parse_record(_bytes(path), f"commit record {path}", details)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError) as error:
            raise ValidationError(
                f"commit record {path} is missing or can't be read: {error}",
                details=details,
                hint=f"restore {path}, or move {folder} away to continue from the commit before it",
            ) from error

    def newest_first(self) -> Iterator[Commit]:
        """The records of commits with a folder, read one by one."""
        for seq in reversed(self.sequences()):
            yield self.record(seq)

    def visible(self) -> list[Commit]:
        """The records of commits with a folder, lowest first."""
        known = {record.seq: record for record in self._logged()}
        return [known.get(seq) or self.record(seq) for seq in self.sequences()]

    def history(self) -> list[Commit]:
        """All records, also of commits whose data is not in this version any more, lowest first."""
        newest = self.newest()
        found = {record.seq: record for record in self._logged() if record.seq <= newest}
        found.update({seq: self.record(seq) for seq in self.sequences() if seq not in found})
        return [found[seq] for seq in sorted(found)]

    def find(self, run_id: str) -> Commit | None:
        """What a run committed, among the last 1,000 commits."""
        newest = self.newest()
        top = -(-newest // CHUNK) * CHUNK
        for end in range(top, max(0, top - _RETRIED_COMMITS), -CHUNK):
            chunk = self._chunk(end)
            found = self._mentions(chunk, run_id)
            for seq in range(min(end, newest), end - CHUNK, -1) if chunk.count(b"\n") < CHUNK else ():
                if found is not None:
                    break
                with suppress(FileNotFoundError):
                    found = self._mentions(_bytes(self.folder / str(seq) / RECORD), run_id, seq)
            if found is not None:
                return found
        return None

    def _mentions(self, text: bytes, run_id: str, seq: int | None = None) -> Commit | None:
        if run_id.encode() not in text:
            return None
        records = _parsed(text) if seq is None else [self.record(seq)]
        return next((record for record in records if record.run_id == run_id), None)

    def get(self, seq: int) -> Commit | None:
        """One record, None where neither a folder nor the log has it."""
        if self._exists(seq):
            return self.record(seq)
        chunk = self._chunk(-(-seq // CHUNK) * CHUNK)
        return next((record for record in _parsed(chunk) if record.seq == seq), None)

    # -- the log ---------------------------------------------------------------------------------------------------

    def _chunk(self, end: int) -> bytes:
        try:
            return _bytes(self._chunks / f"{end}.log")
        except FileNotFoundError:
            return b""

    def _logged(self) -> Iterator[Commit]:
        for end in _numbers(self._chunks, ".log"):
            yield from _parsed(self._chunk(end))

    def write_chunk(self, end: int, newest: int, target: Path | None = None) -> None:
        """Log the commits of the chunk that ends at `end`, those up to `newest`, here or for the version `target`."""
        known = {record.seq: record for record in _parsed(self._chunk(end))}
        for seq in range(end - CHUNK + 1, min(end, newest) + 1):
            if self._exists(seq):
                known[seq] = self.record(seq)
        chunks = self._chunks if target is None else target / LOG
        chunks.mkdir(exist_ok=True)
        new = chunks / f".{end}-{os.urandom(4).hex()}"
        with naming(new), new.open("wb") as file:
            file.writelines(known[seq].model_dump_json().encode() + b"\n" for seq in sorted(known))
        fsync(new)
        os.rename(new, chunks / f"{end}.log")

    def carry(self, target: Path) -> None:
        """Give the version `target` all that this one knows of its commits."""
        newest = self.newest()
        if not newest:
            return
        (target / LOG).mkdir()
        top = -(-newest // CHUNK) * CHUNK
        for end in _numbers(self._chunks, ".log"):
            if end != top:
                link(self._chunks / f"{end}.log", target / LOG / f"{end}.log")
        self.write_chunk(top, newest, target)
        fsync(target / LOG)


def _bytes(path: Path) -> bytes:
    with naming(path):
        return path.read_bytes()


def _parsed(chunk: bytes) -> list[Commit]:
    """Records of a chunk; what a crash left of a line is no record."""
    found = []
    for line in chunk.splitlines():
        with suppress(ValueError):
            found.append(parse_record(line, "commit log"))
    return found


def _numbers(folder: Path, suffix: str) -> list[int]:
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(int(name.removesuffix(suffix)) for name in names if name.removesuffix(suffix).isdigit())
