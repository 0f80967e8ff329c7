"""What crosses the plugin boundary as control: frozen, and JSON wherever it may leave the process.

Plain dataclasses: a run of a small job takes less time than pydantic takes to load, so it is left to options and their errors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from typing_extensions import Self

    from .partition_rows import PartitionSelection

Mode = Literal["append", "overwrite", "merge"]
Strategy = Literal["full_refresh", "append", "updated_at", "file", "file_modified_time", "snapshot"]
Json = dict[str, Any]


# Annotation -> what its values are; a list is taken for a tuple, as JSON has it.
_KINDS: dict[str, type | tuple[type, ...]] = {
    "str": str,
    "int": int,
    "float": (int, float),
    "str | None": (str, type(None)),
    "tuple[str, ...]": tuple,
    "tuple[dict[str, Any], ...]": tuple,
    "dict[str, Any]": dict,
    "dict[str, str]": dict,
    "dict[str, Any] | None": (dict, type(None)),
}


class Model:
    """What the frozen dataclasses that are also kept as JSON have in common."""

    def __post_init__(self) -> None:
        """Raises: ValueError: for a value of another kind than its field's."""
        for name, kind, annotation in _checked(type(self)):  # type: ignore[arg-type]
            value = getattr(self, name)
            if kind is tuple and isinstance(value, list):
                value = tuple(value)
                object.__setattr__(self, name, value)
            if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
                raise ValueError(f"{type(self).__name__}.{name} is a {type(value).__name__}, not {annotation}")

    @classmethod
    def model_validate(cls, value: Mapping[str, Any]) -> Self:
        """From a mapping. Raises: ValueError: for keys it does not know, keys it wants, and values of another kind."""
        known = {item.name: item for item in fields(cls)}  # type: ignore[arg-type]
        if unknown := sorted(set(value) - set(known)):
            raise ValueError(f"{cls.__name__} has no {unknown[0]}")
        for name, item in known.items():
            if item.default is MISSING and item.default_factory is MISSING and name not in value:
                raise ValueError(f"{cls.__name__} needs {name}")
        return cls(**value)

    @classmethod
    def model_validate_json(cls, text: str | bytes) -> Self:
        """From JSON text. Raises: ValueError."""
        return cls.model_validate(json.loads(text))

    def model_copy(self, *, update: Mapping[str, Any]) -> Self:
        """The same with other values."""
        return replace(self, **update)  # type: ignore[type-var]

    def model_dump(self, *, mode: Literal["json"] = "json") -> Json:
        """As JSON would give it back."""
        found: Json = json.loads(self.model_dump_json())
        return found

    def model_dump_json(self, indent: int | None = None) -> str:
        separators = (",", ":") if indent is None else None
        return json.dumps(vars(self), default=_json, indent=indent, separators=separators, ensure_ascii=False)


@cache
def _checked(model: type) -> tuple[tuple[str, type | tuple[type, ...], str], ...]:
    """(name, kind, annotation) of the fields whose values are looked at."""
    found = ((item.name, str(item.type)) for item in fields(model))
    return tuple((name, _KINDS[text], text) for name, text in found if text in _KINDS)


def _json(value: Any) -> Any:
    return vars(value) if isinstance(value, Model) else str(value)


@dataclass(frozen=True, kw_only=True)
class Incremental(Model):
    """How a run finds what is new.

    cursor_field: the column that only grows. lookback_s: seconds (or units of a number) to read again before the cursor.
    changed: what becomes of a file that changed since it was read. compare: what tells that it did.
    """

    strategy: Strategy = "full_refresh"
    cursor_field: str | None = None
    lookback_s: float = 0
    null_cursor: Literal["fail", "include", "quarantine"] = "fail"
    changed: Literal["reread", "fail", "ignore"] = "reread"
    compare: Literal["modified", "content"] = "modified"


