"""A library made of chance, in this process: each function of its table answers well, or what the header forbids.

It keeps count of what was made and given back. `python tests/sdk/fuzz_library.py` drives it.
"""

from __future__ import annotations

import ctypes
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dativo_plugin_sdk.library.abi import (
    FORMAT,
    MAGIC,
    READER,
    WRITER,
    ArrowArray,
    ArrowArrayStream,
    ArrowSchema,
    FormatTable,
    ReaderTable,
    Table,
    WriterTable,
    size_of,
)

_TABLES: dict[int, type[Table]] = {READER: ReaderTable, FORMAT: FormatTable, WRITER: WriterTable}
_OPTIONS = {
    "type": "object",
    "required": ["mode"],
    "properties": {
        "mode": {"type": "string", "default": "a", "pattern": "^a"},
        "size": {"type": ["integer", "null"], "minimum": 0, "default": 3},
        "kinds": {"type": "array", "items": {"enum": ["x", "y"]}, "default": []},
    },
}
_COMMIT = {"job": "j", "seq": 1, "run_id": "r", "cursor": {"at": 1}, "files": ["a"], "schema_text": {"n": "int64"}}
_ERROR = {"kind": "ConnectionError", "message": "the line was cut", "retryable": True, "details": {"row": 7}}
_GOOD: dict[str, Any] = {
    "plan": {
        "splits": [{"id": "one", "payload": {"a": 1}, "rows": 3}],
        "cursor": {"at": 1},
        "applied": ["limit"],
        "notes": ["n"],
    },
    "check": {"success": True, "message": "fine", "details": {}},
    "discover": {"objects": [{"name": "a"}], "metadata": {}},
    "probe": "7",
    "metrics": {"bad_rows": 4},
    "last_commit": _COMMIT,
    "commit": _COMMIT,
    "history": [_COMMIT],
    "snapshot": {"seq": 1, "uri": "file:///a", "format": "parquet", "files": ["a"]},
    "finish": {"rows": 3},
}
_ODD = (None, True, 0, -1, 2**70, 1.5, "", "x", [], {}, [[]], {"a": None}, "\0", "\ud83d\ude00")
_ENDLESS_BATCHES = 20


