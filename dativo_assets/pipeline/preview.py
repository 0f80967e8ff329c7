"""A job's first rows after its contract; nothing is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dativo_plugin_sdk import ReadPlan, ReadRequest, SchemaMismatchError
from dativo_plugin_sdk.arrow import iterate, schema_text
from dativo_plugin_sdk.rows import Rows

from dativo_assets import contract as contracts
from dativo_assets.errors import to_dativo_error
from dativo_assets.plan import JobPlan

from .attend import read_plan
from .one_file import OneFile, any_file
from .settings import RunSettings
from .widen import widened

if TYPE_CHECKING:
    from dativo_assets.contract import Checker, RuleResult


@dataclass
class Preview:
    """schema: {column: type name} of good rows. good, rejected: rows as dicts."""

    schema: dict[str, str] = field(default_factory=dict)
    good: list[dict[str, Any]] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    rules: tuple[RuleResult, ...] = ()
    notes: tuple[str, ...] = ()


def preview(plan: JobPlan, rows: int, settings: RunSettings | None = None) -> Preview:
    """The first `rows` rows that the source gives, good and rejected ones apart.

    Raises: DativoError: whatever a run would fail with before it writes.
    """
    settings = settings or RunSettings()
    try:
        return widened(lambda widen: _attempt(plan, rows, settings, widen))
    except SchemaMismatchError:
        raise
    except (Exception, SystemExit) as error:
        raise plan.redacted(to_dativo_error(error, job=plan.job.name, plugin=plan.reader.reference)) from error


def plan_read(plan: JobPlan, settings: RunSettings, cursor: dict[str, Any] | None) -> ReadPlan:
    """What a run from this cursor would read. Raises: DativoError."""
    reader = plan.open_reader(settings.environment)
    with closing(reader):
        try:
            schema = plan.contract.schema() if plan.contract is not None else None
            return read_plan(reader, ReadRequest(schema=schema, cursor=cursor, parallelism=settings.workers))
        except (Exception, SystemExit) as error:
            found = to_dativo_error(error, job=plan.job.name, stage="plan", plugin=plan.reader.reference)
            raise plan.redacted(found) from error


def _attempt(plan: JobPlan, wanted: int, settings: RunSettings, widen: Mapping[str, str]) -> Preview:
    declared = plan.contract.schema() if plan.contract is not None else None
    out = Preview()
    checker: Checker | None = None
    left = wanted
    reader = plan.open_reader(settings.environment)
    with closing(reader):
        selection = any_file(plan.job, reader)
        if selection is not None and selection.file is not None:
            reader = OneFile(reader, selection.file)
        request = ReadRequest(
            schema=declared, widen=widen, parallelism=settings.workers, limit=wanted, partition=selection
        )
        read = read_plan(reader, request)
        converter = Rows(declared, widen, read.schema)
        out.notes = read.notes
        for split in read.splits:
            first = 0
            for item in iterate(reader.read(split)):
                for batch in converter.convert(item):
                    part = batch.slice(0, left)
                    left -= part.num_rows
                    if plan.contract is not None:
                        checker = checker or _checker(plan, batch.schema)
                        checked = checker.check(part, split.id, first)
                        if checked.rejected is not None:
                            out.rejected.extend(checked.rejected.to_pylist())
                        part = checked.good
                    first += batch.num_rows
                    out.good.extend(part.to_pylist())
                    if left <= 0:
                        break
                if left <= 0:
                    break
            if left <= 0:
                break
        if checker is None and plan.contract is not None and read.schema is not None:
            checker = _checker(plan, read.schema)
        out.schema = schema_text(converter.schema if checker is None else checker.output_schema)
        out.rules = () if checker is None else checker.results()
    return out


def _checker(plan: JobPlan, schema: Any) -> Checker:
    """A checker that sets bad rows aside whatever the job does with them, so that both kinds can be shown."""
    assert plan.contract is not None
    lenient = dataclasses.replace(plan.contract, on_violation="quarantine")
    return contracts.Checker(lenient, schema, evolve=plan.job.evolve, job=plan.job.name)
