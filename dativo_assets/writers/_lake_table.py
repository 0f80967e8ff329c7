"""What a lake's table format gives: a table at one version, how its files look, and one swap to the next version."""

from __future__ import annotations

import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain, islice, takewhile
from typing import Any, ClassVar

import pyarrow as pa
from dativo_plugin_sdk import Commit, ConnectionError, DativoError, ValidationError
from dativo_plugin_sdk.arrow import type_name, unify
from dativo_plugin_sdk.records import parse_record

KEPT_IN_VIEW = 1000
"""Commits that are looked through, the newest first."""

ORPHAN_S = 3 * 86400.0
"""How old a file is at least that is taken for one of a dead run: no note on this machine tells of another machine's."""

Range = tuple[Any, Any]
_SECRET_KEY = re.compile(r"secret|token|password|credential|key|auth", re.IGNORECASE)


class MovedError(Exception):
    """The table is not at the version that a swap expected."""


@dataclass(frozen=True)
class LakeFile:
    """A Parquet file of a table. path: absolute, or a URI. partition: its values as JSON. handle: the library's own."""

    path: str
    partition: tuple[Any, ...] = ()
    rows: int = 0
    bytes: int = 0
    handle: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Layout:
    """How a run's files look.

    schema: of the files, with what the format notes in it. parts: (column, values -> partition values) each.
    folder: where they go. target: the table's columns once they are in, as the library has them. added: columns that
    the table lacks. rewrites: whether files that are there have to be written anew, for a column has another type.
    """

    schema: pa.Schema
    folder: str
    parts: tuple[tuple[str, Callable[[pa.Array], pa.Array]], ...] = ()
    target: Any = None
    added: tuple[str, ...] = ()
    rewrites: bool = False


@dataclass(frozen=True)
class Change:
    """One step of a table: files in and out, and the record, together. replaces: whether all files and columns go.
    joins: whether the rows are the same before and after, so that it is no commit of the job.
    """

    layout: Layout
    commit: Commit
    added: tuple[LakeFile, ...] = ()
    removed: tuple[LakeFile, ...] = ()
    replaces: bool = False
    joins: bool = False


class LakeTable(ABC):
    """A table at one version. columns: plain Arrow types. restored: whether somebody took it back behind a commit."""

    version: str
    columns: pa.Schema
    restored: bool = False

    @abstractmethod
    def records(self, job: str) -> Iterator[Commit]:
        """A job's commits that can still be seen, the newest first."""

    def archived(self, job: str, mention: str = "") -> Iterator[Commit]:
        """A job's commits whose versions are expired, the newest first. mention: a text that their records hold."""
        return iter(())

    def joined(self) -> Iterator[Commit]:
        """What joined files, the newest first."""
        return iter(())

    def history(self, job: str) -> Iterator[Commit]:
        """A job's commits, the newest first, also of versions that are expired."""
        oldest = None
        for commit in chain(self.records(job), self.archived(job)):
            if oldest is None or commit.seq < oldest:
                oldest = commit.seq
                yield commit

    @abstractmethod
    def files(self, ranges: Mapping[str, Range] | None = None) -> list[LakeFile]:
        """The data files; those alone that may hold a row whose columns are all within `ranges`, where it is given."""

    @abstractmethod
    def check_rewritable(self) -> None:
        """Raises: ValidationError: where rows are deleted by other means than files, so that files don't tell all."""

    def names(self, schema: pa.Schema) -> list[str]:
        """The table's names of a file's columns."""
        return list(schema.names)

    def constants(self, file: LakeFile) -> Mapping[str, Any]:
        """Values of columns that a file does not hold, for they are the same in all of its rows."""
        return {}

    def last(self, job: str) -> Commit | None:
        """A job's newest commit."""
        return next(self.records(job), None)

    def commit_of(self, job: str, run_id: str, above: int = 0) -> Commit | None:
        """What a run of a job committed, with a sequence above `above`, among the newest commits."""
        recent = chain(islice(self.records(job), KEPT_IN_VIEW), () if above else self.archived(job, run_id))
        later = takewhile(lambda commit: commit.seq > above, recent)
        return next((commit for commit in later if commit.run_id == run_id), None)


