"""Shared libraries with the older JSON symbols as readers and writers: rows cross as JSON text.

A library says "end" and "error" alike, by NULL, and prints errors: what it printed on standard error in a call is the error.
"""

from __future__ import annotations

import ctypes
import json
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from dativo_plugin_sdk import PluginError

from .config import AssetDefinition, SourceConfig, TargetConfig
from .plugins import BaseReader, BaseWriter

_stderr = threading.Lock()


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
        with _printed() as said:
            self._made: int | None = create(config.encode())
        if not self._made:
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

    def call(self, symbol: str, *arguments: bytes) -> tuple[Any, str]:
        """The JSON that a function answered, None for NULL; and what it printed."""
        if self._made is None:
            raise PluginError(f"{self.name} was closed")
        function = self._function(symbol, ctypes.c_void_p, ctypes.c_void_p, *(ctypes.c_char_p for _ in arguments))
        with _printed() as said:
            answer = function(self._made, *arguments)
        if not answer:
            return None, "".join(said)
        try:
            text = ctypes.string_at(answer)
        finally:
            self._free_string(answer)
        try:
            return json.loads(text), "".join(said)
        except ValueError as error:
            raise self.error(f"{symbol} answered what is no JSON: {error}", said) from None

    def error(self, message: str, said: list[str]) -> PluginError:
        text = "".join(said).strip()
        return PluginError(f"plugin {self.name}: {message}{f': {text}' if text else ''}", details={"plugin": self.name})

    def close(self) -> None:
        made, self._made = self._made, None
        if made is not None:
            self._free(made)


@contextmanager
def _printed() -> Iterator[list[str]]:
    """What a native call prints on standard error, which is the process's: one call at a time."""
    said: list[str] = []
    with _stderr, tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            said.append(file.read().decode(errors="replace"))


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
        library = _Library(self.library, self.symbol, self._serialize_config(), "free_reader")
        try:
            rows = 0
            while True:
                self.raise_if_cancelled()
                batch, said = library.call("extract_batch")
                if batch is None and (said.strip() or rows == 0):
                    raise library.error("extract_batch gave nothing", [said])
                if not batch:
                    return
                if not isinstance(batch, list):
                    raise library.error("extract_batch answered no array", [said])
                rows += len(batch)
                yield batch
        finally:
            library.close()


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
        answer, said = self._made.call("write_batch", batch.encode())
        if not isinstance(answer, list):
            raise self._made.error("write_batch answered no array", [said])
        return answer

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
