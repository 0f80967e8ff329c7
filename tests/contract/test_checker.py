"""Whole batches through a contract: what lands, what is set aside, what stops the run, and what is told about it."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from dativo_plugin_sdk.arrow import schema_text
from hypothesis import given
from hypothesis import strategies as st

from dativo_assets.contract import Checked, Checker, Column, Contract, native_checks
from dativo_assets.contract.model import Constraints, Limit, Rule
from dativo_assets.contract.rules import compile_rules
from dativo_assets.errors import ConfigurationError, ValidationError

KEY = Column("id", "int64", primary_key=True)


def contract(*columns: Column, on_violation: Any = "fail", extra: tuple[Rule, ...] = ()) -> Contract:
    key = tuple(column.name for column in columns if column.primary_key)
    return Contract("c", columns=columns, rules=compile_rules(columns, key, extra), on_violation=on_violation)


def batch(**columns: Any) -> pa.RecordBatch:
    return pa.record_batch(
        {name: values if isinstance(values, pa.Array) else pa.array(values) for name, values in columns.items()}
    )


@pytest.fixture(params=["pyarrow", "rust_contract"], autouse=True)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test with each of the two ways to check; a contract that the native one refuses is the other's alone."""
    monkeypatch.setattr(sys.modules[__name__], "NATIVE", request.param == "rust_contract")


NATIVE = False


class ArrowChecker(Checker):
    """What native checks let land, as pyarrow sees it."""

    @property
    def output_schema(self) -> pa.Schema:
        return pa.schema(super().output_schema)

    def check(self, batch: pa.RecordBatch, split: str, first_row: int) -> Checked:
        found = super().check(batch, split, first_row)
        return Checked(pa.record_batch(found.good), found.rejected)


def checker(what: Contract, schema: pa.Schema, evolve: str = "none") -> Checker:
    native = native_checks(what, schema_text(schema), evolve) if NATIVE else None
    return ArrowChecker(what, schema, evolve=evolve, job="j", native=native)


ONE_BAD = {
    "types": (Column("x", "int64"), ["1", "x", "2"], "types"),
    "required": (Column("x", "string", required=True), ["a", None, "b"], "x_not_null"),
    "unique": (Column("x", "string", unique=True), ["a", "a", "b"], "x_unique"),
    "primary key repeated": (Column("x", "int64", primary_key=True), [1, 1, 2], "primary_key"),
    "primary key null": (Column("x", "int64", primary_key=True), [1, None, 2], "primary_key"),
    "min": (Column("x", "int64", constraints=Constraints(min=0)), [0, -1, 5], "x_min"),
    "exclusive max": (
        Column("x", "float64", constraints=Constraints(exclusive_max=1)),
        [0.5, 1.0, -1.0],
        "x_exclusive_max",
    ),
    "nan": (Column("x", "float64", constraints=Constraints(max=1)), [0.5, float("nan"), 1.0], "x_max"),
    "pattern": (Column("x", "string", constraints=Constraints(pattern="^a")), ["a", "b", "ab"], "x_pattern"),
    "accepted": (
        Column("x", "string", constraints=Constraints(accepted_values=("a",))),
        ["a", "b", "a"],
        "x_accepted_values",
    ),
    "min length": (Column("x", "string", constraints=Constraints(min_length=2)), ["ab", "b", "abc"], "x_min_length"),
    "max length": (Column("x", "string", constraints=Constraints(max_length=2)), ["ab", "abc", "b"], "x_max_length"),
}


@pytest.mark.parametrize("case", ONE_BAD)
def test_fail_stops_at_the_row_and_names_it(case: str) -> None:
    column, values, name = ONE_BAD[case]
    rows = batch(x=values)
    check = checker(contract(column), rows.schema)
    with pytest.raises(ValidationError) as raised:
        check.check(rows, "part-1", 100)
    found = raised.value.details
    assert (found["rule"], found["column"], found["split"], found["row"]) == (name, "x", "part-1", 102)
    assert found["value"] == (None if values[1] is None else str(values[1]))
    assert (found["violations"], found["rows"], found["rules"]) == (1, 3, [name])
    assert raised.value.hint and name in raised.value.message
    result = next(item for item in check.results() if item.rule.name == name)
    assert (result.checked, result.violations, result.passed) == (3, 1, False)


