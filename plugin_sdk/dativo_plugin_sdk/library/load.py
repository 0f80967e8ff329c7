"""From a file and a symbol to a plugin's table: what can be looked at is looked at before it is called."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import re
import struct
import weakref
from collections.abc import Callable
from ctypes import byref, c_void_p
from typing import Any

from dativo_plugin_sdk.errors import DativoError, PluginError, from_dict, from_text
from dativo_plugin_sdk.version import API_VERSION, api_versions, check_api_version

from .abi import FORMAT, MAGIC, READER, TABLES, WRITER, Head, Host, Table, field_offset, size_of
from .host import Secrets, host_for

_MAX_TABLE_BYTES = 1 << 16
_KINDS = {READER: "reader", FORMAT: "writer", WRITER: "writer"}
_EXAMPLES = {"reader": "dativo_reader", "writer": "dativo_format or dativo_writer"}
_MACHINES = {3: "x86", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64", 21: "ppc64le", 22: "s390x"}


class Library:
    """A plugin of a loaded library. reference: as a job names it. kind: of its table. about: what it says of itself."""

    def __init__(self, reference: str, table: Table, about: dict[str, Any], secrets: Secrets) -> None:
        self.reference = reference
        self.secrets = secrets
        self.kind = table.head.kind
        self.about = about
        self.name: str = about["name"]
        self.version = str(about.get("version") or "1.0.0")
        self.table_version = table.head.api_version
        self.api_version = api_versions(about.get("api_version", self.table_version))
        found = {name: getattr(table, name) for name in table.functions()}
        self.functions: dict[str, Callable[..., Any]] = {name: call for name, call in found.items() if call}
        self._free_text = table.head.free_text

    def has(self, name: str) -> bool:
        """Whether the library has an optional function."""
        return name in self.functions

    def call(self, name: str, *arguments: Any) -> str | None:
        """The text that a function answered. Raises: DativoError: its error, naming the plugin."""
        answer = c_void_p()
        status = self.functions[name](*arguments, byref(answer))
        text = None
        if answer.value is not None:
            text = ctypes.string_at(answer.value).decode(errors="replace")
            self._free_text(answer)
        if status != 0:
            raise self.error(name, text)
        return text

    def answer(self, name: str, kinds: type | tuple[type, ...], *arguments: Any) -> Any:
        """The JSON value that a function answered, of one of these kinds."""
        text = self.call(name, *arguments)
        try:
            value = None if text is None else json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self.broken(f"{name} answered what is no JSON: {error}") from None
        if not isinstance(value, kinds):
            raise self.broken(f"{name} answered {_shortened(text)}, which is not what the header says")
        return value

    def make(self, name: str, close: str, *arguments: Any, holds: Owned | None = None) -> Owned:
        """What a function makes, closed when nobody holds it any more, and before what it holds."""
        made = c_void_p()
        self.call(name, *arguments, byref(made))
        if made.value is None:
            raise self.broken(f"{name} succeeded and made nothing")
        return Owned(made.value, self.functions[close], holds)

    def error(self, name: str, text: str | None) -> DativoError:
        """The error that a library told."""
        if (told := from_text(text or "")) is not None:
            return told.at(plugin=self.reference)
        try:
            value = json.loads(text or "")
            found = from_dict({**value, "details": dict(value.get("details") or {}), "message": value["message"]})
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            said = (text or "").strip()
            found = PluginError(f"plugin {self.name}: {name} failed{f': {said}' if said else ' and told no reason'}")
        return found.at(plugin=self.reference)

    def broken(self, what: str, code: str | None = None) -> PluginError:
        """The error of a plugin that does not do as the header says."""
        return PluginError(
            f"plugin {self.name}: {what}",
            code,
            {"plugin": self.reference},
            hint=f"this is a defect of {self.name}: see dativo_plugin.h",
        )


class Owned:
    """A pointer of the library's own. holds: what it was made of, closed after it."""

    def __init__(self, pointer: int, close: Callable[[int], Any], holds: Owned | None = None) -> None:
        self.pointer = pointer
        # Not at exit: a thread may still be inside.
        weakref.finalize(self, _close, close, pointer, holds).atexit = False


def _close(close: Callable[[int], Any], pointer: int, _: Owned | None) -> None:
    close(pointer)


