"""A writer in a process of its own: the same table, and a death at any call leaves the old version or the new one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from dativo_plugin_sdk import DativoError, PluginError, SandboxError

from dativo_assets.pipeline import RunSettings

from .test_resume import READER, SPLITS, run_child
from .test_resume import ROWS as ROWS_A_SPLIT

ROWS = "".join(f"{n};name {n % 7}\n" for n in range(3000))
JOB = """
    source: {{reader: csv, files: data/*.csv}}
    target: {{writer: {writer}, path: {path}, mode: {mode}, keys: [n], isolation: {isolation}}}
    schema: [{{name: n, type: int64}}, {{name: name, type: string, accepted_values: {accepted}}}]
    on_violation: quarantine
    retry: {{max_attempts: 1}}
    """
NAMES = [f"name {n}" for n in range(6)]


@pytest.mark.parametrize("writer", ["parquet", "rust_parquet"])
@pytest.mark.parametrize("mode", ["append", "overwrite", "merge"])
def test_the_table_its_rejects_and_its_history_are_the_same(bench: Any, writer: str, mode: str) -> None:
    bench.write("data/a.csv", "n;name\n" + ROWS)
    found = []
    for isolation in ("none", "process"):
        job = {"writer": writer, "mode": mode, "accepted": NAMES, "isolation": isolation, "path": isolation}
        bench.job(JOB.format(**job), isolation)
        results = [bench.ok(isolation) for _ in range(2)]
        rows = sorted(bench.rows(isolation), key=str)
        counts = [(result.rows_written, result.rows_rejected, result.notes, result.table_rows) for result in results]
        found.append((rows, counts, [result.commit.plugins for result in results]))
        assert results[1].commit.seq == 2
        assert bench.leftovers(isolation) == []
    assert found[0] == found[1]
    assert found[1][1][0][1] == 428  # every seventh is set aside


WRITER = """
    class Files(BaseWriter):
        def write_batch(self, records, file_counter):
            {on_write}
            path = os.path.join(self.output_base, f"{{file_counter}}.txt")
            with open(path, "w") as file:
                file.write("".join(f"{{row['n']}}\\n" for row in records))
            return [{{"path": path, "size_bytes": os.path.getsize(path), "record_count": len(records)}}]

        def commit_files(self, files):
            {on_commit}
    """
FILES = """
    source: {{reader: csv, files: data/*.csv}}
    target: {{writer: "plugin.py:Files", path: out, mode: append, isolation: {isolation}}}
    schema: [{{name: n, type: int64}}]
    retry: {{max_attempts: 1}}
    timeout: {timeout}
    """


@pytest.fixture
def writes(bench: Any, plugin: Callable[[str], None]) -> Callable[..., DativoError | None]:
    """Run a level-1 writer that does something in one of its calls; how the run fails."""

    def run(on_write: str = "pass", on_commit: str = "pass", isolation: str = "process", timeout: str = "60s") -> Any:
        bench.write("data/a.csv", "n\n" + "".join(f"{n}\n" for n in range(100)))
        plugin(WRITER.format(on_write=on_write, on_commit=on_commit))
        bench.job(FILES.format(isolation=isolation, timeout=timeout))
        return bench.run(settings=RunSettings(workers=1)).error

    return run


def lines(bench: Any) -> int:
    return sum(len(path.read_text().splitlines()) for path in (bench.root / "out").resolve().glob("*/*.txt"))


@pytest.mark.parametrize("call", ["on_write", "on_commit"])
@pytest.mark.parametrize(
    ("does", "code"),
    [
        ("import ctypes; ctypes.string_at(0)", "PLUGIN_DIED"),
        ("os._exit(3)", "PLUGIN_DIED"),
        ("raise ValueError('no luck')", "PLUGIN_ERROR"),
    ],
)
def test_a_writer_that_dies_leaves_what_was_there(
    bench: Any, writes: Callable[..., Any], call: str, does: str, code: str
) -> None:
    assert writes() is None
    assert lines(bench) == 100
    error = writes(**{call: does})
    assert isinstance(error, PluginError) and error.error_code == code
    assert error.details["plugin"] == "plugin.py:Files"
    assert error.details["stage"] == ("write" if call == "on_write" else "commit")
    assert lines(bench) == 100
    assert writes() is None
    assert lines(bench) == 200
    assert bench.leftovers() == []


def test_a_limit_that_a_writer_meets_is_named(writes: Callable[..., Any]) -> None:
    error = writes("rows = [bytearray(1 << 20) for _ in range(1000)]", isolation="{memory: 400MB}")
    assert isinstance(error, SandboxError) and error.details["limit"] == "memory"


def test_a_writer_that_hangs_is_killed(writes: Callable[..., Any]) -> None:
    error = writes(on_commit="time.sleep(60)", timeout="2s")
    assert error.error_code == "PLUGIN_TIMEOUT"


def test_a_commit_whose_answer_was_lost_is_found(bench: Any, plugin: Callable[[str], None]) -> None:
    """The child dies once its commit is on disk: the next one says that it is there."""
    bench.write("data/a.csv", "n\n1\n2\n")
    plugin("""
        from dativo_assets.writers.parquet import ParquetWriter

        class Files(ParquetWriter):
            def commit(self, committables, commit):
                super().commit(committables, commit)
                os._exit(1)
        """)
    bench.job(FILES.format(isolation="process", timeout="60s"))
    result = bench.run()
    assert result.error is None, result.error.to_dict()
    assert result.commit.seq == 1
    assert sorted(row["n"] for row in bench.rows()) == [1, 2]


class Dies:
    """What ends the first run of a long one, and how it looks then."""

    @staticmethod
    def run(bench: Any) -> None:
        bench.write("fault-8", "kill")
        assert run_child(bench).wait(60) == -9

    @staticmethod
    def child(bench: Any) -> None:
        bench.write("dies-at", "400")
        error = bench.run(settings=RunSettings(workers=1, checkpoint_s=0.0)).error
        assert error.error_code == "PLUGIN_DIED"
        (bench.root / "dies-at").unlink()


@pytest.mark.parametrize("first", [Dies.run, Dies.child])
def test_what_was_finished_before_a_crash_is_kept(
    bench: Any, plugin: Callable[[str], None], first: Callable[[Any], None]
) -> None:
    plugin(
        READER
        + """
from dativo_assets.writers.parquet import ParquetWriter

class Files(ParquetWriter):
    def writer(self, task):
        found, write = super().writer(task), type(super().writer(task)).write
        dies_at = Path(self.target_config.root, "dies-at")
        def checked(batch):
            if dies_at.exists() and int(dies_at.read_text()) in batch.column(0).to_pylist():
                os._exit(3)
            write(found, batch)
        found.write = checked
        return found
"""
    )
    bench.job("""
        source: {reader: "plugin.py:Rows"}
        target: {writer: "plugin.py:Files", path: out, isolation: process}
        retry: {max_attempts: 1}
        """)
    first(bench)
    assert bench.rows() == []
    result = bench.ok(checkpoint_s=0.0)
    assert result.splits_resumed >= 6
    assert sorted(row["id"] for row in bench.rows()) == list(range(SPLITS * ROWS_A_SPLIT))
    assert bench.leftovers() == []


def test_an_attempt_takes_over_what_the_one_before_has_finished(bench: Any, plugin: Callable[[str], None]) -> None:
    plugin(READER)
    bench.write("fault-8", "raise")
    bench.job("""
        source: {reader: "plugin.py:Rows"}
        target: {writer: rust_parquet, path: out, isolation: process}
        retry: {max_attempts: 2, delay: 0s}
        """)
    result = bench.ok(checkpoint_s=0.0, workers=1)
    assert (result.attempts, result.splits_resumed) == (2, 8)
    assert sorted(row["id"] for row in bench.rows()) == list(range(SPLITS * ROWS_A_SPLIT))
    assert bench.leftovers() == []


def test_a_table_is_maintained_in_its_writers_process(bench: Any) -> None:
    from dativo_plugin_sdk import MaintainRequest

    from dativo_assets.config import load_project
    from dativo_assets.plan import bind

    for n in range(3):
        bench.write("data/a.csv", f"n;name\n{n};name 1\n")
        bench.job(JOB.format(writer="parquet", mode="append", accepted=NAMES, isolation="process", path="out"))
        bench.ok()
    project = load_project(bench.root)
    writer = bind(project.jobs["job"], project).open_writer({})
    report = writer.maintain(MaintainRequest(job="job", run_id="maintain", keep_s=0))
    writer.close()
    assert (report.files_compacted, report.files_written) == (3, 1)
    assert report.commit is not None and report.commit.mode == "compact"
    assert sorted(row["n"] for row in bench.rows()) == [0, 1, 2]
