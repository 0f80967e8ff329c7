"""What each way of loading only what is new does on every target."""

from __future__ import annotations

import os
import sys
from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dativo_plugin_sdk import DativoError, ValidationError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dativo_assets.state import commit_once

from .targets import Target

FILES = "source: {reader: csv, files: [data/*.csv], incremental: {strategy: file%s}}\n"
FIELD = "source: {reader: csv, files: [data/*.csv], incremental: {strategy: %s, cursor_field: at%s}}\n"
SCHEMA = "schema: [{name: id, type: int64}, {name: at, type: int64}%s]\n"


def ids(target: Target) -> list[int]:
    return [row[0] for row in target.rows("id")]


def test_a_changed_file_is_read_again_refused_or_left_out(bench: Any, target: Target) -> None:
    bench.write("data/a.csv", "id\n1\n")
    bench.write("data/b.csv", "id\n2\n")
    bench.job(FILES % ", changed: fail" + target.yaml())
    bench.ok()
    bench.write("data/a.csv", "id\n1\n3\n")
    refused = bench.run().error
    assert (refused.error_code, refused.details["files"]) == ("FILE_CHANGED", ["data/a.csv"])
    assert "changed: reread" in refused.hint
    bench.job(FILES % ", changed: ignore" + target.yaml())
    result = bench.ok()
    assert result.status == "unchanged" and "file data/a.csv: changed and will not be read again" in result.notes
    bench.write("data/c.csv", "id\n4\n")
    assert bench.ok().rows_written == 1
    bench.job(FILES % "" + target.yaml())
    result = bench.ok()
    assert (result.rows_written, ids(target)) == (2, [1, 1, 2, 3, 4]), "whole, beside what was there"
    assert "file data/a.csv: changed and will be read again whole" in result.notes
    assert bench.ok().status == "unchanged"


def test_a_file_that_is_gone_is_told_and_not_read_twice_when_it_comes_back(bench: Any, target: Target) -> None:
    path = bench.write("data/a.csv", "id\n1\n")
    bench.job(FILES % "" + target.yaml())
    bench.ok()
    kept = path.rename(bench.root / "kept")
    result = bench.ok()
    assert result.status == "unchanged" and "file data/a.csv: read before, not there now" in result.notes
    bench.write("data/b.csv", "id\n2\n")
    bench.ok()
    kept.rename(path)
    assert bench.ok().status == "unchanged"
    assert ids(target) == [1, 2]


def test_a_touched_file_is_not_read_again_where_contents_are_compared(bench: Any, target: Target) -> None:
    path = bench.write("data/a.csv", "id\n1\n")
    bench.job(FILES % ", compare: content" + target.yaml())
    bench.ok()
    os.utime(path, ns=(1, 1))
    assert bench.ok().status == "unchanged"
    bench.write("data/a.csv", "id\n2\n")
    os.utime(path, ns=(1, 1))
    assert bench.ok().status == "succeeded", "the same size, another content"
    assert ids(target) == [1, 2]


def test_rows_without_a_cursor_value_land_once_and_are_counted(bench: Any, target: Target) -> None:
    bench.job(FIELD % ("append", ", null_cursor: include") + target.yaml() + SCHEMA % "")
    bench.write("data/a.csv", "id,at\n1,5\n2,\n2,\n")
    assert "2 rows have no value of at, the cursor" in bench.ok().notes
    bench.write("data/a.csv", "id,at\n1,5\n2,\n2,\n2,\n3,\n4,6\n")
    result = bench.ok()
    assert result.rows_written == 3 and "2 rows have no value of at, the cursor" in result.notes
    bench.write("data/b.csv", "id,at\n5,\n")
    bench.ok()
    os.utime(bench.root / "data/a.csv", ns=(1, 1))
    assert bench.ok().rows_written == 0
    assert ids(target) == [1, 2, 2, 2, 3, 4, 5]


@pytest.mark.parametrize("strategy", ["append", "updated_at"])
def test_rejected_rows_that_come_again_are_set_aside_once(bench: Any, target: Target, strategy: str) -> None:
    merges = strategy == "updated_at" and target.kind != "parquet"
    lookback = ", lookback: 3" if merges or target.kind == "parquet" else ""
    mode = {"mode": "merge", "keys": ["id"]} if merges else {}
    rules = SCHEMA % ", {name: v, type: int64, min: 0}" + "on_violation: quarantine\n"
    bench.job(FIELD % (strategy, lookback) + target.yaml(**mode) + rules)
    bench.write("data/a.csv", "id,at,v\n1,5,1\n2,5,-1\n3,9,-1\n3,9,-1\n4,4,-1\n")
    assert bench.ok().rows_rejected == 4
    bench.write("data/a.csv", "id,at,v\n1,5,1\n2,5,-1\n3,9,-1\n3,9,-1\n4,4,-1\n3,9,-1\n5,6,1\n6,6,-2\n")
    result = bench.ok()
    replaced = int(merges)
    assert (result.rows_written - replaced, result.rows_rejected) == (1, 2), "the third equal one, and a new one"
    os.utime(bench.root / "data/a.csv", ns=(1, 1))
    assert bench.ok().rows_rejected == 0
    assert [row[0] for row in target.rows("id", "out_quarantine")] == [2, 3, 3, 3, 4, 6]
    assert ids(target) == [1, 5]


