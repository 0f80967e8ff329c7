"""Which values the column has that divides a job, such as its tenants, and of each a text that changes as its rows do."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dativo_plugin_sdk import BaseReader, ReadPlan, ReadRequest, Split, ValidationError
from dativo_plugin_sdk.arrow import iterate
from dativo_plugin_sdk.partition_rows import PartitionRange
from dativo_plugin_sdk.rows import Rows

from dativo_assets.plan import JobPlan

from .attend import read_plan
from .widen import widened

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

MOST_VALUES = 10_000
"""Partitions that are found, at most: a column of more is an identifier, and Dagster grows slow with them."""


@dataclass
class Seen:
    """What was found before, for the next look. told: the reader's probe then. values: its own answer.
    splits: {(id, version): the values in it}.
    """

    told: str | None = None
    values: Mapping[str, str] | None = None
    splits: dict[tuple[str, str], AbstractSet[str]] = field(default_factory=dict)


def partition_values(
    plan: JobPlan, column: str, environment: Mapping[str, str], seen: Seen
) -> Mapping[str, str] | None:
    """{value: a text that changes as its rows do}, in their order; None where the reader can't tell. Only what has changed since
    it was `seen` is read.

    Raises: ValidationError: for a column that names no partitions. Whatever the reader raises.
    """
    with closing(plan.open_reader(environment)) as reader:
        found = _found(plan, reader, column, seen)
    if found is None:
        return None
    if len(found) > MOST_VALUES:
        raise ValidationError(
            f"column {column!r} has {len(found):,} values, too many for partitions",
            details={"column": column},
            hint=f"divide the job by a column of {MOST_VALUES:,} values at most, or set partitions.dynamic.find: false",
        )
    return {value: found[value] for value in sorted(found) if value}


def _found(plan: JobPlan, reader: BaseReader, column: str, seen: Seen) -> Mapping[str, str] | None:
    told = reader.probe(None)
    if told is None:
        return {}
    if seen.values is None or told != seen.told:
        seen.told, seen.values = told, reader.partition_values(column)
    return seen.values if seen.values is not None else _read(plan, reader, column, seen)


def _read(plan: JobPlan, reader: BaseReader, column: str, seen: Seen) -> Mapping[str, str] | None:
    """By the splits that hold a value. None where one may have changed without its version telling."""
    declared = plan.contract.schema() if plan.contract is not None else None

    def attempt(widen: Mapping[str, str]) -> Mapping[str, str] | None:
        request = ReadRequest(columns=(column,), schema=declared, widen=widen)
        read = read_plan(reader, request)
        if any(split.version is None for split in read.splits):
            return None
        return _of_splits(reader, read, request, column, seen)

    return widened(attempt)


def _of_splits(reader: BaseReader, read: ReadPlan, request: ReadRequest, column: str, seen: Seen) -> Mapping[str, str]:
    rows = Rows(request.schema, request.widen, read.schema)
    now = {(split.id, str(split.version)): split for split in read.splits}
    for gone in seen.splits.keys() - now.keys():
        del seen.splits[gone]
    digests: dict[str, Any] = {}
    for key, split in sorted(now.items()):
        if key not in seen.splits:
            seen.splits[key] = _values(reader, split, rows, column)
        for value in seen.splits[key]:
            digests.setdefault(value, hashlib.blake2b(digest_size=12)).update(repr(key).encode())
    return {value: digest.hexdigest() for value, digest in digests.items()}


def _values(reader: BaseReader, split: Split, rows: Rows, column: str) -> AbstractSet[str]:
    import pyarrow as pa
    import pyarrow.compute as pc

    found: set[str] = set()
    part = PartitionRange(column)
    for item in iterate(reader.read(split)):
        for batch in rows.convert(item):
            values = part.values_of(batch)
            part.check_values(values.type)
            found.update(pc.unique(values.cast(pa.string())).drop_null().to_pylist())
            if len(found) > MOST_VALUES:
                return found
    return found