class LakeStore(ABC):
    """One table by its name. name: for a person and for staging folders, no secret in it."""

    format: ClassVar[str] = ""
    secrets: tuple[str, ...] = ()

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def load(self) -> LakeTable | None:
        """The table as it is now, None where there is none; asking makes none."""

    def again(self, table: LakeTable) -> LakeTable | None:
        """The same, where it was `table` a moment ago, which nobody swaps from any more."""
        return self.load()

    @abstractmethod
    def layout(self, table: LakeTable | None, schema: pa.Schema, fit: Fit) -> Layout:
        """How rows of `schema` are written. Raises: ValidationError, ConfigurationError: where they can't be; MovedError."""

    @abstractmethod
    def stored(self, data_type: pa.DataType) -> pa.DataType | None:
        """The type that holds every value of another one; None where there is none."""

    @abstractmethod
    def swap(self, table: LakeTable | None, change: Change) -> None:
        """From the version of `table` to the next. Raises: MovedError: where it isn't the newest any more."""

    @abstractmethod
    def output(self, path: str) -> Any:
        """A stream to a new file."""

    @abstractmethod
    def input(self, path: str) -> Any:
        """A file to read, with random access."""

    def size(self, path: str) -> int | None:
        """A file's bytes; None where it is not there."""
        with suppress(FileNotFoundError), self.input(path) as stream:
            stream.seek(0, os.SEEK_END)
            return int(stream.tell())
        return None

    @abstractmethod
    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""

    @abstractmethod
    def expire(self, keep_s: float, *, dry_run: bool) -> tuple[int, str | None]:
        """Forget versions that were replaced more than `keep_s` ago, and remove the files that only they need; the records
        of commits stay. Returns: how many there were, and what else a person may want to know.
        """

    @abstractmethod
    def orphans(self, keep_s: float) -> list[str]:
        """Files in the table's folder that no version names, and that are older than `keep_s` and than any run."""

    def settle(self, path: str) -> None:
        """Force a written file to stable storage, where that is a thing of its own."""

    def known_error(self, error: Exception, text: str) -> DativoError | None:
        """A library's exception as an error of the tree; None leaves it a ConnectionError."""
        return None

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Whatever the library raises, as an error of the tree that names the table and no secret."""
        try:
            yield
        except (DativoError, MovedError):
            raise
        except Exception as error:
            text = (str(error).strip() or type(error).__name__).splitlines()[0]
            for secret in self.secrets:
                text = text.replace(secret, "***")
            found = self.known_error(error, f"{self.name}: {text}")
            raise found or ConnectionError(f"{self.name}: {text}", details={"target": self.name}) from error


def archive_of(records: Iterable[str]) -> bytes:
    """Records of expired versions as a file: one a line, the newest first, as many of each job as are looked through."""
    count: dict[str, int] = {}
    lines = []
    for text in records:
        value = json.loads(text)
        job = str(value.get("job"))
        count[job] = count.get(job, 0) + 1
        if count[job] <= KEPT_IN_VIEW:
            lines.append(json.dumps(value) + "\n")
    return "".join(lines).encode()


def commits_of(lines: Iterable[str], job: str, mention: str, where: str) -> Iterator[Commit]:
    """A job's commits among records whose text holds `mention`."""
    for line in lines:
        if mention in line and (commit := parse_record(line, where)).job == job:
            yield commit


def secrets_of(*given: Mapping[str, Any]) -> tuple[str, ...]:
    """The values of a connection that no error may show."""
    found = {str(value) for keys in given for key, value in keys.items() if value and _SECRET_KEY.search(key)}
    return tuple(sorted(found, key=len, reverse=True))


@dataclass(frozen=True)
class Fit:
    """How a run's columns meet a table's. mode: merge, append, overwrite or partitions. before: of the last commit."""

    mode: str
    job_columns: Mapping[str, str]
    before: Commit | None = None
    ignored: str | None = None

    @property
    def replaces(self) -> bool:
        """Whether the table's columns need not fit."""
        return self.mode == "overwrite"


def fitted(
    store: LakeStore, table: LakeTable | None, schema: pa.Schema, fit: Fit
) -> tuple[pa.Schema, list[str], list[str]]:
    """The columns of a run's files, which of them the table lacks, and which it has in a narrower type.

    Raises: ValidationError: where somebody else changed the table, or the format has no such type.
    """
    fields, added, widened = [], list[str](), list[str]()
    for column in schema:
        data_type = store.stored(column.type)
        if data_type is None:
            raise ValidationError(
                f"column {column.name} is {type_name(column.type)}, which {store.format} has no type for",
                details={"column": column.name},
                hint="declare another type for it in the contract",
            )
        fields.append(pa.field(column.name, data_type))
    if table is None or fit.replaces:
        return pa.schema(fields), added, widened
    _check_unchanged(store, table, fit)
    found = {column.name: column.type for column in table.columns}
    for at, column in enumerate(fields):
        there = found.get(column.name)
        if there is None:
            added.append(column.name)
            continue
        wider = there if holds(there, column.type) else unify(there, column.type)
        if not wider.equals(there):
            _check_widening(store, column, there, fit)
            widened.append(column.name)
        fields[at] = pa.field(column.name, wider)
    return pa.schema(fields), added, widened


