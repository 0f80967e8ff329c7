"""load_contract(job, root) -> Contract: an inline schema, an Open Data Contract Standard file, or an older asset file.

The file is read with our own YAML loader, so that an error has its line and a project of thousands of jobs loads fast; the
official package, which takes longer to import than a small job may run, judges it in `verify`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

from dativo_assets.errors import ConfigurationError, Location

from .model import Column, Constraints, Contract, Rule
from .rules import compile_rules

if TYPE_CHECKING:
    from dativo_assets.config import JobConfig


def load_contract(job: JobConfig, root: Path, *, locate: bool = True) -> Contract | None:
    """The contract a job declares, None when it declares none. Imports no Arrow. `null_cursor: quarantine` is a rule of it.

    locate=False leaves out where the columns of an inline schema stand, which takes a second parse of the job's file.

    `contract:` is a path relative to root; `path#name` picks one of several tables in the file (default: the job's name).

    Raises: ConfigurationError: at file:line, for a file that is missing or says what can't be understood.
    """
    return _with_cursor_rule(_declared(job, root, locate), job)


def _declared(job: JobConfig, root: Path, locate: bool) -> Contract | None:
    if job.columns is not None:
        return _inline(job, locate)
    if job.contract is None:
        return None
    from .file import read_contract  # and YAML, which an inline schema does without

    return replace(read_contract(job, job.contract, root), on_violation=job.on_violation)


def _with_cursor_rule(contract: Contract | None, job: JobConfig) -> Contract | None:
    incremental = job.source.incremental
    if incremental is None or incremental.null_cursor != "quarantine" or incremental.cursor_field is None:
        return contract
    where = job.location("source", "incremental", "null_cursor")
    if job.on_violation != "quarantine":
        raise ConfigurationError(
            f"`null_cursor: quarantine` sets rows aside, and `on_violation: {job.on_violation}` does not",
            details={"job": job.name, **where.details()},
            hint="set `on_violation: quarantine` in the job, or another null_cursor",
        )
    column = incremental.cursor_field
    contract = contract or Contract(job.name, job.version, on_violation=job.on_violation, file=job.file or None)
    if any(rule.kind == "required" and rule.columns == (column,) for rule in contract.rules):
        return contract
    rule = Rule("null_cursor", "required", (column,), f"{column} IS NOT NULL", location=where)
    return replace(contract, rules=(*contract.rules, rule))


def _inline(job: JobConfig, locate: bool) -> Contract:
    columns = []
    places: Iterable[Location | None] = job.column_places() if locate else repeat(None)
    for column, place in zip(job.columns or (), places, strict=False):
        columns.append(
            Column(
                name=column.name,
                type=column.type,
                required=column.required,
                unique=column.unique,
                primary_key=column.primary_key,
                constraints=Constraints(
                    min=column.min,
                    max=column.max,
                    exclusive_min=column.exclusive_min,
                    exclusive_max=column.exclusive_max,
                    pattern=column.pattern,
                    accepted_values=column.accepted_values,
                    min_length=column.min_length,
                    max_length=column.max_length,
                ),
                description=column.description,
                classification=column.classification,
                tags=tuple(f"{key}:{value}" if value else key for key, value in column.tags.items()),
                location=place,
            )
        )
    declared = tuple(columns)
    key = tuple(column.name for column in declared if column.primary_key)
    return Contract(
        name=job.name,
        version=job.version,
        description=job.description,
        columns=declared,
        rules=compile_rules(declared, key),
        on_violation=job.on_violation,
        file=job.file or None,
    )
