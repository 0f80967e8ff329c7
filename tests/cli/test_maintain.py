"""What `dativo maintain` does, and what it tells."""

from __future__ import annotations

from typing import Any

import pytest

JOB = "source: {reader: csv, files: [a.csv]}\ntarget: {writer: WRITER, path: out, mode: append}\n"


def test_maintain_joins_files_and_tells_a_person_and_a_program(shell: Any) -> None:
    shell.write("a.csv", "id,v\n1,10\n")
    shell.write("jobs/orders.yaml", JOB.replace("WRITER", "parquet"))
    shell.write("jobs/broken.yaml", "source: {reader: csv\n")
    for _ in range(3):
        assert shell("run", "orders").code == 0
    (told,) = shell("maintain", "orders", "--dry-run", "--json").json
    assert (told["files_compacted"], told["seq"]) == (3, None)
    said = shell("maintain", "orders")
    assert (said.code, said.out.splitlines()[1].split()) == (0, ["orders", "3", "1", "0", "0"])
    assert shell("run", "orders", "--json").json[0]["seq"] == 5
    (told,) = shell("maintain", "orders", "--keep", "0s", "--json").json
    assert (told["files_compacted"], told["files_written"], told["versions"], told["seq"]) == (2, 1, 2, 6)
    assert shell("maintain").code == 1
    assert shell("maintain", "orders", "--keep", "soon").code == 2


@pytest.mark.parametrize("place", ["writer: iceberg, table: shop.out", "writer: delta, path: out"])
def test_maintain_joins_files_of_a_lake(shell: Any, place: str) -> None:
    shell.write("a.csv", "id,v\n1,10\n")
    shell.write("jobs/orders.yaml", JOB.replace("writer: WRITER, path: out", place))
    for _ in range(3):
        assert shell("run", "orders").code == 0
    (told,) = shell("maintain", "orders", "--keep", "0s", "--json").json
    assert (told["files_compacted"], told["files_written"], told["seq"]) == (3, 1, 3)
    assert shell("run", "orders", "--json").json[0]["seq"] == 4
    assert [found["seq"] for found in shell("state", "history", "orders", "--json").json["history"]] == [1, 2, 3, 4]


@pytest.mark.parametrize("writer", ["sqlite", "duckdb"])
def test_maintain_of_a_database_says_what_was_done(shell: Any, writer: str) -> None:
    shell.write("a.csv", "id,v\n1,10\n")
    shell.write("jobs/orders.yaml", JOB.replace("WRITER", writer))
    assert "nothing is committed yet" in shell("maintain", "orders").out
    assert shell("run", "orders").code == 0
    assert "the " in shell("maintain", "orders").out.splitlines()[1]


def test_a_target_with_nothing_to_do_says_so(shell: Any) -> None:
    shell.write("a.csv", "id,v\n1,10\n")
    shell.write("jobs/orders.yaml", JOB.replace("WRITER", "csv"))
    assert shell("run", "orders").code == 0
    assert "csv files are not joined" in shell("maintain", "orders").out
