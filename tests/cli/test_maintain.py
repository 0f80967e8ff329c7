"""What `dativo maintain` does, and what it tells."""

from __future__ import annotations

from typing import Any

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


def test_a_target_with_nothing_to_do_says_so(shell: Any) -> None:
    shell.write("a.csv", "id,v\n1,10\n")
    shell.write("jobs/orders.yaml", JOB.replace("WRITER", "csv"))
    assert shell("run", "orders").code == 0
    assert "csv files are not joined" in shell("maintain", "orders").out