@dataclass(frozen=True, kw_only=True)
class Upstream(Model):
    """An upstream table as a derived job sees it: committed files alone.

    files: absolute paths or URIs. schema_text: {column: type name}, in order. connection: of the store that URIs lead to.
    """

    name: str
    format: str
    files: tuple[str, ...] = ()
    seq: int = 0
    schema_text: dict[str, str] = field(default_factory=dict)
    connection: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class SourceConfig(Model):
    """What a reader is constructed with. Values that may hold secrets stay out of the repr.

    checked_options: what the plugin's own model has made of the same options before, where that is known.
    stream: of a job that loads several tables, the one that this reader is for; tables, objects and files are its own alone.
    """

    job: str = ""
    stream: str = "default"
    reader: str = ""
    root: str = "."
    files: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    query: str | None = None
    connection: dict[str, Any] = field(default_factory=dict, repr=False)
    credentials: dict[str, Any] = field(default_factory=dict, repr=False)
    options: dict[str, Any] = field(default_factory=dict, repr=False)
    checked_options: dict[str, Any] | None = field(default=None, repr=False)
    incremental: Incremental | None = None
    upstream: dict[str, Upstream] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TargetConfig(Model):
    """What a writer is constructed with. path: absolute, or a URI. stream: of the job; path and table are its own alone.
    checked_options: as of a SourceConfig.
    """

    job: str = ""
    stream: str = "default"
    writer: str = ""
    root: str = "."
    path: str | None = None
    table: str | None = None
    catalog: str | None = None
    mode: Mode = "append"
    keys: tuple[str, ...] = ()
    partition_by: tuple[str, ...] = ()
    connection: dict[str, Any] = field(default_factory=dict, repr=False)
    credentials: dict[str, Any] = field(default_factory=dict, repr=False)
    options: dict[str, Any] = field(default_factory=dict, repr=False)
    checked_options: dict[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class AssetDefinition(Model):
    """The asset a writer writes: its name and, where a contract declares them, its columns."""

    name: str
    version: str = "1.0"
    columns: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class ReadRequest:
    """What the pipeline asks of `plan`.

    columns: names wanted, None for all. schema: Arrow schema (`__arrow_c_schema__`) of the columns the contract declares,
    to be emitted where every value fits. widen: {column: type name} found necessary by an earlier attempt; wins over both
    the schema and inference. cursor: what the last commit holds. parallelism: threads granted.
    memory_bytes: budget for what is in flight. batch_bytes: aim for one batch. limit: rows wanted, None for all.
    guess: whether splits may begin where records probably do; if one does not, the split before it must fail.
    partition: the rows wanted, where the run loads some partitions; others may come too, and are left out.
    """

    columns: tuple[str, ...] | None = None
    schema: Any = None
    widen: Mapping[str, str] = field(default_factory=dict)
    cursor: Mapping[str, Any] | None = None
    parallelism: int = 1
    memory_bytes: int = 64 << 20
    batch_bytes: int = 4 << 20
    limit: int | None = None
    guess: bool = False
    partition: PartitionSelection | None = None


@dataclass(frozen=True)
class Split:
    """A part of the input that one worker reads on its own. payload: JSON, understood by the reader alone. version: what tells
    one state of its rows from another, so that a split of equal id, payload and version has the same rows; None where that
    isn't known.
    """

    id: str
    payload: Json = field(default_factory=dict)
    rows: int | None = None
    bytes: int | None = None
    version: str | None = None

    def to_dict(self) -> Json:
        told = {} if self.version is None else {"version": self.version}
        return {"id": self.id, "payload": self.payload, "rows": self.rows, "bytes": self.bytes, **told}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Split:
        payload = dict(value.get("payload") or {})
        return cls(str(value["id"]), payload, value.get("rows"), value.get("bytes"), value.get("version"))


@dataclass(frozen=True)
class ReadPlan:
    """What a reader will read, its upper bound pinned before anything is read.

    schema: Arrow schema (`__arrow_c_schema__`) of every split, None where it shows only while reading.
    cursor: what to commit with the data; None leaves it to the pipeline. applied: which of "columns", "schema", "cursor",
    "limit" the reader does itself. notes: what it chose by itself, for a person. unchanged: nothing is new since the cursor.
    schema_text: {column: type name} of the schema, in order; with it `read` promises an iterator of objects that have
    num_rows, nbytes and `__arrow_c_array__`, all in this schema, so that no Arrow library is needed on the way.
    guessed: whether splits begin where records probably do, as `ReadRequest.guess` allows; a read that fails is then
    planned and done again without a guess.
    """

    splits: tuple[Split, ...]
    schema: Any = None
    cursor: Json | None = None
    applied: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    unchanged: bool = False
    schema_text: Mapping[str, str] | None = None
    guessed: bool = False


@dataclass(frozen=True)
class WriteRequest:
    """One run's write. base_seq: the sequence the run started from (0: no commit yet). schema: Arrow schema of the rows.

    cursor_field: the column that tells which of two rows of one key is newer, where the job has one. full_refresh: whether
    the table is loaded anew, so that all of it is replaced whatever the target's mode. resume_key: what a dead run must have
    in common with this one for its checkpoints to be taken over; None where none can be. replaces: the table's rows
    that go as this run's come, for a writer that `replaces_partitions`.
    """

    job: str
    run_id: str
    base_seq: int
    mode: Mode = "append"
    stream: str = "default"
    schema: Any = None
    keys: tuple[str, ...] = ()
    partition_by: tuple[str, ...] = ()
    parallelism: int = 1
    memory_bytes: int = 64 << 20
    cursor_field: str | None = None
    full_refresh: bool = False
    resume_key: str | None = None
    replaces: PartitionSelection | None = None


@dataclass(frozen=True)
class WriteTask:
    """One worker's share. kind: "data" for rows that land, "quarantine" for rejected ones. schema: of those rows."""

    index: int
    kind: Literal["data", "quarantine"] = "data"
    schema: Any = None


@dataclass(frozen=True)
class Committable:
    """What a SplitWriter leaves for the commit. payload: JSON, understood by the writer alone."""

    kind: Literal["data", "quarantine"] = "data"
    rows: int = 0
    bytes: int = 0
    payload: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """Splits that a run has moved to their end, and the data that came of them. details: what the pipeline has to know of
    them, JSON.
    """

    splits: tuple[str, ...]
    committables: tuple[Committable, ...] = ()
    details: Json = field(default_factory=dict)

    def to_dict(self) -> Json:
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Checkpoint:
        return cls(
            tuple(value["splits"]), tuple(Committable(**item) for item in value["committables"]), value["details"]
        )


@dataclass(frozen=True, kw_only=True)
class Commit(Model):
    """The record that lands in one step with the data. It is the only state there is.

    schema_text: {column: type name} of the table, in order; {} while it has none. details["state"]: what a person did, for a
    commit that only sets the cursor: {action, by, ...}.
    """

    format_version: int = 1
    job: str
    stream: str = "default"
    seq: int
    run_id: str
    mode: Mode | Literal["compact"] = "append"
    cursor: dict[str, Any] | None = None
    schema_hash: str = ""
    schema_text: dict[str, str] = field(default_factory=dict)
    rows_read: int = 0
    rows_written: int = 0
    rows_rejected: int = 0
    bytes_written: int = 0
    files: tuple[str, ...] = ()
    quarantine: tuple[str, ...] = ()
    committed_at: str = ""
    plugins: dict[str, str] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def author(self) -> str:
        """Who made it, for a person: a run, or somebody with `dativo state`."""
        state = self.details.get("state")
        return f"run {self.run_id}" if state is None else f"`dativo state {state['action']}` by {state.get('by')}"


@dataclass(frozen=True)
class MaintainRequest:
    """What `maintain` may do. keep_s: what was replaced within that time stays, for readers in flight. target_file_bytes: how
    large files become; None: as the target's options say. dry_run: only tell.
    """

    job: str
    run_id: str
    keep_s: float = 3600
    target_file_bytes: int | None = None
    dry_run: bool = False
    memory_bytes: int = 64 << 20


@dataclass(frozen=True)
class MaintainReport:
    """What `maintain` did. files_compacted became files_written, by `commit`, which changes no row. versions, orphans: how many
    replaced versions and leftovers of dead runs were removed. notes: what it left, and why.
    """

    files_compacted: int = 0
    files_written: int = 0
    versions: int = 0
    orphans: int = 0
    commit: Commit | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Snapshot:
    """A table as committed: what a reader of it may open. rows and bytes are totals over all visible commits."""

    seq: int
    uri: str
    format: str
    files: tuple[str, ...] = ()
    rows: int | None = None
    bytes: int | None = None
    schema_text: Mapping[str, str] = field(default_factory=dict)


class ConnectionTestResult:
    """Whether a source or target answers. message: for a person."""

    def __init__(
        self, success: bool, message: str, error_code: str | None = None, details: Mapping[str, Any] | None = None
    ) -> None:
        self.success = success
        self.message = message
        self.error_code = error_code
        self.details = dict(details) if details else None

    def to_dict(self) -> Json:
        out: Json = {"success": self.success, "message": self.message}
        if self.error_code:
            out["error_code"] = self.error_code
        if self.details:
            out["details"] = self.details
        return out

    def __repr__(self) -> str:
        return f"ConnectionTestResult(success={self.success}, message={self.message!r})"


class DiscoveryResult:
    """What a source offers. objects: JSON objects with at least `name`; usually `type`, `columns`, `rows`, `bytes`."""

    def __init__(self, objects: list[Json], metadata: Mapping[str, Any] | None = None) -> None:
        self.objects = objects
        self.metadata = dict(metadata or {})

    def to_dict(self) -> Json:
        return {"objects": self.objects, "metadata": self.metadata}

    def __repr__(self) -> str:
        return f"DiscoveryResult({len(self.objects)} objects)"
