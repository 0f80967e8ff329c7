"""run(plan): what lands, what is told, what is left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from dativo_assets.pipeline import CancelToken, Progress, RunSettings

Plugin = Callable[[str], None]

JOB = """
source: {reader: plugin.py:Rows}
target: {writer: parquet, path: out}
"""

ROWS = """
class Rows(BaseReader):
    def extract(self, state_manager=None):
        yield [{"id": i, "name": f"n{i}"} for i in range(10)]
        yield [{"id": i, "name": None} for i in range(10, 15)]
"""


def test_a_level_1_reader_is_one_class_with_one_method(bench: Any, plugin: Plugin) -> None:
    plugin(ROWS)
    bench.job(JOB)
    result = bench.ok()
    assert (result.status, result.rows_read, result.rows_written, result.rows_rejected) == ("succeeded", 15, 15, 0)
    assert result.commit.seq == 1
    assert result.schema_text == {"id": "int64", "name": "string"}
    assert [row["id"] for row in bench.rows()] == list(range(15))
    assert result.files and all(name.endswith(".parquet") for name in result.files)
    assert bench.leftovers() == []
    assert result.stages["read"].plugin == "plugin.py:Rows 1.0.0"
    assert result.stages["write"].rows == 15
    assert result.peak_rss_bytes > 1_000_000


def test_the_default_mode_replaces_the_table(bench: Any, plugin: Plugin) -> None:
    plugin(ROWS)
    bench.job(JOB)
    bench.ok()
    assert bench.ok().commit.seq == 2
    assert len(bench.rows()) == 15


def test_append_adds(bench: Any, plugin: Plugin) -> None:
    plugin(ROWS)
    bench.job(JOB.replace("path: out", "path: out, mode: append"))
    bench.ok()
    bench.ok()
    assert len(bench.rows()) == 30


def test_a_retry_after_another_run_does_not_write_twice(bench: Any, plugin: Plugin) -> None:
    plugin(ROWS)
    bench.job(JOB.replace("path: out", "path: out, mode: append"))
    first = bench.run(run_id="lost")
    bench.ok()
    again = bench.run(run_id="lost")
    assert (again.commit.seq, first.commit.seq, len(bench.rows())) == (1, 1, 30)


def test_the_same_run_id_never_writes_twice(bench: Any, plugin: Plugin) -> None:
    plugin(ROWS)
    bench.job(JOB.replace("path: out", "path: out, mode: append"))
    first = bench.run(run_id="r1")
    again = bench.run(run_id="r1")
    assert first.commit.seq == again.commit.seq == 1
    assert len(bench.rows()) == 15


def test_a_late_wider_value_starts_over_and_loses_nothing(bench: Any, plugin: Plugin) -> None:
    plugin("""
    class Rows(BaseReader):
        def extract(self, state_manager=None):
            yield [{"v": 1}, {"v": 2}]
            yield [{"v": 2.5, "late": "x"}]
    """)
    bench.job(JOB)
    assert bench.ok().schema_text == {"v": "float64", "late": "string"}
    assert bench.rows() == [{"v": 1.0, "late": None}, {"v": 2.0, "late": None}, {"v": 2.5, "late": "x"}]


PARALLEL = """
class Rows(BaseReader):
    def plan(self, request):
        return ReadPlan(splits=tuple(Split(f"s{i}", {"start": i * 100}) for i in range(20)))
    def read(self, split):
        start = split.payload["start"]
        for at in range(start, start + 100, 25):
            yield [{"id": i} for i in range(at, at + 25)]
