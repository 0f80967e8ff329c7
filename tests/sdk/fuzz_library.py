"""Arrays and schemas of every form, each with a field changed for a value that lies: refused, or as good as before.

`python tests/sdk/fuzz_library.py SECONDS [SEED]` prints how many were tried; a crash of it is the finding.
"""

from __future__ import annotations

import ctypes
import datetime as dt
import decimal
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from dativo_plugin_sdk import PluginError
from dativo_plugin_sdk.library.abi import ArrowArray, ArrowSchema
from dativo_plugin_sdk.library.stream import check_array, import_schema, shape_of

_LIES = (-(2**63), -(2**31), -2, -1, 2**31, 2**62, 2**63 - 1)
_COUNTS = (*_LIES, 0, 1, 2, 3, 5)


class _Plugin:
    """What `import_schema` asks of a library."""

    def broken(self, what: str, code: str | None = None) -> PluginError:
        return PluginError(what, code)


def _columns() -> dict[str, Any]:
    texts = ["a", None, "ccc"]
    return {
        "n": pa.array([1, None, 3]),
        "b": pa.array([True, None, False]),
        "s": pa.array(texts),
        "l": pa.array(texts, pa.large_string()),
        "v": pa.array(texts, pa.string_view()),
        "x": pa.array([b"aa", b"bb", None], pa.binary(2)),
        "d": pa.array([decimal.Decimal("1.5"), None, None], pa.decimal128(10, 2)),
        "t": pa.array([dt.datetime(2024, 1, 1), None, None], pa.timestamp("us", "UTC")),
        "z": pa.nulls(3),
        "li": pa.array([["a"], [], None]),
        "fl": pa.array([[1, 2], [3, None], None], pa.list_(pa.int32(), 2)),
        "st": pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}]),
        "m": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
        "di": pa.array(texts).dictionary_encode(),
        "r": pa.RunEndEncodedArray.from_arrays([2, 3], [1, 2]),
    }


def _nodes(node: Any) -> Iterator[Any]:
    """A struct and all below it."""
    yield node
    for index in range(node.n_children):
        yield from _nodes(node.children[index].contents)
    if node.dictionary:
        yield from _nodes(node.dictionary.contents)


def _lie(node: Any, chance: random.Random) -> None:
    """Change one field. Not to a length that is plausible and too long: no consumer of this interface can see that."""
    array = isinstance(node, ArrowArray)
    what = chance.choice(["count", "child", "children", "dictionary", *(["number"] * 3 + ["buffers"] if array else [])])
    if what == "number":
        setattr(node, chance.choice(["length", "null_count", "offset"]), chance.choice((*_LIES, 0)))
    elif what == "count":
        fewer = [count for count in _COUNTS if not 0 <= count <= 5 or count <= node.n_children]
        node.n_children = chance.choice(fewer)
    elif what == "child" and node.n_children > 0:
        pointers = node.children[: node.n_children]
        pointers[chance.randrange(node.n_children)] = type(pointers[0])()
        node.children = (type(pointers[0]) * len(pointers))(*pointers)
    elif what == "children":
        node.children = type(node.children)()
    elif what == "dictionary":
        node.dictionary = type(node.dictionary)()
    elif what == "buffers" and chance.random() < 0.5:
        node.buffers = type(node.buffers)()
    elif what == "buffers" and node.n_buffers > 0:
        node.buffers[chance.randrange(node.n_buffers)] = None


@contextmanager
def lied(exporter: Any, kind: type[Any], chance: random.Random) -> Iterator[Any]:
    """A struct with a lie somewhere in it. As a library's own would, its release does not fall for the lie."""
    root = kind()
    exporter._export_to_c(ctypes.addressof(root))
    nodes = list(_nodes(root))
    before = [bytes(node) for node in nodes]
    release = next(field for name, field in kind._fields_ if name == "release")

    def forget(pointer: Any) -> None:
        pointer.contents.release = release()

    kept = release(forget)
    for node in nodes:
        node.release = kept
    _lie(chance.choice(nodes), chance)
    try:
        yield root
    finally:
        for node, content in zip(nodes, before, strict=True):
            ctypes.memmove(ctypes.addressof(node), content, len(content))
        root.release(ctypes.byref(root))


def try_array(column: Any, chance: random.Random) -> bool:
    """Whether a batch of one column, lied about, was taken."""
    batch = pa.record_batch({"c": column})
    with lied(batch, ArrowArray, chance) as array:
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
    with lied(pa.schema([("c", column.type)]), ArrowSchema, chance) as schema:
        try:
            import_schema(_Plugin(), schema)  # type: ignore[arg-type]
        except PluginError:
            return False
        return True


def main(seconds: float, seed: int) -> None:
    chance, columns, tried, taken = random.Random(seed), list(_columns().values()), 0, 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for column in columns:
            taken += try_array(column, chance) + try_schema(column, chance)
            tried += 2
    sys.stdout.write(f"{tried:,} lies of seed {seed}, {taken:,} taken for true\n")


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(2**31))
