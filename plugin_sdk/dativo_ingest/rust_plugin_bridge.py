"""Shared libraries with the older JSON symbols as readers and writers: rows cross as JSON text.

A library says "end" and "error" alike, by NULL, and prints errors: what it printed on standard error in a call is the error.
That is the standard error of the whole process: jobs give such a library a process of its own, but with `isolation: none`.
The text becomes columns natively, of the types that its first row shows.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar

from dativo_plugin_sdk import PluginError, Split
from dativo_plugin_sdk.arrow import pyarrow
from dativo_plugin_sdk.rows import Rows

from .config import AssetDefinition, SourceConfig, TargetConfig
from .plugins import BaseReader, BaseWriter

if TYPE_CHECKING:
    import pyarrow as pa

_stderr = threading.Lock()
_EMPTY = re.compile(rb"\s*\[\s*\]\s*")


class _Library:
    """A loaded library and the object that its `create` symbol made."""

    def __init__(self, path: str, symbol: str, config: str, free: str) -> None:
        self.name = f"{path}:{symbol}"
        try:
            self._library = ctypes.CDLL(os.path.abspath(path))
        except OSError as error:
            raise PluginError(
                f"the library {path} can't be loaded: {error}", hint="build it for this machine"
            ) from None
        create = self._function(symbol, ctypes.c_void_p, ctypes.c_char_p)
        self._free = self._function(free, None, ctypes.c_void_p)
        self._free_string = self._function("free_string", None, ctypes.c_void_p)
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
        with _printed(self._output) as said:
            self._made: int | None = create(config.encode())
        if not self._made:
            self._output.close()
            raise self.error(f"{symbol} gave nothing", said)

    def _function(self, symbol: str, result: Any, *arguments: Any) -> Any:
        try:
            found = getattr(self._library, symbol)
        except AttributeError:
            raise PluginError(
                f"{self.name} has no symbol {symbol}", hint=f'export it: #[no_mangle] pub extern "C" fn {symbol}'
            ) from None
        found.restype, found.argtypes = result, list(arguments)
        return found

    def call(self, symbol: str, *arguments: bytes) -> tuple[bytes | None, list[str]]:
        """The JSON that a function answered, None for NULL; and what it printed."""
        if self._made is None:
            raise PluginError(f"{self.name} was closed")
        function = self._function(symbol, ctypes.c_void_p, ctypes.c_void_p, *(ctypes.c_char_p for _ in arguments))
        with _printed(self._output) as said:
            answer = function(self._made, *arguments)
        if not answer:
            return None, said
        try:
            return ctypes.string_at(answer), said
        finally:
            self._free_string(answer)

    def array(self, symbol: str, text: bytes | None, said: list[str]) -> list[Any]:
        """The array that a function answered. Raises: PluginError: where it answered something else."""
        try:
            value = None if text is None else json.loads(text)
        except ValueError as error:
            raise self.error(f"{symbol} answered what is no JSON: {error}", said) from None
        if not isinstance(value, list):
            raise self.error(f"{symbol} answered no array", said)
        return value

    def error(self, message: str, said: list[str]) -> PluginError:
        text = "".join(said).strip()
        return PluginError(f"plugin {self.name}: {message}{f': {text}' if text else ''}", details={"plugin": self.name})

    def close(self) -> None:
        made, self._made = self._made, None
        if made is not None:
            self._free(made)
            self._output.close()


@contextmanager
def _printed(file: IO[bytes]) -> Iterator[list[str]]:
    """What a native call prints on standard error, which is the process's: one call at a time. file: where it goes meanwhile."""
    said: list[str] = []
    with _stderr:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            if file.seek(0, os.SEEK_END):
                file.seek(0)
                said.append(file.read().decode(errors="replace"))
                file.seek(0)
                file.truncate()


