"""A library's Arrow stream as record batches, each looked at before anything is done with it."""

from __future__ import annotations

import ctypes
import json
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import byref
from typing import Any

from dativo_plugin_sdk.arrow import as_schema, pyarrow
from dativo_plugin_sdk.errors import CancelledError, DativoError, PluginError

from .abi import ArrowArray, ArrowArrayStream, ArrowSchema
from .load import Library, Owned, is_count

_MAX_DEPTH = 64
_MAX_FIELDS = 1 << 20
_FIXED_BUFFERS = 3  # of views: nulls, views and the sizes of the others
_MAX_ROWS = 2**31 - 1  # what Arrow advises; a length that lies is often far above
Shape = tuple[Any, ...]


class LibraryStream:
    """The batches of one split. At its end `metrics` is what the library counted, JSON text."""

    def __init__(self, library: Library, reader: Owned, split: bytes, cancelled: Callable[[], bool]) -> None:
        self._library, self._reader, self._cancelled = library, reader, cancelled
        self._stream = ArrowArrayStream()
        self._at = byref(self._stream)
        self._release = weakref.finalize(self, _release, self._stream, reader)
        self._release.atexit = False  # as of Owned
        library.call("read", reader.pointer, split, self._at)
        if not (self._stream.release and self._stream.get_schema and self._stream.get_next):
            raise library.broken("read succeeded and left no stream")
        self._next = self._stream.get_next
        self._schema: Any = None
        self._shape: Shape = (), None, False
        self._count = 0
        self.metrics: str | None = None

    def __iter__(self) -> LibraryStream:
        return self

    def __next__(self) -> Any:
        """The next record batch; one without rows, for its schema, where there is none at all."""
        if not self._release.alive:
            raise StopIteration
        try:
            if self._cancelled():
                raise CancelledError("the run was cancelled")
            if self._schema is None:
                self._schema = self._read_schema()
                self._shape = shape_of(pyarrow().struct(self._schema))
            array = ArrowArray()
            if code := self._next(self._at, byref(array)):
                raise self._failed("get_next", code)
            if array.release:
                self._count += 1
                return self._batch(array)
            if self._library.has("metrics"):
                self.metrics = self._read_metrics()
        except BaseException:
            self._release()
            raise
        self._release()
        if self._count == 0:
            self._count = 1
            return _without_rows(self._schema)
        raise StopIteration

    def _read_metrics(self) -> str | None:
        found = self._library.answer("metrics", (dict, type(None)), self._reader.pointer, self._at)
        if found is not None and not is_count(found.get("bad_rows", 0)):
            raise self._library.broken(f"metrics told bad_rows {found['bad_rows']!r}, not how many there are")
        return None if found is None else json.dumps(found)

    def _read_schema(self) -> Any:
        schema = ArrowSchema()
        if code := self._stream.get_schema(self._at, byref(schema)):
            raise self._failed("get_schema", code)
        return import_schema(self._library, schema)

    def _batch(self, array: ArrowArray) -> Any:
        try:
            check_array(array, self._shape)
        except ValueError as error:
            array.release(byref(array))
            raise self._invalid(error) from None
        try:
            batch = pyarrow().RecordBatch._import_from_c(ctypes.addressof(array), self._schema)
            if self._library.about.get("validated") is not True:
                batch.validate(full=True)
        except (ValueError, TypeError) as error:
            raise self._invalid(error) from None
        return batch

    def _invalid(self, error: Exception) -> PluginError:
        return self._library.broken(f"batch {self._count} is not what its schema says: {error}", "INVALID_BATCH")

    def _failed(self, name: str, code: int) -> DativoError:
        said = self._stream.get_last_error(self._at) if self._stream.get_last_error else None
        return self._library.error(name, said.decode(errors="replace") if said else f"it ended with {code}")


def _release(stream: ArrowArrayStream, _: Owned) -> None:
    if stream.release:
        stream.release(byref(stream))


def _without_rows(schema: Any) -> Any:
    pa = pyarrow()
    return pa.record_batch([pa.array([], field.type) for field in schema], schema=schema)


def import_schema(library: Library, schema: ArrowSchema) -> Any:
    """A pyarrow schema of one that the library filled in. Raises: PluginError."""
    if not schema.release:
        raise library.broken("a schema was released before it was read")
    try:
        _check_schema(schema, 0)
    except ValueError as error:
        schema.release(byref(schema))
        raise library.broken(f"its schema is broken: {error}", "INVALID_SCHEMA") from None
    try:
        return pyarrow().Schema._import_from_c(ctypes.addressof(schema))
    except (ValueError, TypeError, NotImplementedError) as error:
        raise library.broken(f"its schema is broken: {error}", "INVALID_SCHEMA") from None


@contextmanager
def filled_schema() -> Iterator[ArrowSchema]:
    """A schema for a library to fill in, released at the end unless it was imported."""
    schema = ArrowSchema()
    try:
        yield schema
    finally:
        if schema.release:
            schema.release(byref(schema))


@contextmanager
def exported(schema: Any) -> Iterator[Any]:
    """A pointer to a schema that is lent to a library; NULL for None."""
    if schema is None:
        yield None
        return
    with filled_schema() as lent:
        as_schema(schema)._export_to_c(ctypes.addressof(lent))
        yield byref(lent)


def _check_schema(schema: ArrowSchema, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError(f"it is nested more than {_MAX_DEPTH} levels deep")
    if schema.format is None:
        raise ValueError("a format is NULL")
    _check_children(schema)
    for index in range(schema.n_children):
        _check_schema(schema.children[index].contents, depth + 1)
    if schema.dictionary:
        _check_schema(schema.dictionary.contents, depth + 1)


def _check_children(one: ArrowSchema | ArrowArray) -> None:
    if not 0 <= one.n_children <= _MAX_FIELDS:
        raise ValueError(f"it has {one.n_children} children")
    if one.n_children and not (one.children and all(one.children[index] for index in range(one.n_children))):
        raise ValueError("a child is NULL")


def shape_of(data_type: Any) -> Shape:
    """The shapes of the children of an array of that type, that of its dictionary, and whether it has views."""
    data_type = getattr(data_type, "storage_type", data_type)
    children = tuple(shape_of(data_type.field(index).type) for index in range(data_type.num_fields))
    words = shape_of(data_type.value_type) if hasattr(data_type, "index_type") else None
    types = pyarrow().types
    return children, words, types.is_string_view(data_type) or types.is_binary_view(data_type)


def check_array(array: ArrowArray, shape: Shape) -> None:
    """What pyarrow takes on trust. Raises: ValueError."""
    children, words, views = shape
    if not (0 <= array.length <= _MAX_ROWS and 0 <= array.offset <= _MAX_ROWS):
        raise ValueError(f"it has length {array.length} and offset {array.offset}")
    if array.n_children != len(children):
        raise ValueError(f"it has {array.n_children} children, not {len(children)}")
    if array.n_buffers < 0 or (array.n_buffers and not array.buffers):
        raise ValueError("its buffers are NULL")
    if views and array.n_buffers > _FIXED_BUFFERS and not array.buffers[array.n_buffers - 1]:
        raise ValueError("its buffers' sizes are NULL")
    if children:
        _check_children(array)
        for child, inner in zip(array.children[: len(children)], children, strict=True):
            check_array(child.contents, inner)
    if words is not None:
        if not array.dictionary:
            raise ValueError("its dictionary is NULL")
        check_array(array.dictionary.contents, words)
