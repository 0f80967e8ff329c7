"""Libraries, arrays and schemas that lie: refused with a typed error that names the plugin, or as good as true.

`python -m tests.sdk.fuzz_library SECONDS [SEED]` prints how many were tried; a crash of it, or a traceback, is the finding.
"""

from __future__ import annotations

import ctypes
import gc
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
from dativo_plugin_sdk import (
    AssetDefinition,
    Commit,
    Committable,
    DativoError,
    PluginError,
    ReadRequest,
    SourceConfig,
    TargetConfig,
    WriteRequest,
    WriteTask,
)
from dativo_plugin_sdk.library import host, load_library
from dativo_plugin_sdk.library.abi import FORMAT, READER, WRITER, ArrowArray, ArrowSchema
from dativo_plugin_sdk.library.stream import check_array, import_schema, shape_of
from dativo_plugin_sdk.native import left_out
from pydantic import ValidationError

from .faked_library import FakedLibrary
from .lies import Lying, columns

_MOST_BATCHES = 5


class _Plugin:
    """What `import_schema` asks of a library."""

    def broken(self, what: str, code: str | None = None) -> PluginError:
        return PluginError(what, code)


@contextmanager
def _lied(exporter: Any, kind: type[Any], chance: random.Random) -> Iterator[Any]:
    lying = Lying(exporter, kind, chance)
    try:
        yield lying.root
    finally:
        lying.undo()


def try_array(column: Any, chance: random.Random) -> bool:
    """Whether a batch of one column, lied about, was taken."""
    batch = pa.record_batch({"c": column})
    with _lied(batch, ArrowArray, chance) as array:
        return _taken(array, batch.schema)


def _taken(array: ArrowArray, schema: Any) -> bool:
    try:
        check_array(array, shape_of(pa.struct(schema)))
        found = pa.RecordBatch._import_from_c(ctypes.addressof(array), schema)
        found.validate(full=True)
    except (ValueError, TypeError, NotImplementedError):
        return False
    found.to_pylist()
    return True


def try_schema(column: Any, chance: random.Random) -> bool:
    """Whether a schema of one column, lied about, was taken."""
    with _lied(pa.schema([("c", column.type)]), ArrowSchema, chance) as schema:
        try:
            import_schema(_Plugin(), schema)  # type: ignore[arg-type]
        except PluginError:
            return False
        return True


def try_library(column: Any, chance: random.Random, folder: Path) -> bool:
    """Whether a library of chance was loaded and used. Raises: AssertionError: where its host broke a rule of the header."""
    batch, lies = pa.record_batch({"c": column}), []

    def fill(target: ArrowSchema | ArrowArray) -> None:
        if chance.random() < 0.02:
            return  # as if it were released
        exporter = batch if isinstance(target, ArrowArray) else batch.schema
        lying = Lying(exporter, type(target), chance if chance.random() < 0.3 else None)
        lies.append(lying)
        ctypes.memmove(ctypes.addressof(target), ctypes.addressof(lying.root), ctypes.sizeof(target))

    library = FakedLibrary(chance.choice((READER, FORMAT, WRITER)), chance, fill)
    taken = _use(library, batch, chance, folder)
    host._KEPT.clear()
    if library.left() or any(lying.released == 0 for lying in lies):
        gc.collect()
    assert not library.faults, library.faults
    assert not library.left(), library.left()
    assert all(lying.released == 1 for lying in lies), [lying.released for lying in lies]
    for lying in lies:
        lying.undo()
    return taken


def _use(library: FakedLibrary, batch: Any, chance: random.Random, folder: Path) -> bool:
    kind = chance.choice(("reader", "writer")) if chance.random() < 0.05 else library.kind_name
    try:
        found = load_library(kind, library, "faked", "faked.so:faked")  # type: ignore[arg-type]
        if kind == "reader":
            _read(found, chance)
        else:
            _write(found, batch, chance, folder)
    except (DativoError, ValidationError):
        return False
    return True


def _each(calls: list[Callable[[], Any]], chance: random.Random) -> None:
    """Some of the calls, in any order, each with whatever error of ours."""
    for call in chance.choices(calls, k=chance.randrange(6)):
        with suppress(DativoError):
            call()


def _read(found: Any, chance: random.Random) -> None:
    reader = found(SourceConfig(job="j", credentials={"key": "secret"}, options={}))

    def read() -> None:
        declared = pa.schema([("c", pa.int64())]) if chance.random() < 0.5 else None
        plan = reader.plan(ReadRequest(schema=declared))
        assert sum(split.rows or 0 for split in plan.splits) + len("".join(plan.notes)) + len(plan.cursor or {}) >= 0
        for split in plan.splits[:2]:
            stream = reader.read(split)
            # In Python alone: a release of Python's own can't be called where C is about to raise.
            for count, got in enumerate(stream):
                got.to_pylist()
                if count > _MOST_BATCHES:
                    reader.cancel()
            assert left_out(stream) >= 0

    _each([read, read, reader.check_connection, reader.discover, lambda: reader.probe({"at": 1})], chance)


def _write(found: Any, batch: Any, chance: random.Random, folder: Path) -> None:
    path = f"t{chance.randrange(2**60)}"
    writer = found(AssetDefinition(name="a"), TargetConfig(root=str(folder), path=path, options={}))

    def write() -> None:
        writer.open(WriteRequest("j", "r", 0, schema=batch.schema))
        split = writer.writer(WriteTask(0, "data", batch.schema))
        for _ in range(chance.randrange(3)):
            split.write(batch)
        done = split.finish() if chance.random() < 0.8 else [Committable(rows=3)]
        if chance.random() < 0.1:
            writer.cancel()
        if writer.library.kind == WRITER:
            writer.commit(done, Commit(job="j", seq=1, run_id="r"))

    looks = [writer.last_commit, writer.history, writer.check_connection, writer.snapshot]
    _each([write, write, *looks, writer.abort], chance)


def main(seconds: float, seed: int) -> None:
    chance, found, tried, taken = random.Random(seed), list(columns().values()), 0, 0
    unraisable: list[Any] = []
    sys.unraisablehook = unraisable.append  # what is raised in a call from C
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < end:
            for column in found:
                taken += (
                    try_array(column, chance) + try_schema(column, chance) + try_library(column, chance, Path(folder))
                )
                tried += 3
                assert not unraisable, unraisable
    sys.stdout.write(f"{tried:,} lies of seed {seed}, {taken:,} taken for true\n")


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(2**31))
