from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dativo_plugin_sdk import (
    Incremental,
    ReadPlan,
    ReadRequest,
    SchemaMismatchError,
    SourceConfig,
    Split,
    ValidationError,
)
from dativo_plugin_sdk.arrow import type_name
from dativo_plugin_sdk.cursor_values import CursorValues
from dativo_plugin_sdk.partition_rows import PartitionRange, PartitionSelection

from dativo_assets.readers.parquet import ParquetReader


def plan(root: Path, request: ReadRequest | None = None, **options: Any) -> tuple[ParquetReader, ReadPlan]:
    reader = ParquetReader(SourceConfig(root=str(root), files=("*.parquet",), options=options, reader="parquet"))
    return reader, reader.plan(request or ReadRequest())


def read(root: Path, request: ReadRequest | None = None, **options: Any) -> pa.Table:
    reader, made = plan(root, request, **options)
    splits = [Split.from_dict(split.to_dict()) for split in made.splits]
    return pa.Table.from_batches([batch for split in splits for batch in reader.read(split)], made.schema)


def test_splits_are_row_groups_and_give_every_row_once(tmp_path: Path) -> None:
    table = pa.table({"a": list(range(1000)), "b": [str(value) for value in range(1000)]})
    pq.write_table(table, tmp_path / "1.parquet", row_group_size=100)
    pq.write_table(table.slice(0, 0), tmp_path / "2.parquet")
    _, made = plan(tmp_path, split_bytes=3000)
    assert sum(split.rows or 0 for split in made.splits) == 1000
    assert len(made.splits) > 2
    assert read(tmp_path, split_bytes=3000).equals(table)
    assert read(tmp_path, ReadRequest(columns=("b",))).equals(table.select(["b"]))
    assert read(tmp_path, ReadRequest(limit=7)).num_rows == 7


def test_a_contract_type_is_taken_where_nothing_is_lost(tmp_path: Path) -> None:
    pq.write_table(pa.table({"i": [1, 2], "s": ["007", "x"], "f": [0.1, 0.2]}), tmp_path / "1.parquet")
    wanted = pa.schema({"i": pa.int8(), "s": pa.int64(), "f": pa.float32()})
    found = read(tmp_path, ReadRequest(schema=wanted)).schema
    assert found == pa.schema({"i": pa.int8(), "s": pa.string(), "f": pa.float64()})


def test_a_value_too_large_for_the_contract_keeps_the_file_type(tmp_path: Path) -> None:
    pq.write_table(pa.table({"i": [1, 300]}), tmp_path / "1.parquet")
    request = ReadRequest(schema=pa.schema({"i": pa.int8()}))
    with pytest.raises(SchemaMismatchError) as caught:
        read(tmp_path, request)
    assert (caught.value.column, caught.value.widen_to) == ("i", "int64")
    widened = ReadRequest(schema=request.schema, widen={"i": caught.value.widen_to})
    assert read(tmp_path, widened)["i"].to_pylist() == [1, 300]


def test_files_of_different_schemas(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([1], pa.int32()), "b": ["x"]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": pa.array([2], pa.int64())}), tmp_path / "2.parquet")
    with pytest.raises(ValidationError, match="lacks column 'b'"):
        read(tmp_path)
    assert read(tmp_path, missing_columns="null").to_pydict() == {"a": [1, 2], "b": ["x", None]}
    pq.write_table(pa.table({"a": ["2"], "b": ["y"]}), tmp_path / "2.parquet")
    with pytest.raises(ValidationError, match="'a' is string in"):
        read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all"])
def test_a_broken_file_is_a_typed_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "1.parquet").write_bytes(content)
    with pytest.raises(ValidationError, match="no complete Parquet file") as caught:
        read(tmp_path)
    assert caught.value.details["file"].endswith("1.parquet")


