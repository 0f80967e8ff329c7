"""A contract in a run, with the Python plugins and the native ones: the same lands, the same is set aside and told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

PLUGINS = pytest.mark.parametrize(("reader", "writer"), [("csv", "parquet"), ("rust_csv", "rust_parquet")])
ROWS = [(n, "" if n % 7 == 0 else f"name {n}", n % 50 - 1) for n in range(5_000)]


def job(bench: Any, reader: str, writer: str, on_violation: str, rows: list[tuple[int, str, int]] = ROWS) -> None:
    bench.write("in.csv", "id,name,amount\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows))
    bench.job(
        f"""
        source: {{reader: {reader}, files: in.csv}}
        target: {{writer: {writer}, path: out}}
        on_violation: {on_violation}
        schema:
          - {{name: amount, type: integer, min: 0}}
          - {{name: id, type: integer, required: true, unique: true}}
          - {{name: name, type: string, required: true, pattern: '^name \\d+$'}}
        """
    )


@PLUGINS
def test_bad_rows_are_set_aside_with_their_origin_and_the_rest_lands(bench: Any, reader: str, writer: str) -> None:
    job(bench, reader, writer, "quarantine")
    result = bench.ok()
    good = [row for row in ROWS if row[1] and row[2] >= 0]
    assert sorted(bench.rows(), key=lambda row: row["id"]) == [{"amount": c, "id": a, "name": b} for a, b, c in good]
    assert (result.rows_read, result.rows_written, result.rows_rejected) == (5000, len(good), 5000 - len(good))
    broken = {check.name: check.violations for check in result.checks}
    unnamed, negative = len([row for row in ROWS if not row[1]]), len([row for row in ROWS if row[2] < 0])
    assert {name: count for name, count in broken.items() if count} == {
        "amount_min": negative,
        "name_not_null": unnamed,
    }
    (file,) = (bench.root / "out.quarantine").resolve().glob("**/*.parquet")
    rejected = ds.dataset(file).to_table().to_pylist()
    assert {row["_dativo_row"] for row in rejected} == {row[0] + 1 for row in ROWS if row not in good}
    assert all(row["_dativo_row"] == row["id"] + 1 for row in rejected)
    assert {row["_dativo_rule"] for row in rejected} == {"amount_min", "name_not_null", "amount_min;name_not_null"}


@PLUGINS
def test_under_fail_the_first_bad_row_is_named_and_nothing_lands(bench: Any, reader: str, writer: str) -> None:
    rows = [*ROWS[1:7], (9, "x", 1), (10, "y", 1)]
    job(bench, reader, writer, "fail", rows)
    result = bench.run()
    assert result.error is not None
    details = result.error.details
    assert (details["rule"], details["row"], details["value"], details["violations"]) == ("name_pattern", 7, "x", 2)
    assert bench.rows() == []
    assert bench.leftovers() == []


@PLUGINS
def test_a_repeated_key_across_files_is_found(bench: Any, reader: str, writer: str) -> None:
    job(bench, reader, writer, "quarantine", ROWS[1:7])
    bench.write("in2.csv", "id,name,amount\n3,name 3,1\n8,name 8,1\n")
    text = (bench.root / "jobs/job.yaml").read_text().replace("in.csv", "in*.csv")
    bench.job(text)
    result = bench.ok()
    assert (result.rows_written, result.rows_rejected) == (7, 1)


@pytest.mark.parametrize("reader", ["rust_csv"])
def test_rows_that_keep_every_rule_need_no_arrow_library(bench: Any, reader: str) -> None:
    job(bench, reader, "rust_parquet", "fail", ROWS[1:7])
    imported = imported_by_a_run(bench.root)
    assert "dativo_rust_contract" in imported
    assert not imported & {"pyarrow", "numpy", "dagster"}
    assert len(bench.rows()) == 6


def test_a_run_loads_nothing_that_its_job_does_not_ask_for(bench: Any) -> None:
    bench.write("in.csv", "id,name\n1,a\n")
    bench.job("source: {reader: rust_csv, files: in.csv}\ntarget: {writer: rust_parquet, path: out}\n")
    imported = imported_by_a_run(bench.root)
    assert "dativo_rust_parquet._native" in imported
    assert not imported & {"pyarrow", "numpy", "dagster", "rich", "asyncio"}
    assert not imported & {
        "dativo_assets.contract.model",
        "dativo_plugin_sdk.parquet_merge",
        "dativo_plugin_sdk.staged_rows",
    }


def imported_by_a_run(root: Path) -> set[str]:
    """The modules that `dativo run job` imports."""
    command = [sys.executable, "-X", "importtime", "-c", "from dativo_assets.cli import main; main()"]
    done = subprocess.run([*command, "run", "job"], cwd=root, capture_output=True, text=True, check=True)
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
