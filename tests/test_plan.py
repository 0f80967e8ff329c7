"""Binding a job to the plugins, connections and upstream jobs it names."""

from __future__ import annotations

import pickle
import textwrap
from pathlib import Path

import pytest

from dativo_assets.config import load_project
from dativo_assets.errors import ConfigurationError, render
from dativo_assets.pipeline import RunSettings, run
from dativo_assets.plan import JobPlan, bind, upstream_jobs

SOURCE = "source: {reader: csv, files: [a.csv]}\ntarget: {writer: parquet, path: 'out/{name}'}\n"


def plan(root: Path, jobs: dict[str, str], name: str, project: str = "") -> JobPlan:
    (root / "dativo.yaml").write_text(project or "jobs: jobs/*.yaml\n")
    (root / "jobs").mkdir(exist_ok=True)
    for job, text in jobs.items():
        (root / "jobs" / f"{job}.yaml").write_text(textwrap.dedent(text))
    loaded = load_project(root)
    assert not loaded.broken, loaded.broken
    return bind(loaded.jobs[name], loaded)


def sql(query: str) -> str:
    return f'source: {{reader: sql, query: "{query}"}}\ntarget: {{writer: parquet, path: "out/{{name}}"}}\n'


def test_a_query_names_its_upstream_by_itself(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,v\n1,2\n3,4\n")
    jobs = {"a": SOURCE, "b": sql("with x as (select * from a) select sum(v) as total from x")}
    bound = plan(tmp_path, jobs, "b")
    project = load_project(tmp_path)
    assert upstream_jobs(project.jobs["b"], project) == ("a",)
    assert [target.name for target in bound.upstream] == ["a"]
    early = run(bound, RunSettings(workers=1))
    assert early.error is not None and early.error.hint == "run it first: dativo run a"
    assert run(bind(project.jobs["a"], project)).ok
    result = run(bound)
    assert result.error is None and result.rows_written == 1


def test_queries_that_read_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"a -> b -> a"):
        plan(tmp_path, {"a": sql("select * from b"), "b": sql("select * from a")}, "a")


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        (SOURCE.replace("csv,", "cvs,"), "unknown reader 'cvs'", 1),
        (SOURCE.replace("parquet", "parket"), "unknown writer 'parket'", 2),
    ],
)
def test_what_is_not_there_is_named_at_its_line(tmp_path: Path, text: str, message: str, line: int) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        plan(tmp_path, {"a": text}, "a")
    assert caught.value.details["line"] == line
    assert "jobs/a.yaml" in render(caught.value)


def test_an_unknown_option_is_named_at_its_line_when_the_plugin_loads(tmp_path: Path) -> None:
    text = (
        "source:\n  reader: csv\n  files: [a.csv]\n  options:\n    delimeter: ';'\ntarget: {writer: parquet, path: o}\n"
    )
    with pytest.raises(ConfigurationError, match="unknown key `delimeter`") as caught:
        plan(tmp_path, {"a": text}, "a").open_reader({})
    assert caught.value.details["line"] == 5
    assert "delimiter" in str(caught.value.hint)


def test_a_mode_that_the_writer_cannot_do_is_refused(tmp_path: Path) -> None:
    text = SOURCE.replace("parquet, path: 'out/{name}'", "jsonl, path: out, mode: merge, keys: [id]")
    with pytest.raises(ConfigurationError, match="can't merge"):
        plan(tmp_path, {"a": text}, "a").open_writer({})


def test_secrets_are_resolved_at_run_time_alone_and_shown_nowhere(tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text(
        "from dativo_plugin_sdk import *\n"
        "class Leaks(BaseReader):\n"
        "    def extract(self, state_manager=None):\n"
        "        raise ConnectionError(f\"no answer from {self.source_config.connection['dsn']}\")\n"
        "        yield\n"
    )
    text = "source: {reader: plugin.py:Leaks, connection: shop}\ntarget: {writer: parquet, path: out}\n"
    project = 'jobs: jobs/*.yaml\nconnections: {shop: {dsn: "postgres://u:${SHOP_PASSWORD}@h/d"}}\n'
    bound = plan(tmp_path, {"a": text}, "a", project)
    environment = {"SHOP_PASSWORD": "hunter2hunter2"}
    result = run(bound, RunSettings(environment=environment, retries=False))
    assert result.error is not None
    told = (str(result.error), repr(result.error.to_dict()), repr(bound), repr(bound.source_config(environment)))
    assert not [text for text in told if "hunter2" in text]
    assert b"hunter2" not in pickle.dumps(bound.job)
    unset = run(bound, RunSettings(environment={}, retries=False))
    assert "SHOP_PASSWORD is not set" in str(unset.error)


def test_a_catalog_is_the_connection_of_its_name(tmp_path: Path) -> None:
    project = 'jobs: jobs/*.yaml\nconnections: {lake: {type: rest, uri: "http://c", token: "${CATALOG_TOKEN}"}}\n'
    text = "source: {reader: csv, files: [a.csv]}\ntarget: {writer: iceberg, catalog: lake, table: a.b}\n"
    bound = plan(tmp_path, {"a": text}, "a", project)
    found = bound.target_config({"CATALOG_TOKEN": "hush"})
    assert (found.catalog, found.connection) == ("lake", {"type": "rest", "uri": "http://c", "token": "hush"})
    unnamed = plan(tmp_path, {"a": text.replace("lake", "pond")}, "a", project)
    with pytest.raises(ConfigurationError, match="no connection named `pond`"):
        unnamed.open_writer({})
