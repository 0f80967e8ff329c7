"""Arrow's C structs of every type, with one field changed for a value that lies."""

from __future__ import annotations

import ctypes
import datetime as dt
import decimal
import random
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from dativo_plugin_sdk.library.abi import ArrowArray

_LIES = (-(2**63), -(2**31), -2, -1, 2**31, 2**62, 2**63 - 1)
_COUNTS = (*_LIES, 0, 1, 2, 3, 5)


def columns() -> dict[str, Any]:
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


class Lying:
    """A struct with a lie somewhere in it, none where there is no chance, until `undo`. As a library's own would, its release
    does not fall for the lie.
    """

    def __init__(self, exporter: Any, kind: type[Any], chance: random.Random | None) -> None:
        self.root = kind()
        exporter._export_to_c(ctypes.addressof(self.root))
        self._nodes = list(_nodes(self.root))
        self._before = [bytes(node) for node in self._nodes]
        self._release_type = next(field for name, field in kind._fields_ if name == "release")
        self._forget = self._release_type(self._count)
        self.released = 0
        """How often somebody released it."""
        for node in self._nodes:
            node.release = self._forget
        if chance is not None:
            _lie(chance.choice(self._nodes), chance)

    def _count(self, pointer: Any) -> None:
        self.released += 1
        pointer.contents.release = self._release_type()

    def undo(self) -> None:
        """Release it in truth."""
        for node, content in zip(self._nodes, self._before, strict=True):
            ctypes.memmove(ctypes.addressof(node), content, len(content))
        self.root.release(ctypes.byref(self.root))
