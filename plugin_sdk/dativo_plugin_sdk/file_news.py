"""Which files are new, changed or gone since a commit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

from .errors import ValidationError
from .models import Incremental

_CHUNK_BYTES = 1 << 20


class InputFile(NamedTuple):
    """One input file as it was when the run was planned. path: absolute. key: its name in the cursor. e_tag: what its store
    says of its content. A tuple, made several times as fast as a dataclass: there may be a hundred thousand files.
    """

    path: str
    key: str
    size_bytes: int
    modified_ns: int
    e_tag: str | None = None

    @property
    def fingerprint(self) -> list[int]:
        return [self.modified_ns, self.size_bytes]

    @property
    def version(self) -> str:
        """What tells one state of the file from another, for its splits."""
        return f"{self.modified_ns} {self.size_bytes} {self.e_tag or ''}"


def content_digest(source: IO[bytes]) -> str:
    """32 hexadecimal digits that change with what can be read from here."""
    digest = hashlib.blake2b(digest_size=16)
    while chunk := source.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


@dataclass(frozen=True)
class FileNews:
    """Files beside what a cursor knows: {key: [modified_ns, size_bytes] and, where it is known, what tells the content}.

    fresh: new and changed ones, in the files' order. changed: keys of the latter. same: files of another time and the same
    content. gone: keys of those that are no longer there. contents: {key: what tells the content}.
    """

    known: Mapping[str, Any]
    fresh: tuple[InputFile, ...]
    changed: frozenset[str]
    same: tuple[InputFile, ...]
    gone: tuple[str, ...]
    contents: Mapping[str, str]

    @classmethod
    def of(
        cls, files: Sequence[InputFile], known: Mapping[str, Any], content: Callable[[InputFile], str] | None
    ) -> FileNews:
        """content: what tells a file's content, where that is worth a look."""
        contents: dict[str, str] = {}
        fresh, changed, same = [], set(), []
        for file in files:
            before = known.get(file.key)
            if before is not None and list(before[:2]) == file.fingerprint:
                continue
            if (told := file.e_tag if content is None else content(file)) is not None:
                contents[file.key] = told
                if before is not None and list(before[1:]) == [file.size_bytes, told]:
                    same.append(file)
                    continue
            fresh.append(file)
            if before is not None:
                changed.add(file.key)
        here = {file.key for file in files} if known else set()
        gone = tuple(key for key in known if key not in here)
        return cls(known, tuple(fresh), frozenset(changed), tuple(same), gone, contents)

    def to_read(self, incremental: Incremental) -> tuple[InputFile, ...]:
        """The files of a run. Raises: ValidationError: for a changed file, where the job wants that."""
        if not self.changed or incremental.changed == "reread":
            return self.fresh
        if incremental.changed == "fail":
            raise ValidationError(
                f"{_counted(sorted(self.changed))} changed after being read",
                "FILE_CHANGED",
                {"files": sorted(self.changed)},
                hint="set source.incremental.changed: reread to read such files again whole, or ignore to leave them out",
            )
        return tuple(file for file in self.fresh if file.key not in self.changed)

    def notes(self, incremental: Incremental) -> tuple[str, ...]:
        """What a person may want to know."""
        changed = {"reread": "changed and will be read again whole", "ignore": "changed and will not be read again"}
        told = [(sorted(self.changed), changed.get(incremental.changed, "")), (self.gone, "read before, not there now")]
        by_field = incremental.strategy in ("append", "updated_at")
        return tuple(f"{_counted(keys)}: {what}" for keys, what in told[by_field:] if keys)

    def cursor(self, read: Sequence[InputFile]) -> dict[str, Any]:
        """What is known once these are read. A file that is gone stays known: should it come back, it is not read twice."""
        told = {
            file.key: [*file.fingerprint, *filter(None, [self.contents.get(file.key)])] for file in (*self.same, *read)
        }
        return {**self.known, **told}


def _counted(keys: Sequence[str]) -> str:
    return f"file {keys[0]}" if len(keys) == 1 else f"{len(keys)} files (such as {keys[0]})"
