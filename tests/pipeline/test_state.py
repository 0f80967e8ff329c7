"""`dativo state` sets where the next run goes on, by a commit like a run's, on every target."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result
from dativo_plugin_sdk import CommitConflictError, ConfigurationError, ValidationError

from dativo_assets.cli.state import command

from .targets import Target

SOURCE = "source: {reader: csv, files: [data/*.csv], incremental: {strategy: file}}\n"


class Loaded:
    """A job with two commits, one file each, and `dativo state` over it."""

    def __init__(self, bench: Any, target: Target) -> None:
        self.bench, self.target = bench, target
        bench.job(SOURCE + target.yaml())
        for number in (1, 2):
            bench.write(f"data/{number}.csv", f"id\n{number}\n")
            self.last = bench.ok()

    def call(self, verb: str, *arguments: str) -> Result:
        """One verb. Raises: what it raised."""
        return CliRunner().invoke(
            command, [verb, "job", *arguments, "--project", str(self.bench.root)], catch_exceptions=False
        )

    def json(self, verb: str, *arguments: str) -> Any:
        return json.loads(self.call(verb, *arguments, "--json").output)

    def ids(self) -> list[int]:
        return [row[0] for row in self.target.rows("id")]


@pytest.fixture
def loaded(bench: Any, target: Target) -> Iterator[Loaded]:
    yield Loaded(bench, target)
    assert target.leftovers() == []


def test_a_rewind_sets_the_cursor_back_and_leaves_the_rows(loaded: Loaded) -> None:
    told = loaded.call("rewind", "--to", "1").output
    assert "commit 3" in told and "1 row that was written since stay" in told and "has them twice" in told
    assert loaded.ids() == [1, 2]
    state = loaded.json("show")
    assert (state["seq"], list(state["cursor"]["files"])) == (3, ["data/1.csv"])
    assert loaded.bench.ok().rows_written == 1, "only what came after commit 1"
    assert loaded.ids() == [1, 2, 2]


def test_a_reset_makes_the_next_run_read_everything(loaded: Loaded) -> None:
    told = loaded.json("reset")
    assert {**told, "cursor_before": None} == {
        "job": "job",
        "action": "reset",
        "changed": True,
        "seq": 3,
        "cursor": None,
        "cursor_before": None,
        "rows_kept": 2,
    }
    assert loaded.json("reset")["changed"] is False, "nothing is left to forget"
    assert loaded.bench.ok().rows_written == 2
    assert loaded.ids() == [1, 1, 2, 2]


def test_the_history_says_who_wrote_what(loaded: Loaded) -> None:
    loaded.call("rewind", "--to", "1")
    history = loaded.json("history")["history"]
    assert [(commit["seq"], commit["rows_written"]) for commit in history] == [(1, 1), (2, 1), (3, 0)]
    assert history[1]["run_id"] == loaded.last.run_id and history[1]["plugins"]["reader"].startswith("csv")
    assert {**history[2]["details"]["state"], "by": ""} == {"action": "rewind", "to": 1, "by": ""}
    assert "`dativo state rewind` by" in loaded.call("history", "--limit", "1").output


def test_the_history_finds_the_run_of_a_file(loaded: Loaded) -> None:
    for file in loaded.last.files:
        assert loaded.last.run_id in loaded.call("history", "--file", file).output
    with pytest.raises(ConfigurationError, match="no commit in sight"):
        loaded.call("history", "--file", "elsewhere/part-0000-0000.parquet")


def test_a_run_under_way_loses_to_a_change_and_is_told_who_made_it(loaded: Loaded, plugin: Any) -> None:
    plugin("""
    from pathlib import Path
    class Rows(BaseReader):
        def extract(self, state_manager=None):
            yield [{"id": 9}]
            Path(self.source_config.root, "reading").touch()
            while not Path(self.source_config.root, "go on").exists():
                time.sleep(0.01)
    """)
    loaded.bench.job("source: {reader: 'plugin.py:Rows'}\n" + loaded.target.yaml(mode="append"))
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(loaded.bench.run()))
    thread.start()
    while not (loaded.bench.root / "reading").exists():
        assert thread.is_alive()
    loaded.call("rewind", "--to", "1")
    (loaded.bench.root / "go on").touch()
    thread.join()
    assert isinstance(results[0].error, CommitConflictError)
    assert "`dativo state rewind` by" in str(results[0].error)
    assert loaded.ids() == [1, 2]


def test_a_change_that_comes_late_changes_nothing(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    from dativo_assets.state import change

    commit_once = change.commit_once

    def late(*arguments: Any) -> Any:
        monkeypatch.setattr(change, "commit_once", commit_once)
        loaded.bench.write("data/3.csv", "id\n3\n")
        loaded.bench.ok()
        return commit_once(*arguments)

    monkeypatch.setattr(change, "commit_once", late)
    with pytest.raises(CommitConflictError, match="committed sequence 3"):
        loaded.call("reset")
    assert loaded.json("show")["seq"] == 3 and loaded.bench.ok().status == "unchanged"


def test_a_commit_without_a_record_is_no_place_to_rewind_to(loaded: Loaded) -> None:
    with pytest.raises(ConfigurationError) as raised:
        loaded.call("rewind", "--to", "7")
    assert "1 to 2" in str(raised.value.hint)


def test_an_exported_state_goes_to_another_target(loaded: Loaded) -> None:
    """As where a table was copied to a new place: its job goes on from where the old one was."""
    path = loaded.bench.write("state.json", loaded.call("export").output)
    loaded.bench.job(SOURCE + "target: {writer: sqlite, path: new.db, table: out}\n")
    assert "commit 1" in loaded.call("import", str(path)).output
    assert loaded.bench.ok().status == "unchanged"
    loaded.bench.write("data/3.csv", "id,more\n3,x\n")
    result = loaded.bench.ok()
    assert (result.rows_written, result.commit.seq) == (1, 2)


def test_an_import_is_for_the_same_job_and_the_same_commits(loaded: Loaded) -> None:
    document = json.loads(loaded.call("export").output)

    def refused(kind: type[Exception], **other: Any) -> str:
        path = loaded.bench.write("state.json", json.dumps({**document, **other}))
        with pytest.raises(kind) as raised:
            loaded.call("import", str(path))
        return f"{raised.value} {getattr(raised.value, 'hint', '')}"

    commit = document["commit"]
    assert "newer version" in refused(ValidationError, version=2)
    assert "newer version" in refused(ValidationError, commit={**commit, "format_version": 99})
    assert "no exported state" in refused(ValidationError, format="x")
    assert "can't be read" in refused(ValidationError, commit={"seq": 1})
    assert "of job other" in refused(ConfigurationError, commit={**commit, "job": "other"})
    stranger = {**commit, "run_id": "x", "cursor": {"strategy": "file", "files": {}}}
    assert "--force" in refused(ConfigurationError, commit=stranger)
    assert loaded.json("show")["seq"] == 2
    loaded.call("import", str(loaded.bench.root / "state.json"), "--force")
    assert loaded.bench.ok().rows_written == 2
    loaded.call("reset")
    loaded.call("import", str(loaded.bench.write("state.json", json.dumps(document))))
    assert loaded.bench.ok().status == "unchanged"
