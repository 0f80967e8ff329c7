"""Delta tables through deltalake: its log, its schema, and a swap that fails where it is late."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import date, datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import deltalake
import obstore
import obstore.store
import pyarrow as pa
import pyarrow.parquet as pq
from dativo_plugin_sdk import AuthenticationError, ConfigurationError, DativoError, ValidationError
from dativo_plugin_sdk.posix import fsync
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, create_table_with_add_actions

from ._delta_table import KEY, DeltaLakeTable, LogEntries, app_id, now_ms, partition_texts, with_run
from ._delta_upkeep import NO_CLEANUP, clean_log, unnamed, vacuum
from ._lake_table import (
    Change,
    Fit,
    LakeFile,
    LakeStore,
    LakeTable,
    Layout,
    MovedError,
    fitted,
    secrets_of,
    stored_type,
)

_TEXT = 32
_CONFIGURATION = {"delta.checkpointInterval": "10"}
"""Of a new table: a load reads each entry since the last checkpoint, so that many at most."""
_PARTITION_TYPES = "texts, integers, booleans, dates and timestamps"


class DeltaStore(LakeStore):
    """One table by its folder. options: of its object store."""

    format: ClassVar[str] = "delta"

    def __init__(self, place: str, options: dict[str, str], partition_by: Sequence[str]) -> None:
        super().__init__(place)
        self._options, self._partition_by = options, tuple(partition_by)
        self._local = "://" not in place
        self.secrets = secrets_of(options)
        self._entries = LogEntries()

    def load(self) -> LakeTable | None:
        if self._local and not (Path(self.name) / "_delta_log").is_dir():
            return None
        try:
            return self._table(DeltaTable(self.name, storage_options=self._options))
        except TableNotFoundError:
            return None

    def again(self, table: LakeTable) -> LakeTable | None:
        assert isinstance(table, DeltaLakeTable)
        try:
            table.delta.update_incremental()
        except DeltaError:  # it is gone, or another one
            return self.load()
        now = self._table(table.delta)
        return table if now.version == table.version else now

    def _table(self, delta: DeltaTable) -> LakeTable:
        return DeltaLakeTable(self.name, delta, self.stored, self._entries, self._lines)

    def layout(self, table: LakeTable | None, schema: pa.Schema, fit: Fit) -> Layout:
        columns, added, widened = fitted(self, table, schema, fit)
        divided = self._partition_by
        if isinstance(table, DeltaLakeTable):
            table.check_writable()
            divided = tuple(table.delta.metadata().partition_columns)
            if self._partition_by and divided != self._partition_by:
                raise ValidationError(
                    f"{self.name} is divided by {', '.join(divided) or 'nothing'}, not by {', '.join(self._partition_by)}",
                    hint="set target.partition_by to what the table has; Delta can't divide a table anew",
                )
        for name in divided:
            if name not in columns.names:
                raise ValidationError(
                    f"partition_by names {name!r}, which is not a column of the data",
                    hint=f"columns are: {', '.join(columns.names)}",
                )
            _check_partition_type(columns.field(name))
        target = columns
        if table is not None and not fit.replaces:
            wanted = {field.name: field for field in columns}
            target = pa.schema([*(wanted.pop(f.name, f) for f in table.columns), *wanted.values()])
        return Layout(
            schema=columns,
            folder=self.name,
            parts=tuple((name, partition_texts) for name in divided),
            target=target,
            added=tuple(added),
            rewrites=bool(widened),
        )

    def stored(self, data_type: pa.DataType) -> pa.DataType | None:
        return stored_type(data_type, _scalar_type)

    def swap(self, table: LakeTable | None, change: Change) -> None:
        properties = self._properties(table, change)
        layout = change.layout
        adds: list[Any] = [self._add(file, change) for file in change.added]
        try:
            if not isinstance(table, DeltaLakeTable):
                create_table_with_add_actions(
                    self.name,
                    Schema.from_arrow(layout.target),
                    adds,
                    mode="error",
                    partition_by=[name for name, _ in layout.parts],
                    configuration=_CONFIGURATION,
                    storage_options=self._options,
                    commit_properties=properties,
                )
                return
            delta = table.delta
            if layout.added and not change.replaces and not layout.rewrites:
                # Columns of nulls say nothing new, so they may come in by an entry of their own.
                new = Schema.from_arrow(pa.schema([layout.target.field(name) for name in layout.added]))
                delta.alter.add_columns(
                    new.fields,
                    commit_properties=CommitProperties(max_commit_retries=0),
                    post_commithook_properties=NO_CLEANUP,
                )
            whole = change.replaces or layout.rewrites
            removes = [] if whole else [file.handle["remove"](not change.joins) for file in change.removed]
            delta.create_write_transaction(
                [*adds, *removes],
                mode="overwrite" if whole else "append",
                schema=Schema.from_arrow(layout.target),
                partition_by=[name for name, _ in layout.parts],
                commit_properties=properties,
                post_commithook_properties=NO_CLEANUP,
            )
        except CommitFailedError as error:
            raise MovedError(str(error)) from error
        except Exception as error:
            if table is None and "already exists" in str(error):
                raise MovedError(str(error)) from error
            raise

    def _properties(self, table: LakeTable | None, change: Change) -> CommitProperties:
        """No retry: deltalake's own puts a late commit on top of whatever came between."""
        value: dict[str, Any] = {"records": {}, "runs": ""}
        if isinstance(table, DeltaLakeTable):
            value = table.newest_entry()
        commit, record = change.commit, change.commit.model_dump(mode="json")
        if change.joins:
            return CommitProperties(custom_metadata={KEY: {**value, "joined": record}}, max_commit_retries=0)
        others = {job: {**record, "files": []} for job, record in value["records"].items()}
        return CommitProperties(
            custom_metadata={
                KEY: {
                    **value,
                    "job": commit.job,
                    "records": {**others, commit.job: record},
                    "runs": with_run(value["runs"], commit.job, commit.run_id),
                }
            },
            max_commit_retries=0,
            app_transactions=[Transaction(app_id(commit.job), commit.seq)],
        )

    def expire(self, keep_s: float, *, dry_run: bool) -> tuple[int, str | None]:
        table = self.load()
        if not isinstance(table, DeltaLakeTable):
            return 0, None
        try:
            history = table.newest_entry()["history"]
            archived = self._lines(history) if history else []
            # Before the files: a vacuum removes entries past their retention as well, whatever they hold.
            versions = clean_log(table, self._checkpoint(), self._write, archived, dry_run=dry_run)
            table = self.load() if versions else table
            assert isinstance(table, DeltaLakeTable)
            files = vacuum(table, keep_s, dry_run=dry_run)
        except CommitFailedError:
            return 0, f"{self.name} was changed meanwhile: its log stays as it is"
        return versions, f"{files} files of replaced versions" if files else None

    def orphans(self, keep_s: float) -> list[str]:
        delta = DeltaTable(self.name, storage_options=self._options)
        return [f"{self.name}/{path}" for path in unnamed(delta, keep_s)]

    def _checkpoint(self) -> int:
        """The version of the newest checkpoint, 0 where there is none."""
        with suppress(FileNotFoundError), self.input(f"{self.name}/_delta_log/_last_checkpoint") as stream:
            return int(json.loads(stream.read())["version"])
        return 0

    def _write(self, path: str, data: bytes) -> None:
        with self.output(f"{self.name}/{path}") as stream:
            stream.write(data)
        self.settle(f"{self.name}/{path}")

    def _lines(self, path: str) -> list[str]:
        with self.input(f"{self.name}/{path}") as stream:
            return str(stream.read(), "utf-8").splitlines()

    def _add(self, file: LakeFile, change: Change) -> AddAction:
        layout = change.layout
        with self.input(file.path) as stream:
            size = stream.size()
            metadata = pq.read_metadata(stream)
        names = [name for name, _ in layout.parts]
        return AddAction(
            path=file.path.rpartition("/")[2],
            size=size,
            partition_values=dict(zip(names, file.partition, strict=True)),
            modification_time=now_ms(),
            data_change=not change.joins,
            stats=json.dumps(_statistics(metadata, layout.schema, names)),
        )

    # -- files -----------------------------------------------------------------------------------------------------

    def _key(self, path: str) -> str:
        return path.removeprefix(f"{self.name}/")

    @cached_property
    def _store(self) -> Any:
        """Its files by obstore: deltalake's own file system keeps every other thread waiting."""
        config: Any = {key: value for key, value in self._options.items() if key != "allow_http"}
        return obstore.store.from_url(
            self.name,
            config=config,
            client_options={"allow_http": self._options.get("allow_http") == "true"},
        )

    def output(self, path: str) -> Any:
        if not self._local:
            return pa.PythonFile(_Upload(obstore.open_writer(self._store, self._key(path))), "w")
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return pa.OSFile(path, "wb")

    def input(self, path: str) -> Any:
        if not self._local:
            return pa.PythonFile(_Download(self._store, self._key(path)), "r")
        return pa.OSFile(path, "rb")

    def remove(self, path: str) -> None:
        with suppress(FileNotFoundError):
            if self._local:
                Path(path).unlink()
            else:
                obstore.delete(self._store, self._key(path))

    def settle(self, path: str) -> None:
        if self._local:
            fsync(Path(path))
            fsync(Path(path).parent)

    def known_error(self, error: Exception, text: str) -> DativoError | None:
        lowered = text.lower()
        if any(
            word in lowered for word in ("access denied", "forbidden", "unauthorized", "signature", " 403 ", " 401 ")
        ):
            return AuthenticationError(text, hint="check the connection's credentials")
        if "unknown configuration key" in lowered or "no such bucket" in lowered or "nosuchbucket" in lowered:
            return ConfigurationError(text, hint="check the target's path and the keys of its connection")
        if isinstance(error, deltalake.exceptions.DeltaProtocolError):
            return ValidationError(text, hint="this deltalake can't write such a table; a newer one may")
        if self._local and ("Permission denied" in text or "No space left" in text):
            return ValidationError(text, hint="check the folder, its permissions and its free space")
        return None


