"""A Delta table at one version of its log."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from operator import gt, lt
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from dativo_plugin_sdk import Commit, ValidationError
from dativo_plugin_sdk.records import parse_record
from deltalake import DeltaTable
from deltalake.transaction import RemoveAction

from ._lake_table import KEPT_IN_VIEW, LakeFile, LakeTable, Range, commits_of

KEY = "dativo"
_FEW = 2
"""The newest entry is enough, where no other program writes the table."""
_MARK = 4


class LogEntries:
    """Entries of a table's log that were read: each is an object of the store, and none changes."""

    def __init__(self) -> None:
        self._table = ""
        self._found: list[dict[str, Any]] = []

    def newest(self, delta: DeltaTable, limit: int | None) -> list[dict[str, Any]]:
        """The newest ones of a table, at most as many."""
        table, found = str(delta.metadata().id), self._found if self._table == str(delta.metadata().id) else []
        new = delta.version() - found[0]["version"] if found else -1
        complete = bool(found) and (found[-1]["version"] == 0 or (limit is not None and len(found) >= limit))
        if not complete or new < 0 or (limit is not None and new >= limit):
            found = delta.history(limit)
        elif new:
            found = [*delta.history(new), *found]
        self._table, self._found = table, found
        return found[:limit]


class DeltaLakeTable(LakeTable):
    """A Delta table at one version of its log."""

    def __init__(
        self,
        name: str,
        delta: DeltaTable,
        stored: Callable[[pa.DataType], pa.DataType | None],
        entries: LogEntries,
        archive: Callable[[str], list[str]],
    ) -> None:
        """archive: reads the lines of a file of older records."""
        self._name, self.delta, self._entries, self._archive = name, delta, entries, archive
        self.version = f"{delta.metadata().id} {delta.version()}"
        self._sequences: dict[str, int | None] = {}
        plain = pa.schema(delta.schema().to_arrow())
        self.columns = pa.schema([(field.name, stored(field.type) or field.type) for field in plain])

    def _log(self) -> Iterator[dict[str, Any]]:
        """Entries of the log, the newest first: a few, and all of them if they are asked for."""
        seen = 0
        for limit in (_FEW, 2 * KEPT_IN_VIEW, None):
            entries = self._entries.newest(self.delta, limit)
            yield from entries[seen:]
            if limit is None or len(entries) < limit:
                return
            seen = len(entries)

    def records(self, job: str) -> Iterator[Commit]:
        if job not in self._sequences:  # deltalake reads the log for it
            self._sequences[job] = self.delta.transaction_version(app_id(job))
        seq = self._sequences[job]
        if seq is None:
            return
        carried, told = None, False
        for entry in self._log():
            self.restored = self.restored or (not told and entry.get("operation") == "RESTORE")
            value = entry.get(KEY)
            own = isinstance(value, dict) and value.get("job") == job
            if not isinstance(value, dict) or not (own or carried is None):
                continue
            found = self._record(value, job, entry)
            if found is not None and own:
                if not told and carried is not None and found.seq < carried.seq:
                    yield carried
                told = True
                yield found
            elif found is not None and not told:
                carried = found
        if not told and carried is not None:
            yield carried
        elif not told:
            raise ValidationError(
                f"{self._name} is at commit {seq} of {job}, but its log does not hold the record any more",
                hint="restore the log's older entries, or load it anew: dativo run --full-refresh",
            )

    def _record(self, value: dict[str, Any], job: str, entry: dict[str, Any]) -> Commit | None:
        where = f"commit record of {job} in version {entry.get('version')} of {self._name}"
        records = value.get("records")
        if isinstance(records, dict) and job not in records:
            return None
        try:
            return parse_record(json.dumps(records[job] if isinstance(records, dict) else records), where)
        except ValueError as error:
            raise ValidationError(
                f"{where} can't be read: {str(error).splitlines()[0]}",
                hint="restore that entry of _delta_log, or load the table anew: dativo run --full-refresh",
            ) from error

    def archived(self, job: str, mention: str = "") -> Iterator[Commit]:
        path = self.newest_entry().get("history")
        return commits_of(self._archive(path) if path else (), job, mention, f"history of {self._name}")

    def joined(self) -> Iterator[Commit]:
        for entry in self._log():
            if isinstance(entry.get(KEY), dict) and "joined" in entry[KEY]:
                yield parse_record(json.dumps(entry[KEY]["joined"]), f"version {entry.get('version')} of {self._name}")

    def commit_of(self, job: str, run_id: str, above: int = 0) -> Commit | None:
        runs = self.newest_entry()["runs"]
        if run_mark(job, run_id) in {runs[at : at + _MARK] for at in range(0, len(runs), _MARK)}:
            return super().commit_of(job, run_id, above)
        whole = above or len(runs) < _MARK * KEPT_IN_VIEW
        return None if whole else next((item for item in self.archived(job, run_id) if item.run_id == run_id), None)

    def newest_entry(self) -> dict[str, Any]:
        """{"records": {job: record}, "history": file of older ones, "runs": marks of the newest runs, oldest first} as the
        newest entry has them that has any.
        """
        for entry in self._log():
            if isinstance(entry.get(KEY), dict):
                found = entry[KEY]
                runs = found.get("runs")
                return {
                    "records": dict(found.get("records") or {}),
                    "history": found.get("history"),
                    "runs": self._marks() if runs is None else str(runs),
                }
        return {"records": {}, "history": None, "runs": ""}

    def _marks(self) -> str:
        """The marks of the newest runs, as the log's entries tell of them."""
        told = (entry[KEY] for entry in self._log() if isinstance(entry.get(KEY), dict))
        own = ((value["job"], (value.get("records") or {}).get(value["job"])) for value in told if "job" in value)
        marks = [run_mark(job, record["run_id"]) for job, record in islice(own, KEPT_IN_VIEW) if record is not None]
        return "".join(reversed(marks))

    def files(self, ranges: Mapping[str, Range] | None = None) -> list[LakeFile]:
        actions = pa.table(self.delta.get_add_actions())
        divided = self.delta.metadata().partition_columns
        keep = _may_match(actions, ranges or {}, divided)
        values = {name: pc.struct_field(actions.column("partition"), name) for name in divided}
        texts = {name: partition_texts(array.combine_chunks()) for name, array in values.items()}
        found = []
        for at, action in enumerate(actions.select(["path", "size_bytes", "num_records"]).to_pylist()):
            if not keep[at]:
                continue
            partition = {name: texts[name][at].as_py() for name in divided}
            path, size = action["path"], action["size_bytes"]
            handle = {
                "remove": lambda changes, path=path, size=size, partition=partition: RemoveAction(
                    path, changes, now_ms(), size, partition
                ),
                "constants": {name: values[name][at] for name in divided},
            }
            whole = f"{self._name}/{path}" if "://" not in path and not path.startswith("/") else path
            found.append(LakeFile(whole, tuple(partition.values()), action["num_records"] or 0, size, handle))
        return found

    def constants(self, file: LakeFile) -> Mapping[str, Any]:
        return dict(file.handle["constants"])

    def check_writable(self) -> None:
        """Raises: ValidationError: for a table whose files aren't read by the names of its columns."""
        mode = self.delta.metadata().configuration.get("delta.columnMapping.mode", "none")
        if mode != "none":
            raise ValidationError(
                f"{self._name} maps its columns by {mode}, which this writer can't", hint="write another table"
            )

    def check_rewritable(self) -> None:
        features = self.delta.protocol().reader_features or ()
        if "deletionVectors" in features and pa.table(self.delta.deletion_vectors()).num_rows:
            raise ValidationError(
                f"{self._name} has rows that are deleted by deletion vectors",
                hint="purge them first (REORG TABLE ... APPLY (PURGE)), then run again",
            )