"""


def test_splits_run_in_parallel_and_each_row_lands_once(bench: Any, plugin: Plugin) -> None:
    plugin(PARALLEL)
    bench.job(JOB)
    seen: list[Progress] = []
    result = bench.ok(on_progress=seen.append, progress_interval_s=0.0)
    assert sorted(row["id"] for row in bench.rows()) == list(range(2000))
    assert len(result.files) <= 2
    last = [progress for progress in seen if progress.stage == "move"][-1]
    assert (last.rows, last.splits_done, last.splits) == (2000, 20, 20)


def test_splits_of_different_columns_become_one_schema(bench: Any, plugin: Plugin) -> None:
    plugin("""
    class Rows(BaseReader):
        def plan(self, request):
            return ReadPlan(splits=(Split("a"), Split("b")))
        def read(self, split):
            yield [{"id": 1, split.id: 1.5 if split.id == "a" else "x"}]
    """)
    bench.job(JOB)
    bench.ok()
    key = lambda row: str(row)  # noqa: E731
    assert sorted(bench.rows(), key=key) == sorted(
        [{"id": 1, "a": 1.5, "b": None}, {"id": 1, "a": None, "b": "x"}], key=key
    )


def test_a_plan_may_tell_columns_that_hold_no_null(bench: Any, plugin: Plugin) -> None:
    plugin("""
    import pyarrow as pa

    class Rows(BaseReader):
        schema = pa.schema([pa.field("id", pa.int64(), nullable=False)], metadata={"made": "by hand"})

        def plan(self, request):
            return ReadPlan(splits=(Split("a"),), schema=self.schema)
        def read(self, split):
            yield pa.record_batch([pa.array([1, 2])], schema=self.schema)
    """)
    bench.job(JOB)
    bench.ok()
    assert bench.rows() == [{"id": 1}, {"id": 2}]


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ("raise ValueError('boom')", "PluginError", "boom"),
        ("sys.exit(3)", "PluginError", "exit"),
        ("yield 42", "PluginError", "int"),
        ("yield [{1: 2}]", "PluginError", "no text"),
        ("raise AuthenticationError('no entry')", "AuthenticationError", "no entry"),
        ("yield [{'a': 1}]; raise OSError(28, 'No space left on device')", None, "space"),
    ],
)
def test_a_failing_plugin_leaves_the_previous_version(
    bench: Any, plugin: Plugin, body: str, kind: str | None, words: str
) -> None:
    plugin(ROWS)
    bench.job(JOB)
    bench.ok()
    before = bench.rows()
    bench.job(JOB.replace("plugin.py", "bad.py"))
    bench.write(
        "bad.py",
        "import sys\nfrom dativo_plugin_sdk import *\n"
        "class Rows(BaseReader):\n    def extract(self, state_manager=None):\n"
        f"        {body}\n        yield []\n",
    )
    result = bench.run("job", RunSettings(workers=2, retries=False))
    assert result.status == "failed"
    assert kind is None or type(result.error).__name__ == kind
    assert words in str(result.error).lower() or words in str(result.error)
    assert result.error.details["job"] == "job"
    assert result.error.details["stage"] in ("read", "plan")
    assert result.error.details["plugin"] == "bad.py:Rows"
    assert bench.rows() == before
    assert bench.leftovers() == []


def test_a_transient_failure_is_retried_and_commits_once(bench: Any, plugin: Plugin) -> None:
    plugin("""
    from pathlib import Path
    class Rows(BaseReader):
        def extract(self, state_manager=None):
            tries = Path(self.source_config.root, "tries")
            count = int(tries.read_text()) if tries.exists() else 0
            tries.write_text(str(count + 1))
            yield [{"id": 1}]
            if count < 2:
                raise TransientError("try later")
            yield [{"id": 2}]
    """)
    bench.job(JOB + "retry: {max_attempts: 3, delay: 0.01}\n")
    result = bench.ok()
    assert (result.attempts, result.commit.seq) == (3, 1)
    assert [row["id"] for row in bench.rows()] == [1, 2]


def test_a_final_failure_is_not_retried(bench: Any, plugin: Plugin) -> None:
    plugin("""
    class Rows(BaseReader):
        def extract(self, state_manager=None):
            raise ValidationError("never")
            yield
    """)
    bench.job(JOB + "retry: {max_attempts: 3, delay: 0.01}\n")
    assert bench.run().attempts == 1


HANGS = """
class Rows(BaseReader):
    def extract(self, state_manager=None):
        yield [{"id": 1}]
        threading.Event().wait(60)
        yield [{"id": 2}]
