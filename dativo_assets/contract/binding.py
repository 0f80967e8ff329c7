"""A contract bound to a source's schema: which column goes where, how it is cast, and which rows break which rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from dativo_plugin_sdk.arrow import type_name

from dativo_assets.config import nearest
from dativo_assets.errors import ConfigurationError, ValidationError

from .casts import Cast, bind_cast
from .masks import Array, Mask, either
from .model import Column, Contract, Rule
from .values import Check, bind_rule

if TYPE_CHECKING:
    from .unique import UniqueIndex

Stop = Callable[[Rule], bool]
"""Whether a rule's violations keep a row from landing."""


@dataclass(frozen=True)
class Broken:
    """The rows of a batch that break a rule. column: the one to blame, an index into the source's columns; a key's first."""

    rule: Rule
    rows: Mask
    column: int


@dataclass
class _Cell:
    """A column that lands. source: its index in the source's schema."""

    source: int
    cast: Cast | None
    checks: list[tuple[Rule, Check]]


@dataclass
class _Key:
    rule: Rule
    positions: list[int]
    index: UniqueIndex


class Binding:
    """schema: of the rows that land, declared columns first, in the contract's order."""

    def __init__(self, contract: Contract, source: pa.Schema, evolve: str) -> None:
        self._types_rule = next((rule for rule in contract.rules if rule.kind == "types"), None)
        declared = contract.schema()
        self._cells: list[_Cell] = []
        places = {name: index for index, name in enumerate(source.names)}
        _check_names(contract, source, evolve)
        for column, field in zip(contract.columns, declared, strict=True):
            at = places[column.name]
            cast = _bind_cast(column, source.field(at).type, field.type)
            self._cells.append(_Cell(at, cast, _checks(contract, field)))
        known = set(declared.names)
        extra = [index for index, name in enumerate(source.names) if name not in known]
        self._cells.extend(_Cell(index, None, _checks(contract, source.field(index))) for index in extra)
        self.schema = pa.schema([*declared, *(source.field(index) for index in extra)])
        self._keys = [self._key(rule) for rule in contract.keys]

    def _key(self, rule: Rule) -> _Key:
        try:
            from .unique import UniqueIndex
        except ImportError as error:
            raise ConfigurationError(
                f"rule {rule.name} compares keys, which needs numpy", hint="pip install numpy"
            ) from error
        positions = [self.schema.get_field_index(name) for name in rule.columns]
        try:
            index = UniqueIndex([self.schema.field(position).type for position in positions])
        except ValueError as error:
            raise _refused(rule, str(error)) from error
        return _Key(rule, positions, index)

    def cast(self, batch: pa.RecordBatch) -> tuple[list[Array], list[Broken]]:
        """The columns of `schema`, and the rows whose value fits no declared type; those are null."""
        columns, broken = [], []
        for cell in self._cells:
            array = batch.column(cell.source)
            if cell.cast is not None:
                array, bad = cell.cast(array)
                if bad is not None:
                    assert self._types_rule is not None
                    broken.append(Broken(self._types_rule, bad, cell.source))
            columns.append(array)
        return columns, broken

    def values(self, batch: pa.RecordBatch, columns: list[Array]) -> list[Broken]:
        """The rows that break a rule about one value."""
        broken = []
        for cell, array in zip(self._cells, columns, strict=True):
            for rule, check in cell.checks:
                # A value that could not be cast is there all the same: only the source's own nulls are missing.
                bad = _nulls(batch.column(cell.source)) if rule.kind == "required" else check(array)
                if bad is not None:
                    broken.append(Broken(rule, bad, cell.source))
        return broken

    def keys(self, batch: pa.RecordBatch, columns: list[Array], rejected: Mask | None, stops: Stop) -> list[Broken]:
        """The rows whose key is null where it must not be, or came before among the rows that no other rule rejects."""
        broken: list[Broken] = []
        for key in self._keys:
            parts = [columns[position] for position in key.positions]
            bad = None
            if key.rule.kind == "primary_key":
                for position in key.positions:
                    bad = either(bad, _nulls(batch.column(self._cells[position].source)))
            bad = either(bad, key.index.repeated(parts, rejected))
            if bad is not None:
                column = self._cells[key.positions[0]].source
                broken.append(Broken(key.rule, bad, column))
                if stops(key.rule):
                    rejected = either(rejected, bad)
        return broken

    def remember(self, columns: pa.RecordBatch) -> None:
        """Take the keys of rows that landed before. columns: those of all keys, of types that hold the same values."""
        for key in self._keys:
            fields = [self.schema.field(position) for position in key.positions]
            key.index.repeated([columns.column(field.name).cast(field.type) for field in fields], None)


def _nulls(array: Array) -> Mask | None:
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array.is_null() if array.null_count else None


def _checks(contract: Contract, field: Any) -> list[tuple[Rule, Check]]:
    """The rules about the values of one column."""
    apart = ("types", "unique", "primary_key", "row_count")
    rules = [rule for rule in contract.rules if rule.columns == (field.name,) and rule.kind not in apart]
    return [(rule, _bind(rule, field.type)) for rule in rules]


def _bind(rule: Rule, data_type: Any) -> Check:
    try:
        return bind_rule(rule, data_type)
    except ValueError as error:
        raise _refused(rule, str(error)) from error


def _refused(rule: Rule, reason: str) -> ConfigurationError:
    details = {} if rule.location is None else rule.location.details()
    details["rule"] = rule.name
    return ConfigurationError(
        f"rule {rule.name} can't be checked: {reason}", details=details, hint="mend the rule, or the column's type"
    )


def _bind_cast(column: Column, source: Any, target: Any) -> Cast | None:
    try:
        return bind_cast(source, target)
    except TypeError as error:
        raise ValidationError(
            f"column {column.name!r} arrives as {type_name(source)} and is declared {type_name(target)}: {error}",
            details={"column": column.name, "source_type": type_name(source), "declared_type": type_name(target)},
            hint=f"declare it as {type_name(source)}, or convert it in the source",
        ) from error


def _check_names(contract: Contract, source: pa.Schema, evolve: str) -> None:
    names = list(source.names)
    for column in contract.columns:
        if column.name not in names:
            free = [name for name in names if name not in {item.name for item in contract.columns}]
            guess = nearest(column.name, free)
            hint = f"the source has {guess!r}; is that the one?" if guess else f"the source has {', '.join(names)}"
            raise ValidationError(
                f"the source has no column {column.name!r}, which the contract declares",
                "MISSING_COLUMN",
                {"column": column.name, "source_columns": names},
                hint=hint,
            )
    declared = {column.name for column in contract.columns}
    extra = [name for name in names if name not in declared]
    if extra and declared and evolve == "none":
        shown = ", ".join(repr(name) for name in extra)
        raise ValidationError(
            f"the source has {'a column' if len(extra) == 1 else 'columns'} that the contract does not declare: {shown}",
            "EXTRA_COLUMN",
            {"column": extra[0], "extra_columns": extra},
            hint="declare it in the contract, or set `evolve: add_columns` in the job to let new columns through",
        )


def count(mask: Mask) -> int:
    """How many rows are marked."""
    return int(mask.true_count)


def first_positions(mask: Mask, most: int) -> Array:
    """The positions of the first rows marked."""
    return pc.indices_nonzero(mask).slice(0, most)
