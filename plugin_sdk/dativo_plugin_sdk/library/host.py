"""What libraries are offered: lines for the run's log, and files by URI."""

from __future__ import annotations

import ctypes
import itertools
import logging
import re
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

from dativo_plugin_sdk.errors import ConfigurationError, PluginError, to_text, wrap_exception
from dativo_plugin_sdk.files import FileReader
from dativo_plugin_sdk.remote import RangeReader, is_remote, shown
from dativo_plugin_sdk.version import API_VERSION, MIN_API_VERSION

from .abi import Close, FreeText, Host, Log, Open, Read, size_of

_OK, _FAILED = 0, 1
_SECRET = re.compile(r"pass|secret|token|key|dsn|credential", re.IGNORECASE)
_SHORTEST_SECRET = 4


class Secrets:
    """What shows as *** where a library writes it to the log."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def keep(self, credentials: Mapping[str, Any], connection: Mapping[str, Any]) -> None:
        told = [*credentials.values(), *(value for key, value in connection.items() if _SECRET.search(key))]
        self._known.update(text for text in _texts(told) if len(text) >= _SHORTEST_SECRET)

    def masked(self, text: str) -> str:
        for secret in sorted(self._known, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def host_for(reference: str, symbol: str, secrets: Secrets) -> Host:
    """A dativo_host for one plugin, which lives as long as the process."""
    logger = logging.getLogger(f"dativo.plugin.{symbol}")

    def log(_: Any, level: int, text: bytes | None) -> None:
        said = secrets.masked((text or b"").decode(errors="replace"))
        logger.log(min(max(level, logging.DEBUG), logging.ERROR), said, extra={"fields": {"plugin": reference}})

    host = Host(API_VERSION, size_of(Host), None, Log(log), MIN_API_VERSION, *_FILES)
    _KEPT.append(host)
    return host


class Lent:
    """The files of one source, as its library opens them for as long as this lives. name: what the library says for it."""

    def __init__(self, files: FileReader) -> None:
        self._files = files
        self.name = f"storage-{next(_numbers)}"
        _lent[self.name] = self

    def open(self, uri: str) -> RangeReader:
        if not is_remote(uri):
            raise ConfigurationError(f"{shown(uri)} is no URI that can be read", hint="s3://bucket/path, https://...")
        return self._files.open_ranges(uri)


_KEPT: list[Host] = []
_numbers = itertools.count(1)
_lent: weakref.WeakValueDictionary[str, Lent] = weakref.WeakValueDictionary()
_open_files: dict[int, RangeReader] = {}
_answers: dict[int, Any] = {}


def _open(_: Any, storage: bytes | None, uri: bytes | None, file: Any, size: Any, answer: Any) -> int:
    try:
        lent = _lent.get((storage or b"").decode(errors="replace"))
        if lent is None:
            raise PluginError("it opens a file by a storage that is none", hint="give `storage` of the reader's config")
        ranges = lent.open((uri or b"").decode(errors="replace"))
        number = next(_numbers)
        _open_files[number] = ranges
        file[0], size[0] = number, ranges.size
    except BaseException as error:
        return _failed(error, answer)
    return _OK


def _read(_: Any, file: int | None, start: int, end: int, ahead: int, into: int | None, answer: Any) -> int:
    try:
        ranges = _open_files.get(file or 0)
        if ranges is None or into is None or not start <= end <= ranges.size:
            raise PluginError(f"it reads {start} to {end} of a file that is not open or has no such bytes")
        block = ranges.read(start, end, min(ahead, ranges.size))
        ctypes.memmove(into, block, end - start)
    except BaseException as error:
        return _failed(error, answer)
    return _OK


def _close(_: Any, file: int | None) -> None:
    ranges = _open_files.pop(file or 0, None)
    if ranges is not None:
        ranges.close()


def _failed(error: BaseException, answer: Any) -> int:
    text = ctypes.create_string_buffer(to_text(wrap_exception(error)).encode())
    address = ctypes.addressof(text)
    _answers[address] = text
    answer[0] = address
    return _FAILED


def _free_text(_: Any, text: int | None) -> None:
    _answers.pop(text or 0, None)


_FILES = Open(_open), Read(_read), Close(_close), FreeText(_free_text)
