"""Partitions that are files: what is new, and a reader of one file, whose rows say which."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dativo_plugin_sdk import BaseReader, ConfigurationError, ReadPlan, ReadRequest, Split, ValidationError
from dativo_plugin_sdk.arrow import as_schema, iterate
from dativo_plugin_sdk.rows import Rows

from dativo_assets.errors import to_dativo_error
from dativo_assets.plan import JobPlan

if TYPE_CHECKING:
    import pyarrow as pa
    from dativo_plugin_sdk import Commit
    from dativo_plugin_sdk.partition_rows import PartitionRange, PartitionSelection

    from dativo_assets.config import JobConfig

APPLIED = "file"
"""What a reader says in its plan that it has read one file alone."""


def new_files(plan: JobPlan, environment: Mapping[str, str]) -> tuple[Commit | None, Mapping[str, str]]:
    """The last commit, and each file that is new or has changed since, the oldest first, with a text that changes as it does.

    Raises: DativoError.
    """
    try:
        with closing(plan.open_writer(environment)) as writer:
            commit = writer.last_commit()
        with closing(plan.open_reader(environment)) as reader:
            return commit, reader.new_files(None if commit is None else commit.cursor)
    except (Exception, SystemExit) as error:
        found = to_dativo_error(error, job=plan.job.name, stage="plan", plugin=plan.reader.reference)
        raise plan.redacted(found) from error


def any_file(job: JobConfig, reader: BaseReader) -> PartitionSelection | None:
    """The oldest file of a job that is divided by files, for a look at its rows; None for other jobs.

    Raises: ValidationError: where there is none. DativoError.
    """
    if not job.is_by_file:
        return None
    from dativo_assets.config.partition_keys import of_file

    file = next(iter(reader.new_files(None)), None)
    if file is None:
        raise ValidationError("the source has no file yet", hint="see source.files")
    return of_file(job, file)


class OneFile(BaseReader):
    """A reader as it is but for one column more, which holds the file's name. The reader itself never hears of the column."""

    def __init__(self, reader: BaseReader, part: PartitionRange) -> None:
        self._reader, self._column, self._file = reader, part.column, part.values[0]
        self._rows: tuple[Any, Mapping[str, str], Any] = (None, {}, None)
        self.source_config, self.options, self.notes = reader.source_config, reader.options, reader.notes

    def plan(self, request: ReadRequest) -> ReadPlan:
        """Raises: ValidationError: where the file has a column of that name itself. ConfigurationError: for a reader that
        can't read one file alone.
        """
        schema = None if request.schema is None else _without(as_schema(request.schema), self._column)
        read = self._reader.plan(replace(request, schema=schema))
        if APPLIED not in read.applied:
            raise ConfigurationError(
                f"reader {self.source_config.reader} can't read one file alone",
                hint="divide the job by a column: partitions: {dynamic: {column: ...}}",
            )
        found = None if read.schema is None else as_schema(read.schema)
        self._rows = (schema, request.widen, found)
        return replace(read, schema=None if found is None else self._named(found), schema_text=None)

    def read(self, split: Split) -> Any:
        return _Batches(self._reader.read(split), Rows(*self._rows), self._added)

    def column_tags(self) -> Mapping[str, str]:
        return self._reader.column_tags()

    def cancel(self) -> None:
        self._reader.cancel()

    def close(self) -> None:
        self._reader.close()

    def _named(self, schema: pa.Schema) -> pa.Schema:
        import pyarrow as pa

        if self._column in schema.names:
            raise ValidationError(
                f"the source has a column {self._column!r} of its own, so it can't hold the file's name",
                details={"column": self._column},
                hint="name another one: partitions: {files: {column: ...}}",
            )
        return schema.append(pa.field(self._column, pa.string()))

    def _added(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        import pyarrow as pa

        names = pa.repeat(pa.scalar(self._file, pa.string()), batch.num_rows)
        return pa.record_batch([*batch.columns, names], schema=self._named(batch.schema))


class _Batches:
    """The batches of a split, with the column."""

    def __init__(self, found: Any, rows: Rows, added: Any) -> None:
        self._found, self._rows, self._added = found, rows, added

    @property
    def metrics(self) -> Any:
        return getattr(self._found, "metrics", None)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for item in iterate(self._found):
            for batch in self._rows.convert(item):
                yield self._added(batch)


def _without(schema: pa.Schema, column: str) -> pa.Schema:
    at = schema.get_field_index(column)
    return schema if at < 0 else schema.remove(at)