class FakedLibrary:
    """What `load_library` takes for a loaded library. fill: fills in a schema or an array, which may lie."""

    def __init__(self, kind: int, chance: random.Random, fill: Callable[[ArrowSchema | ArrowArray], None]) -> None:
        self.kind, self._chance, self._fill = kind, chance, fill
        self._texts: dict[int, Any] = {}
        self._alive: dict[int, str] = {}
        self._streams = 0
        self._next = 1000
        self._kept: list[Any] = []
        self.faults: list[str] = []
        """What the host did that the header forbids."""
        self._table = self._make_table()

    def __getattr__(self, symbol: str) -> Any:
        if symbol != "faked":
            raise AttributeError(symbol)

        def entry(_: Any) -> int | None:
            return ctypes.addressof(self._table) if self._often() else self._chance.choice((None, self._scrap()))

        return entry

    @property
    def kind_name(self) -> str:
        return "reader" if self.kind == READER else "writer"

    def left(self) -> list[str]:
        """What was made and not given back."""
        return [*self._alive.values(), *("text" for _ in self._texts), *("stream" for _ in range(self._streams))]

    def _often(self, of: int = 24) -> bool:
        return self._chance.randrange(of) > 0

    def _scrap(self) -> int:
        scrap = ctypes.create_string_buffer(self._chance.randbytes(256))
        self._kept.append(scrap)
        return ctypes.addressof(scrap)

    # ---- the table

    def _make_table(self) -> Table:
        made = _TABLES[self.kind]()
        for name, kind in made._fields_[1:]:
            if self._often() or (name not in made.required and self._often(3)):
                setattr(made, name, self._function(name, kind))
        head, odd = made.head, self._chance.choice
        head.magic = MAGIC if self._often(40) else odd((0, 1, 2**32 - 1))
        head.api_version = 1 if self._often(40) else odd((0, 2, 2**32 - 1))
        head.size = size_of(type(made)) if self._often(10) else odd((0, 40, 48, 56, 64, 72, 80, 2**20, 2**32 - 1))
        head.kind = self.kind if self._often(40) else odd((0, 4, 2**31))
        if self._often(40):
            head.about = self._about()
        if self._often(40):
            head.free_text = self._kept_call(dict(type(head)._fields_)["free_text"], self._free_text)
        return made

    def _about(self) -> bytes:
        about: dict[str, Any] = {"name": "faked", "version": "1", "options_schema": _OPTIONS, "extension": "x"}
        about |= {"modes": ["append"], "files": self._chance.random() < 0.2, "api_version": [1, 1]}
        return self._garbled(about, 6)

    def _garbled(self, value: Any, of: int = 3) -> bytes:
        """JSON, mostly: with a value changed, cut, or no JSON at all."""
        if self._often(of):
            return json.dumps(value).encode()
        choice = self._chance.randrange(6)
        if choice < 3:
            return json.dumps(self._changed(value)).encode()
        text = json.dumps(value).encode()
        if choice == 3:
            return text[: self._chance.randrange(len(text) + 1)]
        if choice == 4:
            at = self._chance.randrange(len(text))
            return text[:at] + self._chance.randbytes(3).replace(b"\0", b"") + text[at + 1 :]
        return self._chance.choice((b"", b"[" * 100_000, b"\xff", b"nan", b'{"dativo_error": ', b"x" * 100_000))

    def _changed(self, value: Any) -> Any:
        if isinstance(value, dict) and value and self._often(4):
            key = self._chance.choice(list(value))
            return {**value, key: self._changed(value[key])}
        if isinstance(value, list) and value and self._often(4):
            return [self._changed(value[0]), *value[1:]]
        return self._chance.choice(_ODD)

    # ---- its functions

    def _kept_call(self, kind: Any, call: Callable[..., Any]) -> Any:
        made = kind(call)
        self._kept.append(made)
        return made

    def _function(self, name: str, kind: Any) -> Any:
        if name in ("close", "split_close"):
            return self._kept_call(kind, lambda pointer: self._close(pointer))
        if name in ("cancel", "abort"):
            return self._kept_call(kind, lambda pointer: self._known(name, pointer))
        if name == "bytes_written":
            return self._kept_call(kind, lambda pointer: self._chance.choice((0, 7, -1, 2**63 - 1)))
        return self._kept_call(kind, lambda *arguments: self._answer(name, *arguments))

    def _known(self, name: str, pointer: int | None) -> None:
        if pointer not in self._alive:
            self.faults.append(f"{name} of what is not alive")

    def _close(self, pointer: int | None) -> None:
        self._known("close", pointer)
        self._alive.pop(pointer or 0, None)

    def _free_text(self, address: int | None) -> None:
        if self._texts.pop(address or 0, None) is None:
            self.faults.append("free_text of what is not alive")

    def _answer(self, name: str, *arguments: Any) -> int:
        """What every function that may fail does; an exception here is a fault of this test."""
        *given, answer = arguments
        if name != "create":
            self._known(name, given[0])
        fails = not self._often(16)
        if name in ("create", "split") and not fails:
            self._give(given[-1])
        if name == "create" and self.kind == FORMAT and self._often(8):
            Path(given[0].decode()).touch()
        if name == "plan" and self._chance.random() < 0.3:
            self._fill(given[3].contents)
        if name == "read" and (not fails) and self._often():
            self._stream(given[2].contents)
        if name == "write" and self._chance.random() < 0.3:
            given[1].contents.release(given[1])
        good = (
            [{"kind": "data", "rows": 3, "payload": {}}]
            if name == "finish" and self.kind == WRITER
            else _GOOD.get(name)
        )
        if (fails and self._often(3)) or good is not None or not self._often(8):
            self._tell(answer, self._garbled(_ERROR if fails else good))
        return self._chance.choice((1, 77, -1)) if fails else 0

    def _give(self, out: Any) -> None:
        if not self._often(40):
            return
        self._next += 16
        self._alive[self._next] = "pointer"
        out[0] = self._next

    def _tell(self, answer: Any, text: bytes) -> None:
        if not self._often(12):
            return
        made = ctypes.create_string_buffer(text)
        self._texts[ctypes.addressof(made)] = made
        answer[0] = ctypes.addressof(made)

    # ---- streams

    def _stream(self, out: ArrowArrayStream) -> None:
        kinds = dict(ArrowArrayStream._fields_)
        state = {"left": self._chance.choice((0, 1, 2, _ENDLESS_BATCHES)), "ended": False}
        said = ctypes.create_string_buffer(self._garbled(_ERROR))
        self._kept.append(said)

        def get_schema(_: Any, schema: Any) -> int:
            if not self._often():
                return 5
            self._fill(schema.contents)
            return 0

        def get_next(_: Any, array: Any) -> int:
            if state["ended"]:
                self.faults.append("get_next after the end")
            if not self._often(12):
                state["ended"] = True
                return 5
            state["ended"] = state["left"] <= 0
            state["left"] -= 1
            if not state["ended"]:
                self._fill(array.contents)
            return 0

        def release(stream: Any) -> None:
            self._streams -= 1
            stream.contents.release = kinds["release"]()

        calls = {"get_schema": get_schema, "get_next": get_next, "release": release}
        for name, call in calls.items():
            if name == "release" or self._often(40):
                setattr(out, name, self._kept_call(kinds[name], call))
        if self._often(4):
            address = ctypes.addressof(said)
            last_error = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(lambda _: address)
            self._kept.append(last_error)
            out.get_last_error = ctypes.cast(last_error, kinds["get_last_error"])
        self._streams += 1