@pytest.mark.parametrize("case", ONE_BAD)
def test_quarantine_sets_the_row_aside_as_it_came(case: str) -> None:
    column, values, name = ONE_BAD[case]
    rows = batch(x=values)
    check = checker(contract(column, on_violation="quarantine"), rows.schema)
    checked = check.check(rows, "part-1", 100)
    assert checked.good.num_rows == 2
    assert checked.good.schema.equals(check.output_schema)
    assert checked.rejected is not None
    assert checked.rejected.schema.equals(check.quarantine_schema)
    row = checked.rejected.to_pylist()[0]
    assert row.pop("x") == values[1] or case == "nan"
    value = None if values[1] is None else rows.column("x").cast(pa.string())[1].as_py()
    assert row == {
        "_dativo_rule": name,
        "_dativo_column": "x",
        "_dativo_value": value,
        "_dativo_split": "part-1",
        "_dativo_row": 102,
    }


@pytest.mark.parametrize("case", [case for case in ONE_BAD if case != "types"])
@pytest.mark.parametrize("how", ["job", "rule"])
def test_a_warning_counts_and_lets_the_row_land(case: str, how: str) -> None:
    column, values, name = ONE_BAD[case]
    rows = batch(x=values)
    what = contract(column, on_violation="warn" if how == "job" else "fail")
    if how == "rule":
        what = replace(what, rules=tuple(replace(rule, severity="warn") for rule in what.rules))
    check = checker(what, rows.schema)
    checked = check.check(rows, "s", 0)
    assert checked.rejected is None
    assert checked.good.num_rows == 3
    check.finish()
    result = next(item for item in check.results() if item.rule.name == name)
    assert (result.violations, result.passed) == (1, False)
    assert result.sample[0]["row"] == 2


def test_a_value_that_is_not_of_its_type_is_never_warned_away() -> None:
    rows = batch(x=["1", "007"])
    with pytest.raises(ValidationError, match="'007' is no int64"):
        checker(contract(Column("x", "int64"), on_violation="warn"), rows.schema).check(rows, "s", 0)


def test_a_row_that_breaks_several_rules_is_one_row_that_names_them_all() -> None:
    columns = (
        Column("a", "int64", constraints=Constraints(min=0)),
        Column("b", "string", required=True, constraints=Constraints(pattern="^x")),
    )
    rows = batch(b=["y", None, "x"], a=["-1", "1.5", "1"])
    checked = checker(contract(*columns, on_violation="quarantine"), rows.schema).check(rows, "s", 0)
    assert checked.good.to_pylist() == [{"a": 1, "b": "x"}]
    assert checked.rejected is not None
    origin = [
        (row["_dativo_rule"], row["_dativo_column"], row["_dativo_value"]) for row in checked.rejected.to_pylist()
    ]
    assert origin == [("a_min;b_pattern", "a;b", "-1"), ("types;b_not_null", "a;b", "1.5")]
    assert checked.rejected.schema.names[:2] == ["b", "a"]


def test_the_first_of_equal_keys_lands_and_later_ones_do_not_across_batches() -> None:
    columns = (KEY, Column("part", "string", primary_key=True))
    rows = batch(id=[1, 1, 2], part=["a", "b", "a"])
    check = checker(contract(*columns, on_violation="quarantine"), rows.schema)
    assert check.check(rows, "s", 0).rejected is None
    checked = check.check(batch(id=[3, 1, None], part=["a", "b", "a"]), "t", 0)
    assert checked.good.to_pylist() == [{"id": 3, "part": "a"}]
    assert checked.rejected is not None
    assert [row["_dativo_column"] for row in checked.rejected.to_pylist()] == ["id,part", "id,part"]


def test_a_row_that_is_rejected_makes_no_other_row_a_duplicate() -> None:
    columns = (KEY, Column("n", "int64", constraints=Constraints(min=0)))
    rows = batch(id=[1, 1], n=[-1, 1])
    checked = checker(contract(*columns, on_violation="quarantine"), rows.schema).check(rows, "s", 0)
    assert checked.good.to_pylist() == [{"id": 1, "n": 1}]


def test_values_of_classified_columns_are_masked_wherever_they_would_show() -> None:
    secret = Column("x", "int64", classification="restricted")
    rows = batch(x=["1", "topsecret"])
    check = checker(contract(secret), rows.schema)
    with pytest.raises(ValidationError) as raised:
        check.check(rows, "s", 0)
    assert "topsecret" not in raised.value.message + repr(raised.value.details) + repr(check.results())
    assert check.results()[0].sample == ({"split": "s", "row": 2, "column": "x", "value": "***"},)
    assert Column("x", tags=("pii",)).masked and Column("x", tags=("gdpr:yes",)).masked
    assert not Column("x", classification="Public", tags=("gold",)).masked


