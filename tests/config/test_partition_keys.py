"""Keys of partitions and the rows they stand for: as Dagster has them, also where the clock is changed."""

from __future__ import annotations

from datetime import datetime, timezone
from itertools import pairwise

import dagster as dg
import pytest
from dativo_plugin_sdk.partition_rows import PartitionRange
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dativo_assets.config import JobConfig
from dativo_assets.config.partition_keys import definition, in_turn, of_keys, selected
from dativo_assets.errors import ConfigurationError

KINDS: dict[str, type[dg.TimeWindowPartitionsDefinition]] = {
    "hourly": dg.HourlyPartitionsDefinition,
    "daily": dg.DailyPartitionsDefinition,
    "weekly": dg.WeeklyPartitionsDefinition,
    "monthly": dg.MonthlyPartitionsDefinition,
}
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu")


def job(partitions: object) -> JobConfig:
    return JobConfig.model_validate(
        {
            "name": "j",
            "source": {"reader": "csv"},
            "target": {"writer": "parquet", "path": "w"},
            "partitions": partitions,
        }
    )


def instants(found: PartitionRange) -> tuple[datetime, ...]:
    return tuple(datetime.fromisoformat(str(text)).astimezone(timezone.utc) for text in (found.start, found.end))


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(list(KINDS)),
    st.sampled_from(ZONES),
    st.datetimes(datetime(2017, 1, 3), datetime(2024, 12, 1)),
    st.integers(0, 30),
    st.integers(0, 30),
    st.integers(1, 9),
)
def test_windows_are_those_of_dagster(
    kind: str, zone: str, around: datetime, first: int, count: int, per_run: int
) -> None:
    assume(kind != "hourly" or zone != "Australia/Lord_Howe")  # its clock is changed by half an hour
    start = "2017-01-01"
    form = "%Y-%m-%d-%H:%M" if kind == "hourly" else "%Y-%m-%d"
    theirs = KINDS[kind](start_date=datetime.fromisoformat(start).strftime(form), timezone=zone)  # type: ignore[call-arg]
    keys = []
    at = theirs.get_next_partition_window(around.replace(tzinfo=timezone.utc))
    while at is not None and len(keys) <= first + count:
        keys.append((theirs.get_partition_key_for_timestamp(at.start.timestamp()), at))
        at = theirs.get_next_partition_window(at.end)
    keys = keys[min(first, len(keys) - 1) :]
    ours = job({kind: {"start": start, "column": "t", "timezone": zone}})
    (low, low_window), (high, high_window) = keys[0], keys[-1]
    expected = tuple(
        datetime.fromtimestamp(end.timestamp(), timezone.utc) for end in (low_window.start, high_window.end)
    )
    assert instants(selected(ours, f"{low}..{high}").ranges[0]) == expected
    assert instants(of_keys(ours, [key for key, _ in keys]).ranges[0]) == expected
    shared = job({kind: {"start": start, "column": "t", "timezone": zone}, "per_run": per_run})
    turns = [turn.ranges[0] for turn in in_turn(shared, f"{low}..{high}")]
    assert len(turns) == -(-len(keys) // per_run)
    assert (instants(turns[0])[0], instants(turns[-1])[1]) == expected
    assert all(one.end == other.start for one, other in pairwise(turns))


def test_the_hour_that_comes_twice_has_two_keys() -> None:
    hourly = job({"hourly": {"start": "2023-01-01", "column": "t", "timezone": "America/New_York"}})
    one, other = (selected(hourly, key).ranges[0] for key in ("2023-11-05-01:00", "2023-11-05-01:00-0500"))
    assert instants(one)[1] == instants(other)[0]
    assert [end.hour for end in (*instants(one), *instants(other))] == [5, 6, 6, 7]


@pytest.mark.parametrize(
    ("partitions", "text", "said"),
    [
        ({"daily": {"start": "2024-01-01", "column": "t"}}, "2024-01-32", "'2024-01-32' is no daily partition"),
        ({"daily": {"start": "2024-01-01", "column": "t"}}, "2023-12-31", "they go from 2024-01-01"),
        ({"daily": {"start": "2024-01-01", "end": "2024-02-01", "column": "t"}}, "2024-02-01", "itself left out"),
        ({"daily": {"start": "2024-01-01", "column": "t"}}, "2024-02-01..2024-01-01", "comes before"),
        (
            {"weekly": {"start": "2024-01-01", "column": "t"}},
            "2024-01-08",
            "no weekly partition begins at '2024-01-08'",
        ),
        ({"monthly": {"start": "2024-01-01", "column": "t"}}, "2024-01-08", "no monthly partition begins"),
        ({"hourly": {"start": "2024-01-01", "column": "t"}}, "2024-01-08", "'2024-01-08' is no hourly partition"),
        ({"static": {"values": ["eu", "us"], "column": "r"}}, "us..eu", "comes before"),
        ({"static": {"values": ["eu", "us"], "column": "r"}}, "ue", "'ue' is no partition"),
        ({"static": ["eu", "us"]}, "eu", "which rows are in static partitions is not known"),
        ({"dynamic": {"column": "tenant"}}, "a..b", "no order"),
        (None, "eu", "j has no partitions"),
    ],
)
def test_what_names_no_partition_is_refused_with_what_to_write(partitions: object, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        selected(job(partitions), text)
    assert said in str(raised.value) and raised.value.hint


def test_keys_of_several_parts_are_a_range_of_each() -> None:
    both = job(
        {
            "multi": {
                "region": {"static": {"values": ["eu", "us", "asia"], "column": "r"}},
                "day": {"daily": {"start": "2024-01-01", "column": "t"}},
            }
        }
    )
    days, regions = selected(both, "2024-01-01|eu..2024-01-02|us").ranges
    assert (days.column, regions) == ("t", PartitionRange("r", ("eu", "us")))
    keys = [f"2024-01-0{day}|{region}" for day in (1, 2) for region in ("eu", "us")]
    assert of_keys(both, keys).ranges == (days, regions)
    for wrong in (keys[:3], ["2024-01-01|eu", "2024-01-03|eu"]):
        with pytest.raises(ConfigurationError):
            of_keys(both, wrong)
    assert definition(both) == "daily by t in UTC and static by r"


def test_names_and_keys_of_several_parts_in_turn() -> None:
    names = {"static": {"values": ["eu", "us", "asia"], "column": "r"}}
    assert [turn.keys for turn in in_turn(job({**names, "per_run": 2}), "eu..asia")] == ["eu..us", "asia"]
    assert [turn.keys for turn in in_turn(job(names), "eu..asia")] == ["eu..asia"]
    both = {"multi": {"region": names, "day": {"daily": {"start": "2024-01-01", "column": "t"}}}, "per_run": 1}
    assert [turn.keys for turn in in_turn(job(both), "2024-01-01|eu..2024-01-02|us")] == [
        f"2024-01-0{day}|{region}" for day in (1, 2) for region in ("eu", "us")
    ]
