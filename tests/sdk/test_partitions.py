"""What partition_by says, and what it makes of values: Iceberg's words and Iceberg's results."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from dativo_plugin_sdk import ConfigurationError, Partition, ValidationError, parse_partitions
from dativo_plugin_sdk.partitions import murmur3, parse_partition, partition_folders


@pytest.mark.parametrize(
    ("text", "partition", "name"),
    [
        ("region", Partition("region"), "region"),
        ("year(ts)", Partition("ts", "year"), "ts_year"),
        (" months( a b ) ", Partition("a b", "month"), "a b_month"),
        ("hour(ts)", Partition("ts", "hour"), "ts_hour"),
        ("bucket(16, id)", Partition("id", "bucket", 16), "id_bucket"),
        ("truncate(4,s)", Partition("s", "truncate", 4), "s_trunc"),
        ("lower(x)", Partition("lower(x)"), "lower(x)"),
    ],
)
def test_an_entry_is_a_column_or_a_transform(text: str, partition: Partition, name: str) -> None:
    assert parse_partition(text) == partition
    assert partition.name == name


@pytest.mark.parametrize(
    "text", ["month()", "month(a, b)", "bucket(id)", "bucket(0, id)", "truncate(-1, s)", "truncate(4)"]
)
def test_a_transform_without_what_it_needs_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_partition(text)
    assert caught.value.hint


def test_one_name_twice_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="twice"):
        parse_partitions(["day(ts)", "days(ts)"])


# From the Iceberg specification, appendix B, and a negative decimal.
@pytest.mark.parametrize(
    ("array", "hashed"),
    [
        (pa.array([34], pa.int32()), 2017239379),
        (pa.array([34], pa.int64()), 2017239379),
        (pa.array([Decimal("14.20")], pa.decimal128(9, 2)), -500754589),
        (pa.array([dt.date(2017, 11, 16)]), -653330422),
        (pa.array([dt.datetime(2017, 11, 16, 22, 31, 8)], pa.timestamp("us")), -2047944441),
        (pa.array([1510871468000], pa.int64()).cast(pa.timestamp("ms", "America/New_York")), -2047944441),
        (pa.array(["iceberg"]), 1210000089),
        (pa.array([b"\0\1\2\3"]), -188683207),
    ],
)
def test_buckets_are_icebergs(array: Any, hashed: int) -> None:
    expected = (hashed & 0x7FFFFFFF) % 100
    assert Partition("c", "bucket", 100).texts(array).to_pylist() == [str(expected)]


def test_the_hash_takes_any_length() -> None:
    known = {
        b"": 0,
        b"test": 0xBA6BD213,
        b"hello": 0x248BFA47,
        b"hello world": 0x5E928F0F,
        b"Hello, world!": 0xC0363E43,
    }
    assert {data: murmur3(data) for data in known} == known


@pytest.mark.parametrize(
    ("text", "array", "expected"),
    [
        ("year(c)", pa.array([dt.date(2013, 5, 1), None]), ["2013", None]),
        ("month(c)", pa.array([dt.datetime(2013, 1, 31, 23)], pa.timestamp("ns")), ["2013-01"]),
        ("day(c)", pa.array([1510871468], pa.int64()).cast(pa.timestamp("s", "Asia/Tokyo")), ["2017-11-16"]),
        ("day(c)", pa.array([-1], pa.int64()).cast(pa.timestamp("us")), ["1969-12-31"]),
        ("hour(c)", pa.array([dt.datetime(2013, 1, 31, 23)], pa.timestamp("us")), ["2013-01-31-23"]),
        ("truncate(10, c)", pa.array([-1, 0, 19, None]), ["-10", "0", "10", None]),
        ("truncate(2, c)", pa.array(["äöü", "a"]).dictionary_encode(), ["äö", "a"]),
        ("c", pa.array([1.5, None]), ["1.5", None]),
    ],
)
def test_values_of_transforms(text: str, array: Any, expected: list[str | None]) -> None:
    assert parse_partition(text).texts(array).to_pylist() == expected


@pytest.mark.parametrize(
    ("text", "array"),
    [
        ("day(c)", pa.array(["2013-01-01"])),
        ("hour(c)", pa.array([dt.date(2013, 1, 1)])),
        ("bucket(4, c)", pa.array([1.5])),
        ("truncate(4, c)", pa.array([[1]])),
    ],
)
def test_a_type_that_has_no_such_partition_is_refused(text: str, array: Any) -> None:
    with pytest.raises(ValidationError, match="can't divide column 'c'"):
        parse_partition(text).texts(array)


def test_rows_go_to_folders_in_hives_style() -> None:
    batch = pa.record_batch({"s": ["a/b", None, "a/b"], "d": [dt.date(2013, 1, 1)] * 3, "n": [1, 2, 3]})
    found = partition_folders(parse_partitions(["s", "month(d)"]), batch)
    assert {folder: rows.column("n").to_pylist() for folder, rows in found} == {
        "s=a%2Fb/d_month=2013-01": [1, 3],
        "s=__HIVE_DEFAULT_PARTITION__/d_month=2013-01": [2],
    }
    with pytest.raises(ValidationError, match="not a column"):
        partition_folders(parse_partitions(["x"]), batch)
