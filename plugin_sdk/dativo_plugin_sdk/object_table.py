"""The commits of a table in an object store: where each one's record is, what it says, and what else lies there."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from .arrow import pyarrow
from .errors import ConfigurationError, DativoError, TransientError, ValidationError
from .models import Commit
from .records import foreign_file, parse_record
from .remote import BLOCK_BYTES, RemoteFile, RemoteFiles

KEY = "dativo"
"""The record's key in a footer."""
BEFORE = "dativo.before"
"""The key of the records before it, where one object is replaced by each commit."""

WAY_OUT = "use writer iceberg or delta, which can"

_KEPT_RECORDS = 100
_READ_AT_ONCE = 16
_PART = re.compile(r"(\d{20})-.+-\d{4,}\.parquet")
_OWN = re.compile(r"(\d{20})\.parquet")


class ObjectTable:
    """divided: whether the table is divided into partitions; then its records are objects of their own, beside it."""

    def __init__(self, root: str, files: RemoteFiles) -> None:
        self.root = root
        self._files = files

    def uri(self, seq: int, *, divided: bool) -> str:
        """The object whose put is that commit."""
        return f"{self.root}.commits/{seq:020d}.json" if divided else f"{self.root}/{seq:020d}.parquet"

    def newest(self) -> tuple[RemoteFile, Commit] | None:
        """The newest commit's object, by as many questions as its sequence has binary digits, twice."""
        for divided in (False, True):
            while (first := self._files.exists(self.uri(1, divided=divided))) is not None:
                found = self._last_after(first, divided)
                try:
                    return found, self.record(found)
                except TransientError as error:
                    if error.error_code != "FILE_CHANGED":  # else the next commit has replaced it
                        raise
        return None

    def _last_after(self, first: RemoteFile, divided: bool) -> RemoteFile:
        def at(seq: int) -> RemoteFile | None:
            return self._files.exists(self.uri(seq, divided=divided))

        low, found, step = 1, first, 1
        while (further := at(low + step)) is not None:
            low, found, step = low + step, further, step * 2
        while step > 1:
            step //= 2
            if (further := at(low + step)) is not None:
                low, found = low + step, further
        return found

    def record(self, file: RemoteFile) -> Commit:
        """Raises: ValidationError: for an object without a record that can be read."""
        try:
            text = self._read(file) if file.uri.endswith(".json") else self._footer(file)[KEY.encode()]
            return parse_record(text, f"commit record in {file.uri}")
        except (KeyError, ValueError, pyarrow().ArrowException) as error:
            raise ValidationError(
                f"{file.uri} holds no commit record that can be read",
                details={"file": file.uri},
                hint="somebody else wrote it: move it away, or choose another target.path",
            ) from error

    def _read(self, file: RemoteFile) -> bytes:
        return self._files.read(file.uri, 0, file.size_bytes, file.e_tag)

    def _footer(self, file: RemoteFile) -> Mapping[bytes, bytes]:
        import pyarrow.parquet as pq

        with pq.ParquetFile(self._files.open(file)) as found:
            return found.metadata.metadata or {}

    def get(self, seq: int, *, divided: bool) -> Commit | None:
        """The commit of an object that is not replaced, None where there is none."""
        file = self._files.exists(self.uri(seq, divided=divided))
        return None if file is None else self.record(file)

    def newest_first(self, newest: tuple[RemoteFile, Commit]) -> Iterator[Commit]:
        """The records from the newest one back; of a table that is replaced in place, those that it carries."""
        file, last = newest
        yield last
        if last.details.get("in_place"):
            yield from reversed(self._before(file))
            return
        divided = file.uri.endswith(".json")
        with ThreadPoolExecutor(_READ_AT_ONCE, "records") as pool:
            for top in range(last.seq - 1, 0, -_READ_AT_ONCE):
                seqs = range(top, max(0, top - _READ_AT_ONCE), -1)
                for seq, record in zip(seqs, pool.map(lambda seq: self.get(seq, divided=divided), seqs), strict=True):
                    if record is None:
                        raise self._gone(seq, divided)
                    yield record

    def _gone(self, seq: int, divided: bool) -> ValidationError:
        uri = self.uri(seq, divided=divided)
        return ValidationError(
            f"commit {seq} of {self.root} is missing",
            details={"file": uri},
            hint=f"restore {uri}, or begin anew with another target.path",
        )

    def _before(self, file: RemoteFile) -> list[Commit]:
        return [Commit.model_validate(item) for item in json.loads(self._footer(file).get(BEFORE.encode(), b"[]"))]

    def carried(self, newest: tuple[RemoteFile, Commit]) -> str:
        """The records of an object that is about to be replaced, the last hundred, as they go along with the next."""
        before = [*self._before(newest[0]), newest[1]][-_KEPT_RECORDS:]
        slim = [commit.model_copy(update={"schema_text": {}, "files": ()}).model_dump(mode="json") for commit in before]
        return json.dumps(slim)

    def fetch(self, file: RemoteFile, path: Path) -> Path:
        """A copy of that very version of an object."""
        with self._files.open(file) as source, path.open("wb") as sink:
            shutil.copyfileobj(source, sink, BLOCK_BYTES)
        return path

    # -- what the store is asked before the first commit -------------------------------------------------------------

    def begin(self, *, in_place: bool) -> None:
        """Raises: ConfigurationError: where objects lie that no commit describes, or the store does not keep to the
        conditions of a put.
        """
        _, foreign = self._listed()
        if foreign:
            raise ConfigurationError(
                f"{self.root} holds objects that no commit describes (such as {foreign[0]})",
                hint="choose an empty or new prefix as target.path",
            )
        uri = f"{self.root}.probe-{os.urandom(8).hex()}"
        stale = RemoteFile(uri, 1, 0, '"0123456789abcdef0123456789abcdef"')
        try:
            kept = self._files.put(uri, b"1") and not self._files.put(uri, b"2")
            kept = kept and not (in_place and self._files.put(uri, b"3", instead_of=stale))
        finally:
            with suppress(DativoError):
                self._files.delete([uri])
        if not kept:
            raise ConfigurationError(
                f"the store of {self.root} puts an object in place of another when it is told not to, so two runs could "
                "both commit",
                "UNSAFE_STORE",
                hint="use a store that keeps to If-None-Match and If-Match (S3, GCS, Azure and MinIO do), or a local path",
            )

    # -- what lies there -----------------------------------------------------------------------------------------------

    def leftovers(self, newest: tuple[RemoteFile, Commit]) -> list[str]:
        """Objects of dead runs, by URI: a newer commit has their sequence, and does not name them.

        Raises: ValidationError: for objects that are of no run, and for a commit that is gone.
        """
        file, last = newest
        divided, in_place = file.uri.endswith(".json"), bool(last.details.get("in_place"))
        parts, foreign = self._listed()
        if foreign:
            raise foreign_file(foreign, self.root)
        if not (divided or in_place):
            gone = next(
                (seq for seq in range(1, last.seq) if self.uri(seq, divided=False) not in parts.get(seq, ())), None
            )
            if gone is not None:
                raise self._gone(gone, divided)
        left = []
        for seq, uris in parts.items():
            others = set(uris) - {self.uri(seq, divided=False)}
            if others and seq <= last.seq:
                record = last if in_place else self.get(seq, divided=divided)
                if record is None:
                    raise self._gone(seq, divided)
                left += sorted(others - {f"{self.root}/{name}" for name in record.files})
        return left + self._rejected_left(newest)

    def _rejected_left(self, newest: tuple[RemoteFile, Commit]) -> list[str]:
        """Rejected rows of dead runs; where a commit's record is gone with its version, all that has its sequence stays."""
        file, last = newest
        divided, in_place = file.uri.endswith(".json"), bool(last.details.get("in_place"))
        found: dict[int, list[str]] = {}
        for rejected in self._files.find(f"{self.root}.quarantine/"):
            seq = commit_in_name(rejected.uri)
            if seq is not None and seq <= last.seq:
                found.setdefault(seq, []).append(rejected.uri)
        known = {record.seq: record for record in self.newest_first(newest)} if found and in_place else {}
        left = []
        for seq, uris in found.items():
            record = known.get(seq) if in_place else self.get(seq, divided=divided)
            if record is not None:
                left += sorted(set(uris) - set(record.quarantine))
        return left

    def _listed(self) -> tuple[dict[int, list[str]], list[str]]:
        """URIs of runs' objects by sequence, and of those that are nobody's and that readers of the prefix see."""
        parts: dict[int, list[str]] = {}
        foreign = []
        for file in self._files.find(f"{self.root}/"):
            inside = file.uri.removeprefix(f"{self.root}/").split("/")
            found = _PART.fullmatch(inside[-1]) or (_OWN.fullmatch(inside[-1]) if len(inside) == 1 else None)
            if found is not None:
                parts.setdefault(int(found[1]), []).append(file.uri)
            elif not any(name[0] in "._" for name in inside):
                foreign.append(file.uri)
        return parts, foreign


def commit_in_name(uri: str) -> int | None:
    """The sequence that an object of a table, or the folder of rejected rows that it is in, is named by."""
    found = next(filter(None, (re.match(r"(\d{20})[-.]", part) for part in reversed(uri.split("/")[-2:]))), None)
    return None if found is None else int(found[1])
