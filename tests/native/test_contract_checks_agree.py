"""The native checks of a contract and those in pyarrow: the same rows land, the same are rejected, the same is told."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from dativo_plugin_sdk.arrow import parse_type, schema_text
from hypothesis import assume, given
from hypothesis import strategies as st

from dativo_assets.contract import Checker, Column, Contract, native_checks
from dativo_assets.contract.model import Constraints
from dativo_assets.contract.rules import compile_rules
from dativo_assets.errors import ValidationError

DAYS = st.dates(dt.date(1960, 1, 1), dt.date(1980, 1, 1))
MOMENTS = st.datetimes(dt.datetime(1960, 1, 1), dt.datetime(1980, 1, 1))
TEXTS = st.text(st.sampled_from("ab1 é\n٣_-@."), max_size=5)
PATTERNS = st.one_of(
    st.sampled_from([r"^[\w.+-]+@[\w-]+$", r"^\d+$", "a|b1", "^[^a]*$", r"\bb", "(?:ab)+", "^.{2,3}$", r"\s", "", "é"]),
    st.text(st.sampled_from(r"ab1.*+?[]^$(){}|\-dwsbDWS,&é"), max_size=8),
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int8": st.integers(-128, 127),
    "int64": st.integers(-5, 5) | st.sampled_from([-(2**63), 2**63 - 1]),
    "uint64": st.integers(0, 5) | st.just(2**64 - 1),
    "float64": st.floats() | st.sampled_from([0.0, -0.0, 0.5]),
    "float32": st.floats(width=32) | st.sampled_from([0.0, 0.5]),
    "string": TEXTS,
    "large_string": TEXTS,
    "bool": st.booleans(),
    "date": DAYS,
    "timestamp[us]": MOMENTS,
    "timestamp[s]": MOMENTS.map(lambda moment: moment.replace(microsecond=0)),
    "timestamp[ms, UTC]": MOMENTS.map(lambda moment: moment.replace(microsecond=0, tzinfo=dt.timezone.utc)),
    "decimal(6, 2)": st.decimals(-9999, 9999, places=2),
}
PLAIN_NUMBERS = st.integers(-6, 6) | st.sampled_from([0.5, -0.5, "1.25", 1e300, 2**63 - 1, -(2**63), float("inf")])


def bounds(name: str) -> st.SearchStrategy[Any]:
    if name == "date":
        return DAYS.map(str)
    if name.startswith("timestamp"):
        zone = "Z" if "UTC" in name else ""
        return MOMENTS.map(lambda moment: moment.isoformat() + zone)
    return PLAIN_NUMBERS


@st.composite
def columns(draw: st.DrawFn, name: str) -> tuple[Column, st.SearchStrategy[Any]]:
    type_name = draw(st.sampled_from(sorted(VALUES)))
    text = "string" in type_name
    ordered = not text and type_name != "bool"
    bound = bounds(type_name)

    def maybe(strategy: st.SearchStrategy[Any], *, when: bool) -> Any:
        return draw(st.none() | strategy) if when else None

    listed = TEXTS if text else VALUES[type_name].map(lambda value: str(value) if ordered else value)
    constraints = Constraints(
        min=maybe(bound, when=ordered),
        exclusive_max=maybe(bound, when=ordered),
        pattern=maybe(PATTERNS, when=text),
        accepted_values=maybe(st.lists(listed, max_size=20).map(tuple), when=not ordered),
        min_length=maybe(st.integers(0, 3), when=text),
        max_length=maybe(st.integers(0, 4), when=text),
    )
    column = Column(
        name,
        type_name,
        required=draw(st.booleans()),
        unique=draw(st.booleans()),
        primary_key=draw(st.integers(0, 4)) == 0,
        constraints=constraints,
    )
    return column, VALUES[type_name]


@st.composite
def cases(draw: st.DrawFn) -> tuple[Contract, list[pa.RecordBatch]]:
    drawn = [draw(columns(name)) for name in ("a", "b", "c")[: draw(st.integers(1, 3))]]
    declared = tuple(column for column, _ in drawn)
    key = tuple(column.name for column in declared if column.primary_key)
    how = draw(st.sampled_from(["fail", "warn", "quarantine"]))
    contract = Contract("c", columns=declared, rules=compile_rules(declared, key), on_violation=how)
    schema = pa.schema([(column.name, parse_type(column.type)) for column, _ in draw(st.permutations(drawn))])
    values = {column.name: st.none() | strategy for column, strategy in drawn}
    batches = []
    for _ in range(draw(st.integers(1, 3))):
        rows = draw(st.lists(st.fixed_dictionaries(values), max_size=8))
        batches.append(pa.RecordBatch.from_pylist(rows, schema=schema))
    return contract, batches


def told(check: Checker, batches: list[pa.RecordBatch]) -> list[Any]:
    out: list[Any] = [pa.schema(check.output_schema)]
    for number, batch in enumerate(batches):
        try:
            checked = check.check(batch, "s", number * 100)
        except ValidationError as error:
            out.append((error.message, error.details, error.hint))
            break
        out.append(repr(pa.record_batch(checked.good).to_pylist()))
        out.append(None if checked.rejected is None else repr(checked.rejected.to_pylist()))
    return [*out, check.results()]


@given(cases())
def test_whatever_the_native_checks_take_on_they_judge_as_pyarrow_does(
    case: tuple[Contract, list[pa.RecordBatch]],
) -> None:
    contract, batches = case
    schema = batches[0].schema
    native = native_checks(contract, schema_text(schema), "none")
    assume(native is not None)
    found = Checker(contract, schema, evolve="none", job="j", native=native)
    wanted = Checker(contract, schema, evolve="none", job="j")
    assert told(found, batches) == told(wanted, batches)


@given(PATTERNS, st.lists(TEXTS, max_size=20))
def test_a_pattern_means_what_it_means_to_re2(pattern: str, texts: list[str]) -> None:
    column = Column("x", "string", constraints=Constraints(pattern=pattern))
    contract = Contract("c", columns=(column,), rules=compile_rules((column,), ()), on_violation="quarantine")
    native = native_checks(contract, {"x": "string"}, "none")
    assume(native is not None)
    assert native is not None
    batch = pa.record_batch({"x": pa.array(texts, pa.string())})
    good, _ = native.check(batch)
    wanted = batch.filter(pc.match_substring_regex(batch.column("x"), pattern=pattern))
    assert pa.record_batch(good).to_pylist() == wanted.to_pylist()


@pytest.mark.parametrize(
    "column",
    [
        Column("x", "list<int64>"),
        Column("x", "string", constraints=Constraints(pattern="(?i)a")),
        Column("x", "float64", constraints=Constraints(accepted_values=(0.5,))),
        Column("x", "time[us]", constraints=Constraints(min="10:00:00")),
        Column("x", "int8", constraints=Constraints(min=1000)),
        Column("x", "string", constraints=Constraints(min=1)),
        Column("x", "decimal(40, 2)"),
    ],
    ids=lambda column: re.sub(r"\W+", "_", f"{column.type} {column.constraints}"),
)
def test_what_is_beyond_the_native_checks_is_left_to_pyarrow(column: Column) -> None:
    contract = Contract("c", columns=(column,), rules=compile_rules((column,), ()))
    assert native_checks(contract, {"x": column.type}, "none") is None


def test_columns_that_do_not_fit_the_contract_are_left_to_pyarrow() -> None:
    contract = Contract("c", columns=(Column("x", "int64"),), rules=compile_rules((Column("x", "int64"),), ()))
    assert native_checks(contract, {"x": "string"}, "none") is None
    assert native_checks(contract, {"y": "int64"}, "none") is None
    assert native_checks(contract, {"x": "int64", "y": "string"}, "none") is None
    native = native_checks(contract, {"y": "string", "x": "int64"}, "add_columns")
    assert native is not None and list(native.output_text) == ["x", "y"]


def test_bounds_on_decimals_are_kept_to_the_last_digit() -> None:
    column = Column("x", "decimal(6, 2)", constraints=Constraints(exclusive_min="1.005", max="2"))
    contract = Contract("c", columns=(column,), rules=compile_rules((column,), ()), on_violation="quarantine")
    native = native_checks(contract, {"x": "decimal(6, 2)"}, "none")
    assert native is not None
    values = [Decimal(text) for text in ("1.00", "1.01", "2.00", "2.01")]
    good, _ = native.check(pa.record_batch({"x": pa.array(values, pa.decimal128(6, 2))}))
    assert pa.record_batch(good).column("x").to_pylist() == [Decimal("1.01"), Decimal("2.00")]