def moments(*values: int, zone: str | None = None) -> pa.Table:
    at = pa.array([value * 10**6 for value in values], pa.timestamp("us", zone))
    return pa.table({"id": list(values), "at": at})


def test_instants_are_compared_whatever_their_zone(bench: Any, target: Target) -> None:
    bench.job(
        FIELD.replace("csv", "parquet") % ("append", "")
        + target.yaml()
        + "schema: [{name: id, type: int64}, {name: at, type: 'timestamp[us, UTC]'}]\n"
    )
    folder = bench.root / "data"
    folder.mkdir()
    pq.write_table(moments(1, 2, zone="UTC"), folder / "a.parquet")
    bench.ok()
    pq.write_table(moments(1, 2, 2, 3, zone="America/New_York"), folder / "a.parquet")
    assert bench.ok().rows_written == 2, "one more at the last instant, and a later one"
    assert ids(target) == [1, 2, 2, 3]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (pa.table({"id": [1], "at": [1]}), pa.table({"id": [1], "at": ["1"]})),
        (moments(1), moments(1, 2, zone="UTC")),
        (moments(1), pa.table({"id": [1], "at": ["1970-01-01T00:00:02"]})),
    ],
    ids=["int to string", "naive to zoned", "moment to string"],
)
def test_a_cursor_of_another_type_is_refused(bench: Any, before: pa.Table, after: pa.Table) -> None:
    bench.job(FIELD.replace("csv", "parquet") % ("append", "") + "target: {writer: jsonl, path: out}\nevolve: widen\n")
    folder = bench.root / "data"
    folder.mkdir()
    pq.write_table(before, folder / "a.parquet")
    bench.ok()
    pq.write_table(after, folder / "a.parquet")
    error = bench.run().error
    assert isinstance(error, DativoError) and "--full-refresh" in error.hint, error.to_dict()


ROW = st.tuples(st.integers(1, 4), st.none() | st.integers(0, 6))
STEPS = st.lists(
    st.tuples(st.lists(ROW, max_size=4), st.sampled_from(["", "", "before", "after"])), min_size=2, max_size=5
)
PIPELINE = sys.modules["dativo_assets.pipeline.run"]


def late(steps: list[Any], lookback: int) -> Counter[tuple[int, int | None]]:
    """The model: what the table holds after these steps. A row below the lower bound of a run comes too late for it."""
    table: Counter[tuple[int, int | None]] = Counter()
    arrived: Counter[tuple[int, int | None]] = Counter()
    last: int | None = None
    for rows, crash in steps:
        arrived.update(rows)
        if crash == "before":
            continue
        for row, count in arrived.items():
            at = row[1]
            if at is not None and last is not None and at < last - lookback:
                continue
            known = at is None or (last is not None and at <= last)
            table[row] += max(0, count - table[row]) if known else count
        last = max((at for _, at in table if at is not None), default=None)
    return +table


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, lookback=st.sampled_from([0, 2]))
@example(steps=[([(1, 5), (2, None)], "after"), ([(1, 5), (3, 5), (4, 3)], "before"), ([(2, None)], "")], lookback=2)
def test_rows_that_arrive_in_any_order_land_once_whatever_dies(
    bench: Any, target: Target, steps: list[Any], lookback: int
) -> None:
    """Runs die before or after their commit; the last one does not."""
    lookback = lookback if target.kind == "parquet" else 0
    name = f"t{len(list(bench.root.glob('t*')))}"
    source = FIELD % ("append", f", lookback: {lookback}, null_cursor: include")
    place = {"path" if target.kind in ("parquet", "delta") else "table": f"{name}out"}
    bench.job(source.replace("data", name) + target.yaml(**place) + SCHEMA % "", name)
    lines = ""
    steps = [*steps, ([], "")]
    for rows, crash in steps:
        lines += "".join(f"{number},{'' if at is None else at}\n" for number, at in rows)
        bench.write(f"{name}/a.csv", "id,at\n" + lines)

        def dies(*arguments: Any, crash: str = crash) -> Any:
            if crash == "after":
                commit_once(*arguments)
            raise ValidationError("it died")

        with pytest.MonkeyPatch.context() as patch:
            if crash:
                patch.setattr(PIPELINE, "commit_once", dies)
            assert (bench.run(name).error is not None) == bool(crash)
    assert Counter(target.rows("id, at", f"{name}out")) == late(steps, lookback)
