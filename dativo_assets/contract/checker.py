"""Checker: a stream of batches through a contract. pyarrow is imported by the first one made."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dativo_assets.errors import Location, ValidationError

from .model import MASK, Contract, Limit, Rule, RuleResult
from .origin import check_origin_names

if TYPE_CHECKING:
    import pyarrow as pa

    from .binding import Broken
    from .native import NativeChecks

_SAMPLE_ROWS = 5
_SHOWN_CHARACTERS = 100


@dataclass(frozen=True)
class Checked:
    """A batch after the contract. good: rows that land, in the contract's column order. rejected: rows as they came, with
    their origin, where the job quarantines; None where none were. Every row is in one of the two.
    """

    good: Any
    rejected: pa.RecordBatch | None


@dataclass(frozen=True)
class _Rows:
    """Rows that were looked at: a whole batch, or those of it that break a rule. of: rows in the batch. positions: of these
    rows in the batch, None for all of them. first_row: rows of the split before the batch.
    """

    batch: pa.RecordBatch
    of: int
    split: str
    first_row: int
    positions: Any = None

    def numbers(self, at: Any) -> Any:
        """The numbers in the split, from 1, of the rows at these positions: integer arrays both."""
        import pyarrow as pa
        import pyarrow.compute as pc

        within = at if self.positions is None else self.positions.take(at)
        return pc.add(within.cast(pa.int64()), pa.scalar(self.first_row + 1, pa.int64()))


@dataclass
class _Tally:
    violations: int
    sample: list[dict[str, Any]]

    def add(self, other: _Tally) -> None:
        self.violations += other.violations
        self.sample.extend(other.sample[: _SAMPLE_ROWS - len(self.sample)])


class Checker:
    """One run's contract over all of its threads.

    A rule that warns, and every rule of a job whose on_violation is warn, counts its violations and lets the row land. A
    value that does not fit its declared type can't land: under warn it fails the run, as under fail. Keys are compared last,
    among the rows that land, so that a row which another rule rejects never makes a good row a duplicate.

    evolve: the job's; "none" refuses columns that the contract does not declare, else they pass behind the declared ones.

    Raises: ValidationError: when the source lacks a declared column, has one too many, or a type that no cast reaches.
    ConfigurationError: at its line, for a rule that makes no sense for its column's type.
    """

    def __init__(
        self, contract: Contract, input_schema: Any, *, evolve: str, job: str, native: NativeChecks | None = None
    ) -> None:
        """input_schema: anything with `__arrow_c_schema__`. native: the same contract's, for batches of that schema."""
        self._contract, self._job, self._native = contract, job, native
        self._source = input_schema
        self._quarantines = contract.on_violation == "quarantine"
        self._order = {rule.name: number for number, rule in enumerate(contract.rules)}
        self._masked = {column.name for column in contract.columns if column.masked}
        self._lock = threading.Lock()
        self._parts: list[Checker] = []
        self._rows = 0
        self._tallies = {rule.name: _Tally(0, []) for rule in contract.rules}
        if native is None:
            from dativo_plugin_sdk.arrow import as_schema

            from .binding import Binding

            self._source = as_schema(input_schema)
            self._binding = Binding(contract, self._source, evolve)
        if self._quarantines:
            check_origin_names(self._source.names if native is None else native.output_text)

    @property
    def output_schema(self) -> Any:
        """Of rows that land: the declared columns in the contract's order, then any others."""
        return self._binding.schema if self._native is None else self._native.output_schema

    @property
    def quarantine_schema(self) -> pa.Schema:
        """Of rejected rows: the source's columns, `_dativo_rule`, `_dativo_column`, `_dativo_value`, `_dativo_split`,
        `_dativo_row`.
        """
        from dativo_plugin_sdk.arrow import as_schema

        from .quarantine import quarantine_schema

        return quarantine_schema(as_schema(self._source))

    def part(self) -> Checker:
        """The same checks with counts of their own, which are this one's as well."""
        found = copy(self)
        found._lock, found._parts, found._rows = threading.Lock(), [], 0
        found._tallies = {name: _Tally(0, []) for name in self._tallies}
        with self._lock:
            self._parts.append(found)
        return found

    def counts(self) -> dict[str, Any]:
        """What was counted so far, as JSON."""
        rows, tallies = self._sums()
        return {"rows": rows, "broken": {name: [t.violations, t.sample] for name, t in tallies.items() if t.violations}}

    def add(self, counts: Mapping[str, Any]) -> None:
        """Count what another run's `counts` told."""
        with self._lock:
            self._rows += counts["rows"]
            for name, (violations, sample) in counts["broken"].items():
                self._tallies[name].add(_Tally(violations, sample))

    @property
    def remembers(self) -> bool:
        """Whether a row is judged by others, so that counts are not all there is to know of the rows so far."""
        return bool(self.keys)

    @property
    def keys(self) -> tuple[Rule, ...]:
        """The rules by which a row is judged by the rows before it."""
        return self._contract.keys

    @property
    def repeats(self) -> bool:
        """Whether a row's key was missing, or came before."""
        return any(self._tallies[rule.name].violations for rule in self.keys)

    def remember(self, columns: pa.RecordBatch) -> None:
        """Take the keys of rows that landed in a run before, whose rest this one goes on with. columns: those of all keys."""
        self._binding.remember(columns)

    def check(self, batch: Any, split: str, first_row: int) -> Checked:
        """batch: n rows of the input schema. first_row: how many rows of the split came before it.

        Raises: ValidationError: when a row breaks a rule and the job does not quarantine; details: rule, column, value,
        split, row (from 1, within the split), violations (in this batch).
        """
        if self._native is not None:
            return self._check_natively(self._native, batch, split, first_row)
        import pyarrow as pa
        import pyarrow.compute as pc

        columns, broken = self._binding.cast(batch)
        broken += self._binding.values(batch, columns)
        rejected = self._rejected(broken)
        keys = self._binding.keys(batch, columns, rejected, self._contract.stops)
        if keys:
            broken += keys
            rejected = self._rejected(broken)
        aside = self._judge(_Rows(batch, batch.num_rows, split, first_row), broken, rejected)
        good = pa.RecordBatch.from_arrays(columns, schema=self.output_schema)
        return Checked(good if rejected is None else good.filter(pc.invert(rejected)), aside)

    def _check_natively(self, native: NativeChecks, batch: Any, split: str, first_row: int) -> Checked:
        good, marked = native.check(batch)
        if marked is None:
            with self._lock:
                self._rows += batch.num_rows
            return Checked(good, None)
        import pyarrow as pa

        from .binding import Broken

        found = pa.record_batch(marked)
        rules = {int(name): found.column(at) for at, name in _marks(found, len(native.output_text))}
        source = found.select(list(range(len(rules) + 1, found.num_columns)))
        rows = _Rows(source, batch.num_rows, split, first_row, positions=found.column(0))
        broken = []
        for index, mask in rules.items():
            rule = native.rules[index]
            broken.append(Broken(rule, mask, source.schema.get_field_index(rule.columns[0])))
        return Checked(good, self._judge(rows, broken, self._rejected(broken)))

    def _judge(self, rows: _Rows, broken: list[Broken], rejected: Any) -> pa.RecordBatch | None:
        """Count what is broken; the rejected rows for the quarantine. Raises: ValidationError: where there is none."""
        counted = self._count(rows, broken)
        if rejected is None:
            return None
        stopping = sorted(
            (item for item in broken if self._contract.stops(item.rule)), key=lambda item: self._order[item.rule.name]
        )
        if not self._quarantines:
            raise self._error(rows, stopping[0], counted)
        from .quarantine import rejected_rows

        return rejected_rows(rows.batch, rejected, stopping, rows.split, rows.numbers, self.quarantine_schema)

    def finish(self) -> None:
        """To be called when every batch was checked, before the commit.

        Raises: ValidationError: under fail, when a rule about the whole run does not hold.
        """
        if self._contract.on_violation != "fail":
            return
        for result in self.results():
            rule = result.rule
            if rule.limit is not None and not result.passed and rule.severity == "error":
                found = result.checked if rule.kind == "row_count" else result.violations
                raise ValidationError(
                    f"rule {rule.name} does not hold: {rule.description}; found {found} of {result.checked} rows",
                    "CONTRACT_VIOLATION",
                    {"rule": rule.name, "rows": found, "checked": result.checked, "job": self._job},
                    hint="nothing landed; mend the source or the contract, or set `on_violation: warn` in the job",
                )

    def results(self) -> tuple[RuleResult, ...]:
        """Every rule over the rows checked so far."""
        rows, tallies = self._sums()
        return tuple(
            RuleResult(
                rule,
                checked=rows,
                violations=_violations(rule, tallies[rule.name].violations, rows),
                passed=_passed(rule, tallies[rule.name].violations, rows),
                sample=tuple(tallies[rule.name].sample),
            )
            for rule in self._contract.rules
        )

    def _sums(self) -> tuple[int, dict[str, _Tally]]:
        """Rows, and what each rule counted, with those of the parts."""
        with self._lock:
            rows, parts = self._rows, list(self._parts)
            tallies = {name: _Tally(tally.violations, list(tally.sample)) for name, tally in self._tallies.items()}
        for part in parts:
            more, broken = part._sums()
            rows += more
            for name, tally in broken.items():
                tallies[name].add(tally)
        return rows, tallies

    def _rejected(self, broken: list[Broken]) -> Any:
        from .masks import either

        rejected = None
        for item in broken:
            if self._contract.stops(item.rule):
                rejected = either(rejected, item.rows)
        return rejected

    def _count(self, rows: _Rows, broken: list[Broken]) -> dict[str, int]:
        """Note what a batch broke; the rows of each rule, in the contract's order."""
        if not broken:
            with self._lock:
                self._rows += rows.of
            return {}
        from .binding import count
        from .masks import either

        masks: dict[str, Any] = {}
        for item in broken:
            masks[item.rule.name] = either(masks.get(item.rule.name), item.rows)
        counted = {name: count(mask) for name, mask in masks.items()}
        with self._lock:
            self._rows += rows.of
            for name, number in counted.items():
                self._tallies[name].violations += number
            wanted = [item for item in broken if len(self._tallies[item.rule.name].sample) < _SAMPLE_ROWS]
        for item in wanted:
            sample = self._sample(rows, item)
            with self._lock:
                held = self._tallies[item.rule.name].sample
                held.extend(sample[: _SAMPLE_ROWS - len(held)])
        return dict(sorted(counted.items(), key=lambda item: self._order[item[0]]))

    def _sample(self, rows: _Rows, item: Broken) -> list[dict[str, Any]]:
        from .binding import first_positions

        at = first_positions(item.rows, _SAMPLE_ROWS)
        return [
            {"split": rows.split, "row": number, **self._cell(rows.batch, item, position)}
            for position, number in zip(at.to_pylist(), rows.numbers(at).to_pylist(), strict=True)
        ]

    def _cell(self, batch: pa.RecordBatch, item: Broken, position: int) -> dict[str, Any]:
        """The column and value to blame, the value masked where the column is classified."""
        from .quarantine import text_of

        keyed = item.rule.kind in ("unique", "primary_key")
        names = list(item.rule.columns) if keyed else [batch.schema.names[item.column]]
        shown = []
        for name in names:
            text = text_of(batch.column(name)[position].as_py())
            if text is not None and name in self._masked:
                text = MASK
            elif text is not None and len(text) > _SHOWN_CHARACTERS:
                text = text[:_SHOWN_CHARACTERS] + "..."
            shown.append(text)
        value = shown[0] if len(shown) == 1 else ", ".join("null" if text is None else text for text in shown)
        return {"column": ", ".join(names), "value": value}

    def _error(self, rows: _Rows, first: Broken, counted: dict[str, int]) -> ValidationError:
        rule = first.rule
        place = self._sample(rows, first)[0]
        value = "null" if place["value"] is None else repr(place["value"])
        if rule.kind == "types":
            what = f"{place['column']} = {value} is no {self._contract.column(place['column']).type}"
        else:
            what = f"{rule.description}, found {value}"
        others = [f"{name} ({rows})" for name, rows in counted.items() if name != rule.name]
        also = f"; rows that break others: {', '.join(others)}" if others else ""
        declared = self._declared(rule, place["column"])
        return ValidationError(
            f"rule {rule.name} is broken by {counted[rule.name]} of the {rows.of} rows of a batch: {what}{also}",
            "CONTRACT_VIOLATION",
            {
                "rule": rule.name,
                **place,
                "violations": counted[rule.name],
                "rows": rows.of,
                "rules": list(counted),
                "job": self._job,
                **({} if declared is None else {"declared": str(declared)}),
            },
            hint=self._hint(rule),
        )

    def _declared(self, rule: Rule, column: str) -> Location | None:
        """Where the rule stands, or the column that it is about. column: where a value does not fit its type."""
        named = {item.name: item.location for item in self._contract.columns}
        return rule.location or named.get(column if rule.kind == "types" else next(iter(rule.columns), column))

    def _hint(self, rule: Rule) -> str:
        if rule.kind == "types":
            return "nothing landed; declare the column as string, mend the source, or set `on_violation: quarantine`"
        return "nothing landed; set `on_violation: quarantine` to set such rows aside, or `warn` to count them"


def _marks(found: pa.RecordBatch, columns: int) -> list[tuple[int, str]]:
    """(position, name) of the columns that mark a broken rule: those between `_row` and the batch's own."""
    return list(enumerate(found.schema.names))[1 : found.num_columns - columns]


def _violations(rule: Rule, counted: int, rows: int) -> int:
    if rule.kind != "row_count":
        return counted
    return 0 if _passed(rule, counted, rows) else 1


def _passed(rule: Rule, counted: int, rows: int) -> bool:
    limit: Limit | None = rule.limit
    if limit is None:
        return counted == 0
    return limit.holds(rows if rule.kind == "row_count" else counted, rows)