def test_a_page_that_is_corrupt_is_a_typed_error(tmp_path: Path) -> None:
    path = tmp_path / "1.parquet"
    pq.write_table(pa.table({"a": [str(value) for value in range(5000)]}), path, compression="zstd")
    raw = bytearray(path.read_bytes())
    raw[100:400] = b"\xff" * 300
    path.write_bytes(raw)
    with pytest.raises(ValidationError):
        read(tmp_path)


DAY = PartitionRange("at", start="2024-01-03T00:00:00+00:00", end="2024-01-04T00:00:00+00:00")
EU = PartitionRange("region", values=("eu",))


def groups(made: ReadPlan) -> list[int]:
    return [group for split in made.splits for group in split.payload["groups"]]


def of(*ranges: PartitionRange, **more: Any) -> ReadRequest:
    return ReadRequest(partition=PartitionSelection(ranges, "some", "by at"), **more)


def events(kind: pa.DataType) -> pa.Table:
    """Ten days of ten rows, the first of each without a time; the first half of each day in one region, the other in another."""
    days = [datetime(2024, 1, 1) + timedelta(days=number // 10, hours=number % 10) for number in range(100)]
    at = [None if number % 10 == 0 else day for number, day in enumerate(days)]
    values = pa.array(at, pa.timestamp("us")).cast(kind)
    return pa.table({"id": range(100), "at": values, "region": ["eu" if n % 10 < 5 else "us" for n in range(100)]})


@pytest.mark.parametrize("kind", [pa.timestamp("us"), pa.timestamp("ns"), pa.timestamp("ms", "UTC"), pa.date32()])
@pytest.mark.parametrize("ranges", [(DAY,), (EU,), (DAY, EU)])
@pytest.mark.parametrize("statistics", [True, False])
def test_row_groups_without_a_row_of_the_partitions_are_not_read(
    tmp_path: Path, kind: pa.DataType, ranges: tuple[PartitionRange, ...], statistics: bool
) -> None:
    table = events(kind)
    pq.write_table(table, tmp_path / "1.parquet", row_group_size=5, write_statistics=statistics)
    request = of(*ranges)
    assert request.partition is not None
    _, made = plan(tmp_path, request)
    expected = {(DAY,): [4, 5], (EU,): list(range(0, 20, 2)), (DAY, EU): [4]}[ranges]
    assert groups(made) == (expected if statistics else list(range(20)))
    found = read(tmp_path, request)
    assert found.filter(request.partition.mask(found)).equals(table.filter(request.partition.mask(table)))


@pytest.mark.parametrize("kind", [pa.int8(), pa.int32(), pa.int64()])
def test_row_groups_without_a_whole_number_that_names_a_partition_are_not_read(
    tmp_path: Path, kind: pa.DataType
) -> None:
    table = pa.table({"tenant": pa.array([-1, 3, 3, None, 7, 8], kind)})
    pq.write_table(table, tmp_path / "1.parquet", row_group_size=2)
    for names, expected in ((("3",), [0, 1]), (("-1", "8"), [0, 2]), (("acme",), []), (("5",), [])):
        request = of(PartitionRange("tenant", values=names))
        assert request.partition is not None
        assert groups(plan(tmp_path, request)[1]) == expected
        found = read(tmp_path, request)
        assert found.filter(request.partition.mask(found)).equals(table.filter(request.partition.mask(table)))


def test_a_partition_without_rows_reads_nothing(tmp_path: Path) -> None:
    pq.write_table(events(pa.date32()), tmp_path / "1.parquet", row_group_size=5)
    late = PartitionRange("at", start="2025-01-01T00:00:00+00:00", end="2025-01-02T00:00:00+00:00")
    _, made = plan(tmp_path, of(late))
    assert made.splits == () and made.schema is not None


def test_a_column_that_the_contract_casts_leaves_nothing_out(tmp_path: Path) -> None:
    """What the clock showed in Berlin is another point in time than what it showed in Greenwich."""
    pq.write_table(events(pa.timestamp("us")), tmp_path / "1.parquet", row_group_size=5)
    declared = pa.schema({"at": pa.timestamp("us", "UTC")})
    assert len(groups(plan(tmp_path, of(DAY, schema=declared))[1])) == 20
    pq.write_table(pa.table({"at": ["2024-01-03", date(2024, 1, 3).isoformat()]}), tmp_path / "1.parquet")
    assert groups(plan(tmp_path, of(DAY))[1]) == [0]


def since(low: Any, kind: pa.DataType, **more: Any) -> ReadRequest:
    """After a commit whose highest value of `at` was low."""
    stored = CursorValues("at", kind).store(pa.scalar(low).cast(kind))
    return ReadRequest(cursor={"field": "at", "type": type_name(kind), "value": stored}, **more)


def left(root: Path, request: ReadRequest, **incremental: Any) -> list[int]:
    """The row groups that an incremental run reads."""
    told = Incremental(**{"strategy": "append", "cursor_field": "at", **incremental})
    return groups(ParquetReader(SourceConfig(root=str(root), files=("*.parquet",), incremental=told)).plan(request))


@pytest.mark.parametrize("kind", [pa.timestamp("us"), pa.timestamp("ns"), pa.timestamp("ms", "UTC"), pa.timestamp("s")])
def test_row_groups_below_the_cursor_are_not_read_but_for_those_with_nulls(tmp_path: Path, kind: pa.DataType) -> None:
    pq.write_table(events(kind), tmp_path / "1.parquet", row_group_size=5)
    with_nulls = list(range(0, 20, 2))
    at = datetime(2024, 1, 8, 9)  # the last value of a group
    assert left(tmp_path, since(at, kind)) == sorted({*with_nulls, 15, 17, 19})
    assert left(tmp_path, since(at + timedelta(seconds=1), kind)) == sorted({*with_nulls, 17, 19})
    assert left(tmp_path, since(at + timedelta(seconds=1), kind), lookback_s=1) == sorted({*with_nulls, 15, 17, 19})
    assert left(tmp_path, since(at, kind), strategy="updated_at") == sorted({*with_nulls, 15, 17, 19})
    assert left(tmp_path, ReadRequest()) == list(range(20))


@pytest.mark.parametrize(
    ("column", "low", "expected"),
    [
        (pa.array(range(20), pa.int32()), 12, [2, 3]),
        (pa.array([f"{number:02}" for number in range(20)]), "12", [2, 3]),
        (pa.array([date(2024, 1, 1 + number) for number in range(20)]), date(2024, 1, 13), [2, 3]),
        (pa.array(range(20), pa.uint32()), 12, [0, 1, 2, 3]),
        (pa.array(range(20), pa.float64()), 12.0, [0, 1, 2, 3]),
    ],
)
def test_cursors_whose_statistics_compare_leave_row_groups_out(
    tmp_path: Path, column: pa.Array, low: Any, expected: list[int]
) -> None:
    pq.write_table(pa.table({"at": column}), tmp_path / "1.parquet", row_group_size=5)
    assert left(tmp_path, since(low, column.type)) == expected


def test_a_cursor_that_does_not_compare_leaves_nothing_out(tmp_path: Path) -> None:
    pq.write_table(pa.table({"at": pa.array(range(20), pa.int64())}), tmp_path / "1.parquet", row_group_size=5)
    assert left(tmp_path, since(12, pa.int64())) == [2, 3]
    assert left(tmp_path, since(12, pa.int64(), schema=pa.schema({"at": pa.string()}))) == [0, 1, 2, 3]
    assert left(tmp_path, since(12, pa.int64(), widen={"at": "string"})) == [0, 1, 2, 3]
    assert left(tmp_path, since("x", pa.string())) == [0, 1, 2, 3]
    assert left(tmp_path, ReadRequest(cursor={"field": "other", "type": "int64", "value": "12"})) == [0, 1, 2, 3]
    pq.write_table(
        pa.table({"at": pa.array(range(20))}), tmp_path / "1.parquet", row_group_size=5, write_statistics=False
    )
    assert left(tmp_path, since(12, pa.int64())) == [0, 1, 2, 3]
