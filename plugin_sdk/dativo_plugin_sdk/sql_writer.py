"""Writers of a database's tables: delivery is here, a subclass only knows its database.

A run's rows wait in files of this machine until its commit, which is one transaction:

1. see that the newest record is the one that the run began with;
2. create or alter the table as the data asks, and move the rows in;
3. insert the run's record, whose key is (table, job, stream, seq): of two runs that follow one commit one can;
4. commit. Whatever happens before, nothing of the run is in the database; and whoever lost the answer finds the record.

The records are the table `_dativo_commits` beside the target. Rejected rows go to `<table>_quarantine` by the same
transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from .arrow import parse_type, pyarrow, type_name
from .checkpoints import whole
from .errors import ConfigurationError, TransientError, ValidationError
from .models import (
    AssetDefinition,
    Checkpoint,
    Commit,
    Committable,
    ConnectionTestResult,
    MaintainReport,
    MaintainRequest,
    Snapshot,
    TargetConfig,
    WriteRequest,
    WriteTask,
)
from .options import MergeOptions, Options
from .records import conflict, duplicates, null_keys, parse_record
from .sql_database import SqlDatabase
from .staged_rows import StagedRows, reread, staged_batches, staged_schema
from .staging import Staging
from .writer import SplitWriter

COMMITS = "_dativo_commits"
_KEPT_IN_VIEW = 1000
_ORDER = "_dativo_row"
_NEW = "_dativo_new"
_OF_RUN = "AND run_id = ?"


class SqlOptions(MergeOptions):
    """What every database takes."""


class SqlWriter(SqlDatabase):
    """Level 3 over one table of a database. A subclass gives `connect`, `place`, `columns`, `types` and `load`."""

    Options: ClassVar[type[Options]] = SqlOptions
    modes: ClassVar[frozenset[str]] = frozenset({"append", "overwrite", "merge"})
    quarantines: ClassVar[bool] = True
    writes_empty: ClassVar[bool] = True
    resumes: ClassVar[bool] = True
    rereads: ClassVar[bool] = True
    replaces_partitions: ClassVar[frozenset[str]] = modes
    text: ClassVar[str] = "TEXT"
    """The type of text, for a cast."""

    def __init__(self, asset_definition: AssetDefinition, target_config: TargetConfig, output_base: str = "") -> None:
        super().__init__(asset_definition, target_config, output_base)
        schema, _, name = (target_config.table or asset_definition.name).rpartition(".")
        self.schema, self.name = schema or None, name
        for part in (schema, name):
            self.quote(part)
        if target_config.mode == "merge" and not target_config.keys:
            raise ConfigurationError("mode merge needs target.keys", hint="name the columns that tell rows apart")
        if target_config.partition_by:
            raise ConfigurationError(
                f"writer {target_config.writer} has no partitions", hint="remove target.partition_by"
            )
        self._staging = Staging(self.staging_root())
        self._request: WriteRequest | None = None

    def staging_root(self) -> Path:
        """Where runs stage their rows."""
        key = hashlib.sha256(f"{self.place()}\0{self.schema}\0{self.name}".encode()).hexdigest()[:16]
        return Path(self.target_config.root) / ".dativo" / "staging" / f"{self.format}-{key}"

    # -- records ---------------------------------------------------------------------------------------------------

    def _records(self, connection: Any, condition: str = "", *values: Any, limit: int = 1) -> list[Commit]:
        """Records of this table and job, the newest first."""
        if not self.columns(connection, COMMITS):
            return []
        rows = self.run(
            connection,
            f"SELECT seq, record FROM {self.qualified(COMMITS)} WHERE target = ? AND job = ? AND stream = ? {condition}"
            f" ORDER BY seq DESC LIMIT {limit}",
            (self.name, self._job, self.target_config.stream, *values),
        )
        return [self._record(int(seq), str(text)) for seq, text in rows]

    @property
    def _job(self) -> str:
        return self.target_config.job or self.asset_definition.name

    def _record(self, seq: int, text: str) -> Commit:
        where = f"commit record {seq} of {self.name} in {self.place()}"
        try:
            return parse_record(text, where)
        except ValueError as error:
            raise ValidationError(
                f"{where} can't be read: {str(error).splitlines()[0]}",
                hint=f"restore the row in {COMMITS}, or delete it to continue from the commit before it",
            ) from error

    def _ask(self, condition: str = "", *values: Any, limit: int = 1) -> list[Commit]:
        if not self.exists():
            return []
        with self._connection() as connection:
            return self._records(connection, condition, *values, limit=limit)

    def last_commit(self) -> Commit | None:
        return next(iter(self._ask()), None)

    def history(self) -> Sequence[Commit]:
        return tuple(reversed(self._ask(limit=_KEPT_IN_VIEW)))

    def commit_of(self, run_id: str) -> Commit | None:
        return next(iter(self._ask(_OF_RUN, run_id)), None)

    def check_connection(self) -> ConnectionTestResult:
        with self._connection() as connection:
            self.run(connection, "SELECT 1")
        return ConnectionTestResult(True, f"{self.place()} answers")

    def snapshot(self) -> Snapshot | None:
        commits = list(self.history())
        if not commits:
            return None
        last = commits[-1]
        overwrites = [at for at, commit in enumerate(commits) if commit.mode == "overwrite"]
        visible = commits[overwrites[-1] :] if overwrites else commits
        known = (overwrites or commits[0].seq == 1) and not any(
            commit.mode == "merge" or "partitions" in commit.details for commit in visible
        )
        return Snapshot(
            seq=last.seq,
            uri=f"{self.place()}#{f'{self.schema}.' if self.schema else ''}{self.name}",
            format=self.format,
            rows=sum(commit.rows_written for commit in visible) if known else None,
            schema_text=last.schema_text,
        )

    # -- one run ---------------------------------------------------------------------------------------------------

    def open(self, request: WriteRequest) -> None:
        self.disconnect()  # reading may take hours
        self._request = request
        self._staging.close()
        self._staging.sweep(request.resume_key)
        self._staging.open(request.run_id, request.resume_key)

    def finished(self, splits: Container[str]) -> Sequence[Checkpoint]:
        return self._staging.finished(
            splits, lambda item: whole(self._staging.folder / str(item.payload["file"]), item)
        )

    def reread(self, item: Committable, columns: Sequence[str]) -> Iterator[Any]:
        return reread(self._staging.folder / str(item.payload["file"]), columns)

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        self._staging.checkpoint(checkpoint)

    def suspend(self) -> None:
        self._staging.leave()

    def writer(self, task: WriteTask) -> SplitWriter:
        return StagedRows(self._staging.folder, task)

    def commit(self, committables: Sequence[Committable], commit: Commit) -> Commit:
        with self._transaction() as connection:
            self.lock(connection)
            last = next(iter(self._records(connection)), None)
            done = next(iter(self._records(connection, _OF_RUN, commit.run_id)), None)
            if done is not None:
                return done
            if (0 if last is None else last.seq) != commit.seq - 1:
                raise conflict(commit, last, "its commits are gone")
            staged = {kind: [c for c in committables if c.kind == kind] for kind in ("data", "quarantine")}
            if staged["quarantine"]:
                commit = commit.model_copy(update={"quarantine": (f"{self.name}_quarantine",)})
            details = dict(commit.details)
            self._replace(connection, last)
            if staged["data"]:
                details.update(self._move_in(connection, staged["data"], commit, last))
            if staged["quarantine"]:
                self._quarantine(connection, staged["quarantine"], commit)
            commit = commit.model_copy(update={"details": details})
            self._insert_record(connection, commit)
        self._staging.close()
        return commit

    def _replace(self, connection: Any, last: Commit | None) -> None:
        """Remove the rows of the partitions that the run loads."""
        replaces = None if self._request is None else self._request.replaces
        if replaces is None or last is None or not self.columns(connection, self.name):
            return
        conditions, values = [], list[Any]()
        for part in replaces.ranges:
            column, kind = self.quote(part.column), last.schema_text.get(part.column)
            if kind is None:
                raise ValidationError(
                    f"the partitions' column {part.column!r} is not one of table {self.name}",
                    details={"column": part.column},
                    hint="load the table anew: dativo run --full-refresh",
                )
            if part.start is not None:
                conditions.append(f"{column} >= ? AND {column} < ?")
                values += [self.literal(bound) for bound in part.bounds(self.stored(parse_type(kind)))]
            else:
                part.check_values(parse_type(kind))
                conditions.append(f"CAST({column} AS {self.text}) IN ({', '.join('?' * len(part.values))})")
                values += part.values
        self.run(connection, f"DELETE FROM {self.qualified(self.name)} WHERE {' AND '.join(conditions)}", values)

    def literal(self, value: Any) -> Any:
        """An Arrow scalar of a column's type as a parameter that compares with what the column stores."""
        return value.as_py()

    def _insert_record(self, connection: Any, commit: Commit) -> None:
        self.run(
            connection,
            f"CREATE TABLE IF NOT EXISTS {self.qualified(COMMITS)} (target TEXT NOT NULL, job TEXT NOT NULL,"
            " stream TEXT NOT NULL, seq BIGINT NOT NULL, run_id TEXT NOT NULL, committed_at TEXT NOT NULL,"
            " record TEXT NOT NULL, PRIMARY KEY (target, job, stream, seq))",
        )
        self.run(
            connection,
            f"INSERT INTO {self.qualified(COMMITS)} VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                self.name,
                commit.job,
                commit.stream,
                commit.seq,
                commit.run_id,
                commit.committed_at,
                commit.model_dump_json(),
            ),
        )

    def _move_in(
        self, connection: Any, staged: list[Committable], commit: Commit, last: Commit | None
    ) -> dict[str, Any]:
        """The staged rows into the table. Returns: what a person may want to know of it."""
        schema = self._stored_schema(staged)
        if self.schema:
            self.run(connection, f"CREATE SCHEMA IF NOT EXISTS {self.quote(self.schema)}")
        landing = schema
        if self._merges:
            self._check_merge(schema)
            if self._deletes:
                landing = schema.remove(schema.get_field_index(self._deletes))
        self._prepare(connection, landing, commit, last)
        if commit.mode == "overwrite":
            self.run(connection, f"DELETE FROM {self.qualified(self.name)}")
        if self._merges:
            return self._merge(connection, schema, landing, staged)
        self.load(connection, self.name, self._batches(staged, schema))
        return {}

    @property
    def _merges(self) -> bool:
        """Whether rows of one key replace each other, also where a full refresh begins with an empty table."""
        return self.target_config.mode == "merge"

    @property
    def _deletes(self) -> str | None:
        return getattr(self.options, "delete_column", None)

    def _check_merge(self, schema: Any) -> None:
        needed = {"target.keys": self.target_config.keys, "options.delete_column": (self._deletes,)}
        for where, names in needed.items():
            for name in names:
                if name is not None and name not in schema.names:
                    raise ValidationError(
                        f"{where} names {name!r}, which is not a column of the data",
                        hint=f"columns are: {', '.join(schema.names)}",
                    )

    def _prepare(self, connection: Any, schema: Any, commit: Commit, last: Commit | None) -> None:
        """Make the table fit the data. Raises: ValidationError: where somebody else changed it."""
        wanted = self.types(connection, schema)
        found = self.columns(connection, self.name)
        if found and commit.mode == "overwrite" and found != wanted:
            self.run(connection, f"DROP TABLE {self.qualified(self.name)}")
            found = {}
        if not found and last is not None and last.schema_text and commit.mode != "overwrite":
            raise ValidationError(
                f"table {self.name} of {self.place()} is gone, though it holds commit {last.seq}",
                hint="restore it, or load it anew: dativo run --full-refresh",
            )
        for column, kind in self._fit(connection, self.name, wanted, found).items():
            if self.accepts(found[column], kind):
                continue
            before = None if last is None else last.schema_text.get(column)
            if before is None or before == commit.schema_text.get(column):
                raise ValidationError(
                    f"column {column} of table {self.name} is {found[column]}, and the data is {kind}",
                    details={"column": column},
                    hint="somebody else made or changed the table: change it back, or declare the type in a contract",
                )
            self.widen(connection, column, kind)
        if not found and self._merges:
            self.index(connection, self.target_config.keys)

    def _fit(self, connection: Any, name: str, wanted: dict[str, str], found: dict[str, str]) -> dict[str, str]:
        """Make a table, or add the columns it lacks. Returns: the columns it has in another type."""
        table = self.qualified(name)
        if not found:
            self.run(connection, f"CREATE TABLE {table} ({self.definition(wanted)})")
            return {}
        for column, kind in wanted.items():
            if column not in found:
                self.run(connection, f"ALTER TABLE {table} ADD COLUMN {self.quote(column)} {kind}")
        return {column: kind for column, kind in wanted.items() if found.get(column, kind) != kind}

    def _merge(self, connection: Any, schema: Any, landing: Any, staged: list[Committable]) -> dict[str, Any]:
        """By key: of several rows the one with the highest cursor, then the last; an older one than the table's stays out."""
        pa = pyarrow()
        table, new = self.qualified(self.name), self.quote(_NEW)
        keys = self.target_config.keys
        fields = [*schema, pa.field(_ORDER, pa.int64())]
        kinds = self.types(connection, pa.schema(fields))
        self.run(connection, f"CREATE TEMPORARY TABLE {new} ({self.definition(kinds)})")
        self.load(connection, _NEW, self._batches(staged, schema, number=_ORDER), temporary=True)
        nulls = " OR ".join(f"{self.quote(key)} IS NULL" for key in keys)
        if found := self.run(connection, f"SELECT count(*) FROM {new} WHERE {nulls}")[0][0]:
            raise null_keys(found, keys)
        cursor = self._request.cursor_field if self._request is not None else None
        cursor = cursor if cursor in landing.names else None
        newest = (f"{self.quote(cursor)} IS NULL, {self.quote(cursor)} DESC, " if cursor else "") + f"{_ORDER} DESC"
        by = ", ".join(map(self.quote, keys))
        self.run(
            connection,
            f"CREATE TEMPORARY TABLE _dativo_old AS SELECT {_ORDER} AS old FROM (SELECT {_ORDER}, row_number()"
            f" OVER (PARTITION BY {by} ORDER BY {newest}) AS place FROM {new}) AS ranked WHERE place > 1",
        )
        superseded = int(self.run(connection, "SELECT count(*) FROM _dativo_old")[0][0])
        if superseded and getattr(self.options, "duplicate_keys", "last") == "error":
            raise duplicates(superseded, keys)
        if superseded:
            self.run(connection, f"DELETE FROM {new} WHERE {_ORDER} IN (SELECT old FROM _dativo_old)")
        same = " AND ".join(f"n.{self.quote(key)} = t.{self.quote(key)}" for key in keys)
        fresh = (
            f" AND (t.{self.quote(cursor)} IS NULL OR n.{self.quote(cursor)} >= t.{self.quote(cursor)})"
            if cursor
            else ""
        )
        details: dict[str, Any] = {"superseded": superseded}
        self.run(connection, self.delete_matching(table, new, same + fresh))
        alive = "1 = 1"
        if self._deletes:
            deletes = self.quote(self._deletes)
            alive = f"({deletes} IS NULL OR NOT {deletes})"
            details["deleted"] = int(self.run(connection, f"SELECT count(*) FROM {new} WHERE NOT {alive}")[0][0])
        names = ", ".join(map(self.quote, landing.names))
        absent = f"NOT EXISTS (SELECT 1 FROM {table} AS t WHERE {same})" if cursor else "1 = 1"
        self.run(connection, f"INSERT INTO {table} ({names}) SELECT {names} FROM {new} AS n WHERE {alive} AND {absent}")
        for temporary in (new, "_dativo_old"):
            self.run(connection, f"DROP TABLE {temporary}")
        return {"merge": details}

    def _quarantine(self, connection: Any, staged: list[Committable], commit: Commit) -> None:
        pa = pyarrow()
        name = f"{self.name}_quarantine"
        schema = self._stored_schema(staged)
        extra = [pa.field("_dativo_seq", pa.int64()), pa.field("_dativo_run_id", pa.string())]
        schema = pa.schema([*schema, *extra])
        found = self.columns(connection, name)
        for column, kind in self._fit(connection, name, self.types(connection, schema), found).items():
            raise ValidationError(
                f"column {column} of table {name} is {found[column]}, and the rejected rows have {kind}",
                hint=f"rename {name} to keep it; a new one is made",
            )
        values = {"_dativo_seq": commit.seq, "_dativo_run_id": commit.run_id}
        self.load(connection, name, self._batches(staged, schema, constants=values))

    # -- staged rows -----------------------------------------------------------------------------------------------

    def _stored_schema(self, staged: list[Committable]) -> Any:
        pa = pyarrow()
        fields = []
        for field in staged_schema(self._staging.folder, staged):
            self.quote(field.name)
            data_type = self.stored(field.type)
            if data_type is None:
                raise ValidationError(
                    f"column {field.name} is {type_name(field.type)}, which {self.format} has no type for",
                    details={"column": field.name},
                    hint="declare another type for it in the contract",
                )
            fields.append(pa.field(field.name, data_type))
        return pa.schema(fields)

    def _batches(self, staged: list[Committable], schema: Any, **more: Any) -> Any:
        return staged_batches(self._staging.folder, staged, schema, **more)

    def maintain(self, request: MaintainRequest) -> MaintainReport:
        dead = len(self._staging.dead())
        if not self.exists():
            return MaintainReport(orphans=dead, notes=("nothing is committed yet",))
        if request.dry_run:
            return MaintainReport(orphans=dead)
        self._staging.sweep()
        try:
            with self._connection() as connection:
                done = self.tidy(connection)
        except TransientError as error:  # it is busy, and another time will do
            done = f"left as it is: {error.message}"
        return MaintainReport(orphans=dead, notes=(done,))

    def abort(self) -> None:
        self._staging.close()

    def close(self) -> None:
        self.disconnect()
        self._staging.end()
