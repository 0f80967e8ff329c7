"""A power cut at each step of a commit to a directory: what was not forced to the disk is gone.

The system calls are real, on a real directory; what a disk is bound to hold after them is kept beside. Two disks: one that
holds of a folder what it had at its last fsync, and one that holds all names at once and only contents late.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dativo_plugin_sdk import Commit, DirectoryTable, ValidationError, directory

WATCHED = ("rename", "replace", "symlink", "mkdir", "rmdir", "unlink", "fsync")
BEFORE = [[], ["append"], ["overwrite"], ["append", "overwrite"]]


class Disk:
    """What lasts of the folder `base`. after: called after each step that changed something."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.contents: dict[int, bytes] = {}
        self.names: dict[int, dict[str, str]] = {}
        self.after: Callable[[], None] | None = None
        for folder, _, files in os.walk(base):
            self._hold(Path(folder))
            for name in files:
                if not (Path(folder) / name).is_symlink():
                    self._hold(Path(folder) / name)

    def _hold(self, path: Path) -> None:
        entry = path.stat()
        if stat.S_ISDIR(entry.st_mode):
            self.names[entry.st_ino] = {name: _identity(path / name) for name in os.listdir(path)}
        else:
            self.contents[entry.st_ino] = path.read_bytes()

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in WATCHED:
            monkeypatch.setattr(os, name, self._watched(name, getattr(os, name)))

    def _watched(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            result = function(*arguments, **keywords)
            if name == "fsync":
                self._hold(Path(os.readlink(f"/proc/self/fd/{arguments[0]}")))
            after, self.after = self.after, None
            if after is not None:
                after()
            self.after = after
            return result

        return call

    def restored(self, to: Path, ordered: bool) -> Path:
        """What is found when the power is back. ordered: names last at once."""
        shutil.rmtree(to, ignore_errors=True)
        self._restore(f"d{self.base.stat().st_ino}", self.base, to, ordered)
        return to

    def _restore(self, identity: str, now: Path | None, to: Path, ordered: bool) -> None:
        kind, inode = identity[0], identity[1:]
        if kind == "l":
            to.symlink_to(inode)
        elif kind == "f":
            to.write_bytes(self.contents.get(int(inode), b""))
        else:
            to.mkdir()
            held = self.names.get(int(inode), {})
            if ordered and now is not None:
                held = {name: _identity(now / name) for name in os.listdir(now)}
            for name, entry in held.items():
                self._restore(entry, now / name if ordered and now is not None else None, to / name, ordered)


def _identity(path: Path) -> str:
    entry = path.lstat()
    if stat.S_ISLNK(entry.st_mode):
        return f"l{os.readlink(path)}"
    return f"{'d' if stat.S_ISDIR(entry.st_mode) else 'f'}{entry.st_ino}"


def deliver(root: Path, seq: int, mode: str) -> None:
    table = DirectoryTable(root)
    table.open(f"r{seq}")
    for part in (table.staging / "part.txt", table.quarantine_staging / "bad.txt"):
        part.write_text(str(seq))
        with part.open() as file:
            os.fsync(file.fileno())
    table.commit(Commit(job="j", seq=seq, run_id=f"r{seq}", mode=mode, files=("part.txt",)))  # type: ignore[arg-type]


def visible(root: Path) -> list[str]:
    return sorted(path.read_text() for path in root.resolve().glob("**/*.txt"))


def cut_at_each_step(folder: Path, monkeypatch: pytest.MonkeyPatch, before: list[str], mode: str) -> int:
    """Returns how many power cuts there were. Raises: AssertionError: after one, neither all nor nothing was there."""
    base = folder / "disk"
    base.mkdir(parents=True)
    old: list[str] = []
    for seq, earlier in enumerate(before, 1):
        deliver(base / "t", seq, earlier)
        old = [str(seq)] if earlier == "overwrite" else [*old, str(seq)]
    this = str(len(before) + 1)
    new = [this] if mode == "overwrite" else [*old, this]
    disk, cuts = Disk(base), 0

    def look(allowed: tuple[list[str], ...]) -> None:
        nonlocal cuts
        for ordered in (False, True):
            cuts += 1
            root = disk.restored(folder / "restored", ordered) / "t"
            last = DirectoryTable(root).last_commit()
            assert visible(root) in allowed
            landed = last is not None and last.run_id == f"r{this}"
            seq = 0 if last is None else last.seq
            assert last is None or [Path(name).name for name in last.quarantine] == ["bad.txt"]
            rejected = f"{root.name}.quarantine/{seq}-*/bad.txt"
            assert not seq or [path.read_text() for path in root.parent.glob(rejected)] == [str(seq)]
            deliver(root, seq + 1, "append")
            assert visible(root) == sorted([*(new if landed else old), str(seq + 1)])

    with monkeypatch.context() as patch:
        disk.watch(patch)
        disk.after = lambda: look((old, new))
        deliver(base / "t", len(before) + 1, mode)
        disk.after = None
        look((new,))
    return cuts


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_after_a_power_cut_all_of_a_commit_is_there_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: list[str], mode: str
) -> None:
    assert cut_at_each_step(tmp_path, monkeypatch, before, mode) > 20


MUTANTS: dict[str, tuple[str, Callable[..., None]]] = {
    "the record isn't forced to the disk": ("fsync", lambda path: None if path.is_file() else _fsync(path)),
    "folders aren't forced to the disk": ("fsync", lambda path: _fsync(path) if path.is_file() else None),
    "the rename isn't forced to the disk": ("settle", os.close),
}
_fsync = directory.fsync


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_commit_that_does_not_force_itself_to_the_disk_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutant: str, record_property: Callable[[str, object], None]
) -> None:
    name, change = MUTANTS[mutant]
    monkeypatch.setattr(directory, name, change)

    def cut() -> None:
        for number, before in enumerate(BEFORE):
            for mode in ("append", "overwrite"):
                cut_at_each_step(tmp_path / f"{number}{mode}", monkeypatch, before, mode)

    with pytest.raises((AssertionError, ValidationError)) as found:
        cut()
    record_property("mutant", f"power cut: {mutant}: {found.typename}")
