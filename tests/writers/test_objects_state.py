"""`dativo state` over a table of objects, in each of its layouts, as a user calls it."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import obstore
import pytest
from click.testing import CliRunner
from dativo_plugin_sdk import ConfigurationError

from dativo_assets.cli.state import command
from dativo_assets.config import load_project
from dativo_assets.pipeline import RunResult, RunSettings, run
from dativo_assets.plan import bind
from tests.s3 import store_of

LAYOUTS: dict[str, dict[str, Any]] = {
    "added": {"mode": "append"},
    "divided": {"mode": "append", "partition_by": ["id"]},
    "replaced": {"mode": "overwrite"},
    "merged": {"mode": "merge", "keys": ["id"]},
}


class Job:
    """A job with two commits, one file each."""

    def __init__(self, root: Path, connection: dict[str, str], layout: str) -> None:
        self.root = root
        self.prefix = uuid.uuid4().hex
        target = {"writer": "parquet", "path": f"s3://lake/{self.prefix}/t", "connection": "lake", **LAYOUTS[layout]}
        self._write("dativo.yaml", f"connections:\n  lake: {json.dumps(connection)}\n")
        self._write(
            "jobs/job.yaml",
            "source: {reader: csv, files: [data/*.csv], incremental: {strategy: file}}\n"
            f"schema: [{{name: id, type: int64, max: 50}}]\non_violation: quarantine\ntarget: {json.dumps(target)}\n",
        )
        for number in (1, 2):
            self._write(f"data/{number}.csv", f"id\n{number}\n99\n")
            self.last = self.run()

    def _write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def run(self) -> RunResult:
        project = load_project(self.root)
        result = run(bind(project.jobs["job"], project), RunSettings(workers=1))
        assert result.error is None, result.error.to_dict()
        return result

    def call(self, verb: str, *arguments: str) -> str:
        command_line = [verb, "job", *arguments, "--project", str(self.root)]
        return CliRunner().invoke(command, command_line, catch_exceptions=False).output

    def json(self, verb: str, *arguments: str) -> Any:
        return json.loads(self.call(verb, *arguments, "--json"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_command_works_on_every_layout(bucket: dict[str, str], tmp_path: Path, layout: str) -> None:
    job = Job(tmp_path, bucket, layout)
    history = job.json("history")["history"]
    assert [(commit["seq"], commit["rows_written"], commit["rows_rejected"]) for commit in history] == [
        (1, 1, 1),
        (2, 1, 1),
    ]
    assert job.last.run_id == history[1]["run_id"]
    assert job.last.commit is not None
    exported = job.call("export")
    assert "commit 3 sets the cursor" in job.call("rewind", "--to", "1")
    for file in (*job.last.files, *job.last.commit.quarantine):
        assert job.last.run_id in job.call("history", "--file", file), "what only sets the cursor wrote no row"
    with pytest.raises(ConfigurationError, match="no commit in sight"):
        job.call("history", "--file", f"s3://lake/{job.prefix}/t/{9:020d}.parquet")
    state = job.json("show")
    assert (state["seq"], list(state["cursor"]["files"])) == (3, ["data/1.csv"])
    assert job.run().rows_written == 1, "what came after commit 1"
    assert job.json("reset")["seq"] == 5
    (tmp_path / "state.json").write_text(exported)
    assert job.json("import", str(tmp_path / "state.json"))["seq"] == 6
    assert job.run().status == "unchanged"
    assert [commit["seq"] for commit in job.json("history")["history"]] == [1, 2, 3, 4, 5, 6]
    found = [meta["path"] for page in obstore.list(store_of(bucket), prefix=f"{job.prefix}/t/") for meta in page]
    assert len(found) == {"added": 6, "divided": 3, "replaced": 1, "merged": 1}[layout]
    assert job.run().table_rows == {"added": 3, "divided": 3, "replaced": 1, "merged": 2}[layout]