def run_mark(job: str, run_id: str) -> str:
    """A few characters that tell most runs apart: who finds them has to look, who does not need not."""
    text = f"{job}\0{run_id}".encode("utf-8", "surrogatepass")
    return base64.b64encode(hashlib.blake2b(text, digest_size=3).digest()).decode()


def with_run(runs: str, job: str, run_id: str) -> str:
    """The marks of the newest runs, with one more."""
    return (runs + run_mark(job, run_id))[-_MARK * KEPT_IN_VIEW :]


def app_id(job: str) -> str:
    """A job's name among the application transactions of a table."""
    return f"dativo:{job}"


def now_ms() -> int:
    return int(time.time() * 1000)


def partition_texts(values: pa.Array) -> pa.Array:
    """Partition values as the Delta protocol spells them."""
    if pa.types.is_string(values.type):
        if pc.any(pc.equal(values, "")).as_py():
            raise ValidationError(
                "a partition column holds an empty text, which Delta can't tell from no value",
                hint="replace it, or partition by another column",
            )
        return values
    if pa.types.is_timestamp(values.type):
        zone = "Z" if values.type.tz else ""
        return pc.strftime(values, f"%Y-%m-%dT%H:%M:%S{zone}" if zone else "%Y-%m-%d %H:%M:%S")
    return values.cast(pa.string())


def _may_match(actions: pa.Table, ranges: Mapping[str, Range], divided: Sequence[str]) -> list[bool]:
    """Which files may hold a row within the ranges, as their statistics tell."""
    keep = [True] * actions.num_rows
    for name, (low, high) in ranges.items():
        ends: tuple[tuple[str, Any, Callable[[Any, Any], bool]], ...] = (("min", high, gt), ("max", low, lt))
        for side, other, excludes in ends:
            column = "partition" if name in divided else side
            if column not in actions.column_names or name not in [f.name for f in actions.schema.field(column).type]:
                continue
            for at, value in enumerate(pc.struct_field(actions.column(column), name).to_pylist()):
                with suppress(TypeError):
                    keep[at] = keep[at] and not (value is not None and other is not None and excludes(value, other))
    return keep
