"""Rows and mixed Arrow objects become batches of one schema, and nothing changes in silence."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from dativo_plugin_sdk import PluginError, SchemaMismatchError, to_batches
from dativo_plugin_sdk.arrow import parse_type, type_name, unify
from hypothesis import given
from hypothesis import strategies as st


def restarted(items: Any) -> pa.Table:
    """What the pipeline does: start over with the wider type until everything fits."""
    widen: dict[str, str] = {}
    for _ in range(50):
        try:
            return pa.Table.from_batches(list(to_batches(items, widen=widen)))
        except SchemaMismatchError as error:
            assert widen.get(error.column) != error.widen_to
            widen[error.column] = error.widen_to
    raise AssertionError("no end of widening")


def test_missing_keys_are_null() -> None:
    (batch,) = to_batches([[{"a": 1, "b": "x"}, {"a": 2}]])
    assert batch.to_pylist() == [{"a": 1, "b": "x"}, {"a": 2, "b": None}]


def test_a_column_that_turns_up_late_starts_the_read_over() -> None:
    table = restarted([[{"a": 1}], [{"a": 2, "b": "x"}]])
    assert table.to_pylist() == [{"a": 1, "b": None}, {"a": 2, "b": "x"}]


def test_a_fraction_after_integers_widens_to_float() -> None:
    assert restarted([[{"a": 1}], [{"a": 2.5}]]).column("a").to_pylist() == [1.0, 2.5]


def test_an_integer_beyond_64_bits_becomes_exact_text() -> None:
    big = 123456789012345678901234567890
    assert restarted([[{"a": 1}], [{"a": big}]]).column("a").to_pylist() == ["1", str(big)]


def test_integers_that_a_float_cannot_hold_are_not_rounded() -> None:
    values = restarted([[{"a": 2**53 + 1}, {"a": 0.5}]]).column("a").to_pylist()
    assert values == [str(2**53 + 1), "0.5"]


def test_a_boolean_among_numbers_stays_visible() -> None:
    assert restarted([[{"a": True}, {"a": 1}]]).column("a").to_pylist() == ["true", "1"]


def test_texts_and_numbers_in_a_column_declared_as_text_are_texts() -> None:
    (batch,) = to_batches([[{"a": "x"}, {"a": 1}, {"a": None}]], pa.schema([("a", pa.string())]))
    assert batch.column(0).to_pylist() == ["x", "1", None]


def test_whole_numbers_in_a_column_declared_as_float_are_floats_where_they_are_exact() -> None:
    declared = pa.schema([("a", pa.float64())])
    assert [batch.schema.field("a").type for batch in to_batches([[{"a": 1}]], declared)] == [pa.float64()]
    assert [batch.schema.field("a").type for batch in to_batches([[{"a": 2**53 + 1}]], declared)] == [pa.int64()]


def test_nested_rows_keep_keys_that_turn_up_late() -> None:
    table = restarted([[{"a": {"x": 1}}], [{"a": {"x": 2, "y": "z"}}]])
    assert table.column("a").to_pylist() == [{"x": 1, "y": None}, {"x": 2, "y": "z"}]


def test_decimals_widen_without_loss() -> None:
    table = restarted([[{"a": Decimal("1.5")}], [{"a": Decimal("1234.25")}]])
    assert table.column("a").to_pylist() == [Decimal("1.50"), Decimal("1234.25")]


def test_arrow_objects_of_every_kind_are_batches() -> None:
    pl = pytest.importorskip("polars")
    pd = pytest.importorskip("pandas")
    table = pa.table({"a": [1, 2]})
    items = [table, table.to_batches()[0], table.to_reader(), pl.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": [1, 2]})]
    for item in items:
        batches = list(to_batches(iter([item])))
        assert pa.Table.from_batches(batches).column("a").to_pylist() == [1, 2], type(item)


def test_one_stream_instead_of_an_iterator_is_taken() -> None:
    table = pa.table({"a": [1, 2]})
    assert pa.Table.from_batches(list(to_batches(table.to_reader()))).equals(table)


@pytest.mark.parametrize("nonsense", [[42], ["text"], [object()], [[1, 2]], [None]])
def test_nonsense_is_refused_with_a_hint(nonsense: list[Any]) -> None:
    with pytest.raises(PluginError) as caught:
        list(to_batches(iter(nonsense)))
    assert caught.value.hint


def test_duplicate_columns_are_refused() -> None:
    batch = pa.RecordBatch.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(PluginError, match="duplicate column names: a"):
        list(to_batches(iter([batch])))


values = st.one_of(
    st.none(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(max_size=4),
    st.booleans(),
    st.dates(),
)


@given(st.lists(st.lists(st.dictionaries(st.sampled_from("abc"), values, min_size=1), min_size=1), min_size=1))
def test_no_row_and_no_value_is_lost(batches: list[list[dict[str, Any]]]) -> None:
    table = restarted(batches)
    rows = [row for batch in batches for row in batch]
    assert table.num_rows == len(rows)
    for got, row in zip(table.to_pylist(), rows, strict=True):
        for key in got:
            given_value = row.get(key)
            if given_value is None:
                assert got[key] is None
            elif isinstance(got[key], str) and not isinstance(given_value, str):
                assert got[key].lower() in (str(given_value).lower(), repr(given_value).lower())
            else:
                assert got[key] == given_value


@pytest.mark.parametrize(
    "name",
    ["string", "int8", "uint64", "float32", "decimal(10, 2)", "bool", "date", "time[us]", "timestamp[ns]"]
    + [
        "timestamp[us, Europe/Berlin]",
        "binary",
        "list<string>",
        "map<string, int64>",
        "struct<a: int64, b: list<date>>",
    ],
)
def test_type_names_round_trip(name: str) -> None:
    assert type_name(parse_type(name)) == name


def test_unify_is_symmetric_over_flat_types() -> None:
    flat = [pa.int8(), pa.int64(), pa.uint32(), pa.float64(), pa.string(), pa.bool_(), pa.date32(), pa.null()]
    for left in flat:
        for right in flat:
            assert unify(left, right).equals(unify(right, left)), (left, right)


def test_dates_and_datetimes_do_not_mix() -> None:
    table = restarted([[{"a": dt.date(2020, 1, 1)}], [{"a": dt.datetime(2020, 1, 1, 12)}]])
    assert table.column("a").to_pylist() == ["2020-01-01", "2020-01-01 12:00:00"]