"""


def test_cancellation_takes_less_than_a_second_even_of_a_plugin_that_hangs(bench: Any, plugin: Plugin) -> None:
    plugin(HANGS)
    bench.job(JOB)
    token, started = CancelToken(), threading.Event()
    settings = RunSettings(workers=1, cancel=token, on_progress=lambda p: p.rows and started.set())
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(bench.run(settings=settings)))
    thread.start()
    assert started.wait(10)
    token.cancel()
    asked = time.monotonic()
    thread.join(5)
    assert time.monotonic() - asked < 1.0
    assert results[0].status == "cancelled"
    assert bench.rows() == [] and bench.leftovers() == []


def test_a_plugin_that_hangs_is_named_after_the_timeout(bench: Any, plugin: Plugin) -> None:
    plugin(HANGS)
    bench.job(JOB + "timeout: 1s\n")
    result = bench.run()
    assert result.status == "failed"
    assert result.error.error_code == "PLUGIN_TIMEOUT"
    assert "plugin.py:Rows" in str(result.error)


def test_a_level_1_writer_lands_its_files_with_one_commit(bench: Any, plugin: Plugin) -> None:
    plugin(
        ROWS
        + """
    import json
    from pathlib import Path
    class Lines(BaseWriter):
        def write_batch(self, records, file_counter):
            path = Path(self.output_base, f"{file_counter}.ndjson")
            path.write_text("".join(json.dumps(r) + "\\n" for r in records))
            return [{"path": str(path), "size_bytes": path.stat().st_size, "record_count": len(records)}]
    """.replace("\n    ", "\n")
    )
    bench.job("source: {reader: plugin.py:Rows}\ntarget: {writer: plugin.py:Lines, path: out}\n")
    result = bench.ok()
    assert result.rows_written == 15
    files = (bench.root / "out").resolve().glob("*/*.ndjson")
    lines = [line for path in files for line in path.read_text().splitlines()]
    assert len(lines) == 15
    assert sorted(result.commit.files) == ["0.ndjson", "1.ndjson"]


def test_a_batch_larger_than_the_budget_is_cut(bench: Any, plugin: Plugin) -> None:
    plugin("""
    class Rows(BaseReader):
        def extract(self, state_manager=None):
            yield [{"id": i, "text": "x" * 1000} for i in range(5000)]
    """)
    bench.job(JOB)
    result = bench.ok(memory_bytes=1 << 20)
    assert result.stages["write"].batches > 5
    assert len(bench.rows()) == 5000


def test_no_rows_at_all_still_commit(bench: Any, plugin: Plugin) -> None:
    plugin("""
    class Rows(BaseReader):
        def extract(self, state_manager=None):
            return iter(())
    """)
    bench.job(JOB)
    assert bench.ok().rows_written == 0


@pytest.mark.parametrize("reader", ["csv", "rust_csv"])
@pytest.mark.parametrize("contract", ["", "schema: [{name: a, type: int64}, {name: b, type: int64}]\n"])
def test_rows_left_out_are_told(bench: Any, reader: str, contract: str) -> None:
    bench.write("a.csv", "a,b\n1\n1,2\n3\n")
    source = f"source: {{reader: {reader}, files: [a.csv], options: {{bad_lines: skip}}}}\n"
    bench.job(source + "target: {writer: parquet, path: out}\n" + contract)
    result = bench.ok()
    assert bench.rows() == [{"a": 1, "b": 2}]
    assert [note for note in result.notes if "2 rows" in note and "were left out" in note]


def test_lines_left_out_are_told(bench: Any) -> None:
    bench.write("a.jsonl", '{"a": 1}\nx\n[1]\n')
    bench.job(
        "source: {reader: json, files: [a.jsonl], options: {bad_lines: skip}}\ntarget: {writer: parquet, path: out}\n"
    )
    assert [note for note in bench.ok().notes if "2 lines that are no JSON object were left out" in note]


def test_a_level_2_writer_gets_record_batches(bench: Any, plugin: Plugin) -> None:
    plugin(
        ROWS
        + """