class _Download(io.RawIOBase):
    """A file of a store, as Arrow reads one: what is asked for is what is fetched."""

    def __init__(self, store: Any, key: str) -> None:
        self._store, self._key, self._at = store, key, 0
        self._size = int(obstore.head(store, key)["size"])

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = self._size if size < 0 else min(self._size, self._at + size)
        if end <= self._at:
            return b""
        found = bytes(obstore.get_range(self._store, self._key, start=self._at, end=end))
        self._at = end
        return found


class _Upload:
    """A file that is uploaded, as Arrow writes one."""

    def __init__(self, writer: Any) -> None:
        self._writer, self._size = writer, 0

    @property
    def closed(self) -> bool:
        return bool(self._writer.closed())

    def write(self, data: Any) -> int:
        self._size += len(data)
        return int(self._writer.write(data))

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        """Parts are sent as they are full."""

    def close(self) -> None:
        if not self.closed:
            self._writer.close()


def _check_partition_type(field: pa.Field) -> None:
    types, found = pa.types, field.type
    known = types.is_string(found) or types.is_integer(found) or types.is_boolean(found)
    if not (known or types.is_date32(found) or types.is_timestamp(found)):
        raise ConfigurationError(
            f"a Delta table can't be divided by {field.name}, which is {found}", hint=f"divide by {_PARTITION_TYPES}"
        )