def is_count(value: Any) -> bool:
    """Whether a JSON value says how many."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _shortened(text: str | None) -> str:
    return "nothing" if text is None else text[:80]


def open_library(path: str, reference: str) -> ctypes.CDLL:
    """A library, loaded. Raises: PluginError: for a file that is no library of this machine, or lacks what it needs."""
    _check_image(path, reference)
    try:
        return ctypes.CDLL(os.path.abspath(path))
    except OSError as error:
        raise _refused(reference, f"can't be loaded: {error}", "build it on this machine, and what it needs") from None


def load(library: ctypes.CDLL, symbol: str, kind: str, reference: str) -> Library:
    """The plugin that a symbol of a library gives. kind: "reader" or "writer".

    Raises: PluginError: for one without that symbol, or with another table than the header's. PluginVersionError: for one of a
    newer API.
    """
    try:
        entry = getattr(library, symbol)
    except AttributeError:
        raise _refused(
            reference, f"has no symbol {symbol}", "export it: const dativo_plugin *NAME(const dativo_host *host)"
        ) from None
    entry.restype, entry.argtypes = c_void_p, [ctypes.POINTER(Host)]
    secrets = Secrets()
    address = entry(byref(host_for(reference, symbol, secrets)))
    if not address:
        raise _refused(reference, "returned NULL instead of a table", f"it may need another API than {API_VERSION}")
    return _checked(address, kind, reference, secrets)


def _refused(reference: str, what: str, hint: str) -> PluginError:
    return PluginError(f"plugin {reference} {what}", None, {"plugin": reference}, hint=hint)


def _check_image(path: str, reference: str) -> None:
    """An ELF file is of this machine and whole: one that was cut would kill the process that loads it."""
    with open(path, "rb") as file:
        head = file.read(64)
        size = os.fstat(file.fileno()).st_size
    if len(head) < 64 or head[:4] != b"\x7fELF" or head[4] not in (1, 2) or head[5] not in (1, 2):
        if platform.system() != "Linux":
            return
        raise _refused(reference, "is no shared library", "build it with -shared")
    order = "<" if head[5] == 1 else ">"
    machine = struct.unpack_from(f"{order}H", head, 18)[0]
    name, bits = _MACHINES.get(machine, f"machine {machine}"), 32 * head[4]
    known = platform.machine() in _MACHINES.values()
    if bits != 8 * ctypes.sizeof(c_void_p) or (known and name != platform.machine()):
        here = f"this is {platform.machine()}"
        raise _refused(reference, f"was built for {name}, {bits} bits; {here}", "build it for this machine")
    if bits == 32:
        return
    offset = struct.unpack_from(f"{order}Q", head, 40)[0]
    entry_size, count = struct.unpack_from(f"{order}HH", head, 58)
    if offset + entry_size * count > size:
        raise _refused(reference, f"was cut: {size:,} bytes are there", "build or copy it again")


def _checked(address: int, kind: str, reference: str, secrets: Secrets) -> Library:
    head = Head.from_address(address)
    if head.magic != MAGIC:
        raise _refused(reference, "gave no table of dativo_plugin.h", "does the symbol name another function?")
    check_api_version(reference, head.api_version)
    table = TABLES.get(head.kind)
    if table is None or _KINDS[head.kind] != kind:
        found = f"a {_KINDS[head.kind]}" if table else f"of kind {head.kind}"
        raise _refused(reference, f"is {found}, no {kind}", f"a {kind} gives a {_EXAMPLES[kind]}")
    last = table.required[-1]
    smallest = field_offset(table, last) + ctypes.sizeof(c_void_p)
    if not smallest <= head.size <= _MAX_TABLE_BYTES:
        raise _refused(
            reference,
            f"gave a table of {head.size:,} bytes; with all that is required it has {smallest} or more",
            "set size to sizeof the table, and compile it with the header of this version",
        )
    copy = table()
    ctypes.memmove(byref(copy), address, min(head.size, size_of(table)))
    missing = [name for name in table.required if not getattr(copy, name)]
    if missing or not copy.head.free_text:
        raise _refused(
            reference, f"has NULL for {', '.join(missing or ['free_text'])}", "set the functions that are not optional"
        )
    return Library(reference, copy, _about(copy.head.about, head.kind, reference), secrets)


def _about(text: bytes | None, kind: int, reference: str) -> dict[str, Any]:
    try:
        about = json.loads(text or b"")
    except (ValueError, RecursionError) as error:
        raise _refused(reference, f"says what is no JSON of itself: {error}", "set about to a JSON object") from None
    for key in ("name", "extension") if kind == FORMAT else ("name",):
        value = about.get(key) if isinstance(about, dict) else None
        if not isinstance(value, str) or not re.fullmatch(r"\w[\w.-]*", value):
            raise _refused(reference, f"has no {key} in about", 'about: {"name": "...", ...}: letters and digits')
    try:
        api_versions(about.get("api_version", API_VERSION))
    except ValueError as error:
        raise _refused(
            reference, f"has no api_version in about: {error}", "leave it out, or [oldest, newest]"
        ) from None
    return dict(about)