class RustReaderWrapper(BaseReader):
    """A reader in a shared library."""

    library: ClassVar[str] = ""
    symbol: ClassVar[str] = "create_reader"

    def _serialize_config(self) -> str:
        """The configuration as the library takes it; what is absent is {} or []."""
        config: SourceConfig = self.source_config
        return json.dumps(
            {
                "type": config.type,
                "connection": config.connection or {},
                "credentials": config.credentials or {},
                "objects": config.objects or [],
                "files": config.files or [],
                "incremental": config.incremental or {},
                "engine": config.engine or {},
            }
        )

    def extract(self, state_manager: Any = None) -> Iterator[list[dict[str, Any]]]:
        for library, text, said in self._answers():
            if rows := library.array("extract_batch", text, said):
                yield rows

    def read(self, split: Split) -> Iterator[pa.RecordBatch]:
        rows = Rows(self._request.schema, self._request.widen)
        parser = None
        for library, text, said in self._answers():
            parser = parser or _parser(rows, text)
            parsed = None if parser is None else parser.parse_array(text)
            if parsed is None:
                parser = None  # more is known of the columns now
                yield from rows.convert(library.array("extract_batch", text, said))
            else:
                yield from rows.convert(pyarrow().record_batch(parsed))

    def _answers(self) -> Iterator[tuple[_Library, bytes, list[str]]]:
        """Each batch as JSON, and what was printed meanwhile. Raises: PluginError: for a NULL that is not the end."""
        library = _Library(self.library, self.symbol, self._serialize_config(), "free_reader")
        try:
            for number in itertools.count():
                self.raise_if_cancelled()
                text, said = library.call("extract_batch")
                if text is None and (number == 0 or "".join(said).strip()):
                    raise library.error("extract_batch gave nothing", said)
                if text is None or _EMPTY.fullmatch(text):
                    return
                yield library, text, said
        finally:
            library.close()


def _parser(rows: Rows, text: bytes) -> Any:
    """Native code for columns as these rows have them, or a text begins with; None where that can't be told."""
    try:
        from dativo_rust_json import Lines

        row, _ = json.JSONDecoder().raw_decode(text.decode(), text.index(b"{"))
    except (ImportError, ValueError):
        return None
    schema = rows.expected(row)
    return None if schema is None else Lines(schema, False)


class RustWriterWrapper(BaseWriter):
    """A writer in a shared library."""

    library: ClassVar[str] = ""
    symbol: ClassVar[str] = "create_writer"
    _made: _Library | None = None

    def _serialize_config(self) -> str:
        """The configuration as the library takes it; what is absent is {} or []."""
        asset: AssetDefinition = self.asset_definition
        config: TargetConfig = self.target_config
        return json.dumps(
            {
                "asset_name": asset.name,
                "schema": asset.schema,
                "output_base": self.output_base,
                "target_type": config.type,
                "connection": config.connection or {},
                "file_format": config.file_format or {},
                "engine": config.engine or {},
            }
        )

    def write_batch(self, records: list[dict[str, Any]], file_counter: int) -> list[dict[str, Any]]:
        if self._made is None:
            self._made = _Library(self.library, self.symbol, self._serialize_config(), "free_writer")
        batch = json.dumps({"records": records, "file_counter": file_counter}, default=str)
        return self._made.array("write_batch", *self._made.call("write_batch", batch.encode()))

    def commit_files(self, file_metadata: list[dict[str, Any]]) -> dict[str, Any]:
        self.close()
        return super().commit_files(file_metadata)

    def close(self) -> None:
        if self._made is not None:
            self._made.close()


def create_rust_reader_wrapper(library: str, symbol: str = "create_reader") -> type[RustReaderWrapper]:
    """The class of a library's reader."""
    return type("RustReader", (RustReaderWrapper,), {"library": str(Path(library)), "symbol": symbol})


def create_rust_writer_wrapper(library: str, symbol: str = "create_writer") -> type[RustWriterWrapper]:
    """The class of a library's writer."""
    return type("RustWriter", (RustWriterWrapper,), {"library": str(Path(library)), "symbol": symbol})
