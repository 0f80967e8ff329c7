"""What a run has finished on its way, noted in its staging folder: lines of JSON, the first of which says whose they are.

A note outlives its process and not its machine: what a power cut leaves on disk is not looked at. So nothing is forced to
disk for it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Container, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from .models import Checkpoint, Committable

FilesOf: TypeAlias = Callable[[Committable], tuple[Path, ...] | None]
"""The files of a folder that hold the data of a committable; None where it is not there any more, whole."""

_NOTES = "finished.jsonl"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def group_of(key: str) -> str:
    """The part of a key that all plans of one job's run share."""
    return key.partition(".")[0]


def key_of(folder: Path) -> str | None:
    """Whose notes are in a staging folder; None where there are none of this boot."""
    try:
        with open(folder / _NOTES, encoding="utf-8") as file:
            head = json.loads(file.readline())
        return str(head["key"]) if head["boot"] == _boot() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def note(folder: Path, key: str, checkpoint: Checkpoint) -> None:
    """Add a checkpoint to the folder's notes."""
    path = folder / _NOTES
    begin = "" if path.exists() else json.dumps({"key": key, "boot": _boot()}) + "\n"
    with open(path, "a", encoding="utf-8") as file:
        file.write(begin + json.dumps(checkpoint.to_dict()) + "\n")


def drop_notes(folder: Path) -> None:
    """Remove a folder's notes: nobody may take over what they tell of."""
    (folder / _NOTES).unlink(missing_ok=True)


def take_over(
    folder: Path, key: str, wanted: Container[str], files_of: FilesOf, stays: Collection[str] = ()
) -> tuple[Checkpoint, ...]:
    """The checkpoints of a folder that was another run's, if their splits are wanted and their data there. Any other file is
    removed, but for `stays`: names in the folder.
    """
    kept: list[Checkpoint] = []
    files = {folder / name for name in ("lock", *stays)}
    for checkpoint in _read(folder / _NOTES):
        of = [files_of(item) for item in checkpoint.committables]
        if all(split in wanted for split in checkpoint.splits) and None not in of:
            kept.append(checkpoint)
            files.update(*filter(None, of))
    drop_notes(folder)
    for parent, folders, names in os.walk(folder, topdown=False):
        for name in names:
            if Path(parent, name) not in files:
                os.unlink(Path(parent, name))
        for name in folders:
            with suppress(OSError):  # it is needed still
                os.rmdir(Path(parent, name))
    for checkpoint in kept:
        note(folder, key, checkpoint)
    return tuple(kept)


def _read(path: Path) -> Sequence[Checkpoint]:
    found = []
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        try:
            found.append(Checkpoint.from_dict(json.loads(line)))
        except (ValueError, KeyError, TypeError):  # the run died while it wrote this
            break
    return found


def whole(path: Path, item: Committable) -> tuple[Path, ...] | None:
    """The file that holds all data of a committable; None where it has not the size that it had."""
    try:
        return (path,) if path.stat().st_size == item.bytes else None
    except OSError:
        return None


def _boot() -> str | None:
    """What tells this boot of the machine from others; a new one each time where nothing does."""
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return os.urandom(8).hex()
