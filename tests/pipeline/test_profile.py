"""What a run tells of its rows: exact while it is cheap, a sample when it would not be."""

from __future__ import annotations

import datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dativo_assets.pipeline import profile
from dativo_assets.pipeline.profile import Profiler, shown

cell = st.one_of(st.none(), st.integers(-5, 5))


@given(st.lists(st.lists(cell, max_size=20), max_size=6))
def test_small_tables_are_profiled_whole(batches: list[list[int | None]]) -> None:
    found = Profiler()
    for values in batches:
        found.see(pa.record_batch({"a": pa.array(values, pa.int64())}))
    rows = [value for values in batches for value in values]
    kept = [value for value in rows if value is not None]
    assert found.profile.rows == len(rows)
    assert [row["a"] for row in found.profile.sample] == rows[:5]
    if batches:
        column = found.profile.columns["a"]
        assert column.nulls == len(rows) - len(kept)
        assert column.distinct == len(set(kept))
        assert (column.least, column.greatest) == ((min(kept), max(kept)) if kept else (None, None))


def test_a_large_run_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(float(tick) for tick in range(1_000_000))  # each look takes a second, so does what is between two
    monkeypatch.setattr(profile.time, "perf_counter", lambda: next(now))
    found = Profiler()
    for _ in range(5_000):
        found.see(pa.record_batch({"a": [1]}))
    assert 10 <= found.profile.rows <= 200


def test_types_without_order_or_equality_are_told_as_far_as_they_go() -> None:
    found = Profiler()
    found.see(
        pa.record_batch(
            {
                "when": pa.array([datetime.date(2024, 1, 2), None]),
                "tags": pa.array([["a"], ["b"]]),
                "raw": pa.array([b"\x00\xff", b"a"]),
            }
        )
    )
    columns = found.profile.columns
    assert columns["when"].least == datetime.date(2024, 1, 2)
    assert (columns["tags"].least, columns["tags"].nulls) == (None, 0)
    assert shown(columns["raw"].greatest) == "61"


def test_many_distinct_values_are_not_counted() -> None:
    found = Profiler()
    found.see(pa.record_batch({"a": pa.array(range(20_000))}))
    assert found.profile.columns["a"].distinct is None
    assert found.profile.columns["a"].greatest == 19_999


def test_values_are_shown_short_and_personal_ones_as_stars() -> None:
    assert shown("x" * 200).endswith("…")
    assert shown("ann@example.com", masked=True) == "***"
    assert shown(None, masked=True) == ""