def holds(wide: pa.DataType, narrow: pa.DataType) -> bool:
    """Whether a column of one type takes each value of another."""
    nested = pa.types.is_nested(wide) and pa.types.is_nested(narrow)
    return bool(wide.equals(narrow) or unify(wide, narrow).equals(wide)) and (not nested or wide.equals(narrow))


def _check_unchanged(store: LakeStore, table: LakeTable, fit: Fit) -> None:
    if fit.before is None:
        return
    anew = "load it anew: dativo run --full-refresh"
    if table.restored:
        raise ValidationError(
            f"{store.name} was taken back behind commit {fit.before.seq} of {fit.before.job}",
            hint=f"bring it forward again, or {anew}",
        )
    for name in fit.before.schema_text:
        if name not in table.columns.names and name != fit.ignored:
            raise ValidationError(
                f"column {name} of {store.name} is gone, though commit {fit.before.seq} wrote it",
                details={"column": name},
                hint=f"somebody else dropped it: bring it back, or {anew}",
            )


def _check_widening(store: LakeStore, column: pa.Field, there: pa.DataType, fit: Fit) -> None:
    before = None if fit.before is None else fit.before.schema_text.get(column.name)
    if fit.mode == "partitions" or before is None or before == fit.job_columns.get(column.name):
        raise ValidationError(
            f"column {column.name} of {store.name} is {type_name(there)}, and the data is {type_name(column.type)}",
            details={"column": column.name},
            hint="somebody else made or changed the table: change it back, declare the type in a contract, or load it "
            "anew: dativo run --full-refresh",
        )


def stored_type(data_type: pa.DataType, scalar: Callable[[pa.DataType], pa.DataType | None]) -> pa.DataType | None:
    """The type that a lake has for another one, level by level. scalar: the same for numbers, times and fixed bytes."""
    types = pa.types
    if types.is_dictionary(data_type):
        return stored_type(data_type.value_type, scalar)
    if types.is_list(data_type) or types.is_large_list(data_type) or types.is_fixed_size_list(data_type):
        inner = stored_type(data_type.value_type, scalar)
        return None if inner is None else pa.list_(pa.field("element", inner))
    if types.is_struct(data_type):
        fields = [(field.name, stored_type(field.type, scalar)) for field in data_type]
        return None if any(inner is None for _, inner in fields) else pa.struct(fields)
    if types.is_map(data_type):
        key, item = stored_type(data_type.key_type, scalar), stored_type(data_type.item_type, scalar)
        return None if key is None or item is None else pa.map_(key, item)
    if types.is_null(data_type) or types.is_string(data_type) or types.is_large_string(data_type):
        return pa.string()
    if types.is_binary(data_type) or types.is_large_binary(data_type):
        return pa.binary()
    if types.is_timestamp(data_type):
        return pa.timestamp("us", "UTC" if data_type.tz else None)
    if types.is_date(data_type):
        return pa.date32()
    if types.is_float16(data_type):
        return pa.float32()
    if types.is_floating(data_type) or types.is_boolean(data_type) or types.is_decimal128(data_type):
        return data_type
    known = types.is_integer(data_type) or types.is_time(data_type) or types.is_fixed_size_binary(data_type)
    return scalar(data_type) if known else None


def batch_of(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """A batch in `schema`: columns by name, absent ones null. Raises: ValidationError: where a value doesn't fit."""
    arrays = []
    for column in schema:
        at = batch.schema.get_field_index(column.name)
        if at < 0:
            arrays.append(pa.nulls(batch.num_rows, column.type))
            continue
        try:
            array = batch.column(at)
            arrays.append(array if array.type.equals(column.type) else array.cast(column.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise ValidationError(
                f"column {column.name}: {error}",
                details={"column": column.name},
                hint="round it, or declare another type",
            ) from error
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