def test_at_most_five_violations_are_shown() -> None:
    column = Column("x", "int64", constraints=Constraints(min=0))
    rows = batch(x=[-1] * 4)
    check = checker(contract(column, on_violation="quarantine"), rows.schema)
    for number in range(3):
        check.check(rows, "s", number * 4)
    result = check.results()[1]
    assert result.violations == 12
    assert [item["row"] for item in result.sample] == [1, 2, 3, 4, 5]


def limited(kind: Any, operator: Any, value: float, high: float | None = None, unit: Any = "rows") -> Rule:
    columns = () if kind == "row_count" else ("x",)
    return Rule("limited", kind, columns, "limited", limit=Limit(operator, value, high, unit))


@pytest.mark.parametrize(
    ("rule", "passes"),
    [
        (limited("row_count", ">", 3), True),
        (limited("row_count", ">", 4), False),
        (limited("row_count", "between", 1, 4), True),
        (limited("row_count", "not between", 1, 4), False),
        (limited("row_count", "<>", 4), False),
        (limited("required", "<", 2), True),
        (limited("required", "<=", 0.5), False),
        (limited("required", "<", 25, None, "percent"), False),
        (limited("required", "<=", 25, None, "percent"), True),
        (limited("unique", "=", 1), True),
        (limited("unique", ">=", 2), False),
    ],
)
@pytest.mark.parametrize("on_violation", ["fail", "warn", "quarantine"])
def test_a_rule_about_the_whole_run_is_judged_at_its_end(rule: Rule, passes: bool, on_violation: Any) -> None:
    rows = batch(x=["a", None, "a", "b"])
    check = checker(contract(Column("x"), on_violation=on_violation, extra=(rule,)), rows.schema)
    assert check.check(rows, "s", 0).good.num_rows == 4
    assert check.results()[-1].passed is passes
    if passes or on_violation != "fail":
        check.finish()
    else:
        with pytest.raises(ValidationError, match="limited") as raised:
            check.finish()
        assert raised.value.details["checked"] == 4


def test_no_rows_keep_every_rule_but_a_row_count() -> None:
    rows = batch(id=pa.array([], pa.string()), x=pa.array([], pa.string()))
    rule = Rule("row_count", "row_count", (), "count(*) >= 1", limit=Limit(">=", 1))
    columns = (KEY, Column("x", required=True, unique=True, constraints=Constraints(pattern="a", min_length=1)))
    check = checker(contract(*columns, extra=(rule,)), rows.schema)
    checked = check.check(rows, "s", 0)
    assert checked.good.num_rows == 0 and checked.good.schema.equals(check.output_schema) and checked.rejected is None
    assert [result.rule.name for result in check.results() if not result.passed] == ["row_count"]
    with pytest.raises(ValidationError):
        check.finish()


def test_declared_columns_come_first_in_the_contract_s_order_and_others_need_leave() -> None:
    rows = batch(extra=[1], b=["x"], a=["2"])
    what = contract(Column("a", "int64"), Column("b"))
    with pytest.raises(ValidationError, match="'extra'") as raised:
        checker(what, rows.schema)
    assert "add_columns" in str(raised.value.hint)
    for evolve in ("add_columns", "widen"):
        check = checker(what, rows.schema, evolve)
        assert check.check(rows, "s", 0).good.to_pylist() == [{"a": 2, "b": "x", "extra": 1}]
        assert check.output_schema.names == ["a", "b", "extra"]


def test_a_missing_column_is_named_with_the_nearest_one_there_is() -> None:
    with pytest.raises(ValidationError, match="'amount'") as raised:
        checker(contract(Column("amount")), batch(ammount=["1"]).schema, "widen")
    assert "'ammount'" in str(raised.value.hint)


def test_types_without_a_common_value_are_refused_before_the_first_row() -> None:
    with pytest.raises(ValidationError, match=r"arrives as timestamp\[us\] and is declared timestamp\[us, UTC\]"):
        checker(contract(Column("x", "timestamp[us, UTC]")), pa.schema([("x", pa.timestamp("us"))]))