from pathlib import Path
class Counts(BaseWriter):
    class Options(Options):
        suffix: str = ".count"
    def write(self, batch):
        path = Path(self.output_base, f"{batch.num_rows}{self.options.suffix}")
        path.write_text(str(batch.column("id").to_pylist()))
"""
    )
    bench.job(
        "source: {reader: plugin.py:Rows}\n"
        "target: {writer: plugin.py:Counts, path: out, mode: append, options: {suffix: .n}}\n"
    )
    result = bench.ok()
    assert result.rows_written == 15
    assert sorted(result.commit.files) == ["10.n", "5.n"]
    assert (bench.root / "out/1/5.n").read_text() == "[10, 11, 12, 13, 14]"


def test_a_writer_that_cannot_quarantine_is_refused_before_anything_is_read(bench: Any, plugin: Plugin) -> None:
    plugin(ROWS + "\nclass Counts(BaseWriter):\n    def write(self, batch): pass\n")
    schema = "schema: [{name: id, type: int64}, {name: name, type: string}]\non_violation: quarantine\n"
    bench.job("source: {reader: plugin.py:Rows}\ntarget: {writer: plugin.py:Counts, path: out}\n" + schema)
    assert "can't quarantine" in str(bench.run().error)


@pytest.mark.parametrize("rule", ["fail", "warn", "quarantine"])
def test_what_happens_to_rows_that_break_a_rule(bench: Any, plugin: Plugin, rule: str) -> None:
    plugin(ROWS)
    schema = "schema: [{name: id, type: int64}, {name: name, type: string, required: true}]\n"
    bench.job(JOB + schema + f"on_violation: {rule}\n")
    result = bench.run()
    check = next(check for check in result.checks if check.name == "name_not_null")
    assert check.violations == 5 and not check.passed
    if rule == "fail":
        assert result.status == "failed" and bench.rows() == []
        assert result.error.details["row"] == 11
    else:
        expected = {"warn": (15, 15, 0), "quarantine": (15, 10, 5)}[rule]
        assert (result.rows_read, result.rows_written, result.rows_rejected) == expected
        assert len(bench.rows()) == expected[1]
    if rule == "quarantine":
        (folder,) = (bench.root / "out.quarantine").iterdir()
        assert [str(path) for path in folder.iterdir()] == list(result.commit.quarantine)


def test_partitions_are_folders_that_any_reader_understands(bench: Any, plugin: Plugin) -> None:
    plugin(ROWS)
    bench.job(JOB.replace("path: out", "path: out, partition_by: [name]"))
    assert bench.ok().rows_written == 15
    folders = sorted(path.name for path in (bench.root / "out").resolve().glob("*/*") if path.is_dir())
    assert folders[:2] == ["name=__HIVE_DEFAULT_PARTITION__", "name=n0"]
    assert sorted(row["id"] for row in bench.rows()) == list(range(15))


@pytest.mark.parametrize("reader", ["rust_csv"])
@pytest.mark.parametrize("rule", ["", "schema: [{name: a, type: int64, required: true}, {name: b, type: string}]\n"])
def test_a_split_that_begins_inside_a_value_is_read_again(bench: Any, reader: str, rule: str) -> None:
    """The value in the middle is large enough for a split to begin in it, and its lines look like rows that break rules."""
    value = ",x\n" * (3 << 20)
    plain = [f"{number},some text {number}\n" for number in range(300_000)]
    bench.write("a.csv", "a,b\n" + "".join(plain[:150_000]) + f'-1,"{value}"\n' + "".join(plain[150_000:]))
    bench.job(f"source: {{reader: {reader}, files: [a.csv]}}\ntarget: {{writer: parquet, path: out}}\n{rule}")
    result = bench.ok(workers=2)
    assert (result.rows_read, result.rows_written, result.rows_rejected) == (300_001, 300_001, 0)
    assert dict(result.schema_text) == {"a": "int64", "b": "string"}
    rows = bench.rows()
    assert sorted(row["a"] for row in rows) == list(range(-1, 300_000))
    assert [row["b"] for row in rows if row["a"] == -1] == [value]
    assert bench.leftovers() == []