def _statistics(metadata: pq.FileMetaData, schema: pa.Schema, divided: Sequence[str]) -> dict[str, Any]:
    """What readers skip files by: of plain columns, as far as every row group tells."""
    lows: dict[str, Any] = {}
    highs: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for at in range(metadata.num_columns):
        name = metadata.schema.column(at).path
        if name not in schema.names or name in divided or pa.types.is_nested(schema.field(name).type):
            continue
        groups = [metadata.row_group(group).column(at).statistics for group in range(metadata.num_row_groups)]
        if any(group is None or not group.has_null_count for group in groups):
            continue
        nulls[name] = sum(group.null_count for group in groups)
        full = [group for group in groups if group.has_min_max]
        if not full or len(full) < sum(group.num_values > 0 for group in groups):
            continue
        low, high = _spelled(min(g.min for g in full), False), _spelled(max(g.max for g in full), True)
        if low is not None and high is not None:
            lows[name], highs[name] = low, high
    return {"numRecords": metadata.num_rows, "minValues": lows, "maxValues": highs, "nullCount": nulls}


def _spelled(value: Any, highest: bool) -> Any:
    """A bound as the Delta protocol spells it; None where it would not bound."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, str)):
        return value if isinstance(value, int) or len(value) <= _TEXT else (None if highest else value[:_TEXT])
    if isinstance(value, datetime):
        if value.microsecond % 1000:  # readers see milliseconds
            return None
        return value.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ") if value.tzinfo else value.isoformat()
    return value.isoformat() if isinstance(value, date) else None


def _scalar_type(data_type: pa.DataType) -> pa.DataType | None:
    types = pa.types
    wider = {
        pa.uint8(): pa.int16(),
        pa.uint16(): pa.int32(),
        pa.uint32(): pa.int64(),
        pa.uint64(): pa.decimal128(20, 0),
    }
    if types.is_fixed_size_binary(data_type):
        return pa.binary()
    return wider.get(data_type, None if types.is_time(data_type) else data_type)