def test_a_rule_that_makes_no_sense_is_refused_before_the_first_row() -> None:
    column = Column("x", "string", constraints=Constraints(pattern="(?=a)"))
    with pytest.raises(ConfigurationError, match="x_pattern"):
        checker(contract(column), pa.schema([("x", pa.string())]))
    with pytest.raises(ConfigurationError, match="plain columns"):
        checker(contract(Column("x", "list<int64>", unique=True)), pa.schema([("x", pa.list_(pa.int64()))]))


def test_only_keys_need_numpy_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "dativo_assets.contract.unique", raising=False)
    monkeypatch.setitem(sys.modules, "numpy", None)
    rows = batch(id=[1])
    plain = Checker(contract(Column("id", "int64")), rows.schema, evolve="none", job="j")
    assert plain.check(rows, "s", 0).good.num_rows == 1
    with pytest.raises(ConfigurationError, match="needs numpy"):
        Checker(contract(KEY), rows.schema, evolve="none", job="j")


def test_a_source_with_quarantine_s_own_columns_can_t_be_quarantined() -> None:
    schema = pa.schema([("x", pa.string()), ("_dativo_rule", pa.string())])
    what = contract(Column("x"), Column("_dativo_rule"))
    checker(what, schema)
    with pytest.raises(ValidationError, match="_dativo_rule"):
        checker(replace(what, on_violation="quarantine"), schema)


def test_a_contract_of_no_columns_lets_all_columns_through() -> None:
    rows = batch(a=[1], b=["x"])
    check = checker(
        contract(extra=(Rule("row_count", "row_count", (), "count(*) > 0", limit=Limit(">", 0)),)), rows.schema
    )
    assert check.check(rows, "s", 0).good.equals(rows)


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["1", "2", "3", "03", None, "x"]),
        st.sampled_from(["0.5", "-1", "nan", "1e999", None, "7"]),
        st.sampled_from(["a", "b", "", None, "abc"]),
    ),
    max_size=12,
)


@given(st.lists(ROWS, max_size=4), st.booleans())
def test_every_row_is_good_or_rejected_as_a_naive_check_says(parts: list[list[Any]], as_dictionary: bool) -> None:
    columns = (
        KEY,
        Column("n", "float64", required=True, constraints=Constraints(min=0)),
        Column("t", constraints=Constraints(max_length=2, accepted_values=("a", "abc", ""))),
    )
    text = pa.dictionary(pa.int32(), pa.string()) if as_dictionary else pa.string()
    schema = pa.schema([("t", text), ("n", pa.string()), ("id", pa.string())])
    check = checker(contract(*columns, on_violation="quarantine"), schema)
    seen: set[str] = set()
    for part in parts:
        wanted = []
        for key, amount, word in part:
            good = key in ("1", "2", "3") and amount in ("0.5", "7") and word in ("a", "", None) and key not in seen
            if good:
                seen.add(key)
            wanted.append(good)
        arrays = [pa.array([row[at] for row in part], pa.string()) for at in (2, 1, 0)]
        arrays[0] = arrays[0].dictionary_encode() if as_dictionary else arrays[0]
        rows = pa.RecordBatch.from_arrays([arrays[0].cast(text), *arrays[1:]], schema=schema)
        checked = check.check(rows, "s", 0)
        rejected = 0 if checked.rejected is None else checked.rejected.num_rows
        assert checked.good.num_rows + rejected == len(part)
        assert [str(value) for value in checked.good.column("id").to_pylist()] == [
            row[0] for row, good in zip(part, wanted, strict=True) if good
        ]
        if checked.rejected is not None:
            assert checked.rejected.column("_dativo_row").to_pylist() == [
                n + 1 for n, good in enumerate(wanted) if not good
            ]
            assert all(checked.rejected.column("_dativo_rule").to_pylist())
    total = sum(len(part) for part in parts)
    assert all(result.checked == total for result in check.results())


def test_threads_share_one_checker_and_no_count_is_lost() -> None:
    columns = (KEY, Column("n", "int64", constraints=Constraints(min=0)))
    rows = batch(id=list(range(1_000)), n=[-1 if n % 10 == 0 else n for n in range(1_000)])
    check = checker(contract(*columns, on_violation="quarantine"), rows.schema)
    good: list[int] = []

    def work() -> None:
        good.append(
            sum(check.check(rows.slice(start, 100), "s", start).good.num_rows for start in range(0, 1_000, 100))
        )

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(good) == 900
    found = {result.rule.name: (result.checked, result.violations) for result in check.results()}
    assert found == {"types": (4_000, 0), "n_min": (4_000, 400), "primary_key": (4_000, 2_700)}
