"""A folder of files as a project: what loads, what is broken, and how that is said."""

from __future__ import annotations

import contextlib
import copy
import json
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dativo_assets.config import JobConfig, Project, find_project, load_job, load_project
from dativo_assets.errors import ConfigurationError, Location, render

Make = Callable[..., Project]
MINIMAL = "source: {reader: csv}\ntarget: {writer: csv}\n"


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A project from texts: `make(a="source: ...")` is jobs/a.yaml; `dativo` is dativo.yaml."""

    def write(dativo: str | None = None, **jobs: str) -> Project:
        (tmp_path / "jobs").mkdir(exist_ok=True)
        if dativo is not None:
            (tmp_path / "dativo.yaml").write_text(dativo)
        for name, text in jobs.items():
            (tmp_path / "jobs" / f"{name}.yaml").write_text(text)
        return load_project(tmp_path)

    return write


def broken(project: Project, name: str | None = None) -> str:
    items = [item for item in project.broken if name in (None, item.name)]
    assert len(items) == 1, project
    return render(items[0].error)


def test_the_job_of_the_design_loads(make: Make) -> None:
    project = make(
        "defaults: {target: {writer: parquet, path: 'warehouse/{name}'}}\nconnections:\n  shop: {dsn: '${SHOP_DSN}'}\n",
        airports=MINIMAL,
        carriers=MINIMAL,
        flights="""
name: flights
description: Every flight that left New York in 2013
group: nyc
depends_on: [airports, carriers]
source:
  reader: rust_csv
  files: [data/flights/*.csv.gz]
  connection: shop
  options: {null_values: ["", "NA"]}
  incremental: {strategy: append, cursor_field: time_hour, lookback: 1d}
target:
  writer: rust_parquet
  path: warehouse/flights
  mode: append
  partition_by: [month]
  options: {compression: zstd}
contract: contracts/flights.odcs.yaml
on_violation: quarantine
trigger: {files: {poll: 30s}}
partitions: {daily: {start: 2013-01-01, column: time_hour}}
retry: {max_attempts: 3, backoff: exponential}
owners: [team:air]
tags: {tier: gold}
""",
    )
    assert project.broken == ()
    job = project.jobs["flights"]
    assert job.source.files == ("data/flights/*.csv.gz",)
    assert job.incremental is not None and job.incremental.lookback_s == 86_400
    assert job.trigger is not None and job.trigger.files is not None and job.trigger.files.poll_s == 30
    assert job.partitions is not None and (job.partitions.kind, job.partitions.column) == ("daily", "time_hour")
    assert job.target.mode == "append"
    assert project.connection(job.source) == {"dsn": "${SHOP_DSN}"}
    assert project.jobs["airports"].target.path == "warehouse/airports"


def test_a_wrong_key_is_shown_with_the_nearest_one(make: Make) -> None:
    assert broken(make(flights="source:\n  reader: csv\n  filess: a.csv\ntarget: {writer: csv}\n")) == (
        "error[CONFIGURATION_ERROR]: unknown key `filess` in source\n"
        " --> jobs/flights.yaml:3:3\n"
        "  |\n"
        "3 |   filess: a.csv\n"
        "  |   ^^^^^^\n"
        "  = hint: did you mean `files`?"
    )


def test_three_mistakes_are_three_errors(make: Make) -> None:
    text = broken(make(j="source: {reader: csv, files: 3}\ntarget: {writer: csv, mode: apend}\nenabled: no\n"))
    assert text.count("error[CONFIGURATION_ERROR]") == 3
    assert "`source.files` must be a text or a list of texts\n --> jobs/j.yaml:1:30" in text
    assert "must be append, overwrite or merge, found the text 'apend'" in text and "did you mean `append`?" in text
    assert "`enabled` must be true or false, found the text 'no'\n --> jobs/j.yaml:3:10" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "jobs/j.yaml is empty"),
        ("- a\n", "a job must be a mapping"),
        ("target: {writer: csv}\n", "`source` is missing in the job"),
        ("source: {}\ntarget: {writer: csv}\n", "`reader` is missing in source"),
        ("source: {reader: csv}\n", "`target` is missing in the job"),
        (MINIMAL + "compression: zstd\n", "`compression` belongs under source.options or target.options"),
        (MINIMAL.replace("writer: csv", "writer: csv, compression: x"), "`compression` belongs under target.options"),
        (MINIMAL.replace("reader: csv", "reader: csv, delimiter: x"), "`delimiter` belongs under source.options"),
        (MINIMAL + "partition_by: [a]\n", "`partition_by` belongs under target"),
        (MINIMAL + "name: ../../etc/x\n", "'../../etc/x' is no job name"),
        (MINIMAL + "name: a/b\n", "'a/b' is no job name"),
        (MINIMAL + "name: ''\n", "'' is no job name"),
        (MINIMAL + 'name: "a\\0b"\n', "'a\\x00b' is no job name"),
        (MINIMAL + f"name: {'x' * 129}\n", "a job name of 129 characters"),
        (MINIMAL + "group: a b\n", "'a b' is no group"),
        (MINIMAL + "owners: [me]\n", "'me' is no owner"),
        (MINIMAL + "timeout: 5 parsecs\n", "`5 parsecs` is no duration"),
        (MINIMAL + "timeout: 0s\n", "`timeout`"),
        (MINIMAL + "trigger: {}\n", "a trigger takes exactly one of files, cron, on, probe; found none"),
        (MINIMAL + "trigger: {files: {}, cron: '* * * * *'}\n", "found `files` and `cron`"),
        (MINIMAL + "trigger: {cron: hourly}\n", "`hourly` is no cron expression"),
        (MINIMAL + "trigger: {cron: '@daily', timezone: Mars/Base}\n", "`Mars/Base` is no time zone"),
        (MINIMAL + "partitions: {daily: {start: yesterday}}\n", "`yesterday` is no date"),
        (MINIMAL + "partitions: {static: []}\n", "static.values"),
        (MINIMAL + "freshness: {cron: '@daily'}\n", "`cron` and `within` go together"),
        (MINIMAL + "freshness: 1s\n", "freshness.fail_after"),
        (MINIMAL + "retry: {max_attempts: 0}\n", "retry.max_attempts"),
        (MINIMAL + "contract: c.yaml\nschema: []\n", "a job takes `contract` or `schema`, not both"),
        (MINIMAL + "schema: [{name: a, type: strng}]\n", "unknown type `strng`"),
        (MINIMAL + "schema: [{name: a}, {name: a}]\n", "the column `a` is declared twice"),
        (MINIMAL + "schema: [{name: a, min: 3, max: 1}]\n", "`min` 3 is greater than `max` 1"),
        (MINIMAL + "schema: [{name: a, pattern: '['}]\n", "not a regular expression"),
        (MINIMAL.replace("writer: csv", "writer: csv, mode: merge"), "mode merge needs `keys`"),
        ("source: {reader: csv, incremental: {strategy: append}}\ntarget: {writer: csv}\n", "needs `cursor_field`"),
        (MINIMAL + "depends_on: [j]\n", "the job depends on itself"),
        (MINIMAL + "depends_on: [other]\n", "depends_on names no job: `other`"),
        (MINIMAL.replace("reader: csv", "reader: csv, connection: shop"), "no connection named `shop`"),
        ("source: {reader: csv, connection: 3}\ntarget: {writer: csv}\n", "the name of a connection"),
        ("source: {reader: csv, files: ['']}\ntarget: {writer: csv}\n", "must not be empty"),
        (MINIMAL + "tags: {a: 'b c'}\n", "'b c' is no value of a tag"),
        (MINIMAL + "metadata: {a: {b: 1}}\n", "must be one value"),
    ],
)
def test_a_job_that_can_not_work_is_broken_at_its_line(make: Make, text: str, said: str) -> None:
    shown = broken(make(j=text))
    assert said in shown
    assert "--> jobs/j.yaml" in shown


def test_a_wrong_value_under_a_secret_key_is_not_shown(make: Make) -> None:
    shown = broken(make(j=MINIMAL.replace("reader: csv", "reader: csv, credentials: {password: hunter2}, pasword: x")))
    assert (
        "hunter2" not in shown
        and "{password: ***    }, pasword: x}\n  |                                                         ^^^^^^^"
        in shown
    )


def test_one_broken_file_harms_itself_alone(make: Make) -> None:
    project = make(good=MINIMAL, bad="a: [", tab="source:\n\tx: 1\n", needs_bad=MINIMAL + "depends_on: [bad]\n")
    assert set(project.jobs) == {"good", "needs_bad"}
    assert [item.name for item in project.broken] == ["bad", "tab"]


def test_two_jobs_with_one_name_name_each_other(make: Make) -> None:
    project = make(a="name: same\n" + MINIMAL, b=MINIMAL + "name: same\n")
    assert project.jobs == {}
    first, second = (render(item.error) for item in project.broken)
    assert "two jobs are named `same`: the other is at jobs/b.yaml:3:1\n --> jobs/a.yaml:1:1" in first
    assert "two jobs are named `same`: the other is at jobs/a.yaml:1:1\n --> jobs/b.yaml:3:1" in second


def test_each_member_of_a_cycle_is_broken_and_shows_it(make: Make) -> None:
    project = make(
        a=MINIMAL + "depends_on: [b]\n",
        b=MINIMAL + "depends_on: [c, free]\n",
        c=MINIMAL + "depends_on: [a]\n",
        free=MINIMAL,
        after=MINIMAL + "depends_on: [a]\n",
    )
    assert set(project.jobs) == {"free", "after"}
    assert "depends_on goes round in a circle: a -> b -> c -> a" in broken(project, "a")
    assert "depends_on goes round in a circle: c -> a -> b -> c\n --> jobs/c.yaml:3:1" in broken(project, "c")


def test_a_long_chain_of_jobs_is_no_problem(make: Make) -> None:
    jobs = {f"j{n}": MINIMAL + f"depends_on: [j{n + 1}]\n" for n in range(1_200)}
    assert len(make(**jobs, j1200=MINIMAL).jobs) == 1_201


def test_a_dependency_on_another_code_location_is_no_job(make: Make) -> None:
    job = make(up=MINIMAL, j=MINIMAL + "depends_on: [up, external:orders, shop/items]\n").jobs["j"]
    assert job.upstream == ("up",)
    assert job.external_upstream == ("orders", "shop/items")


def test_a_dependency_on_nothing_shows_the_nearest_name(make: Make) -> None:
    text = broken(make(flights=MINIMAL, j=MINIMAL + "depends_on: [flihts]\n"))
    assert "jobs/j.yaml:3:14" in text and "did you mean `flights`?" in text


def test_a_job_wins_over_the_defaults_at_every_level(make: Make) -> None:
    project = make(
        "defaults:\n  group: all\n  trigger: {cron: '@daily'}\n  retry: {max_attempts: 9, delay: 5s}\n"
        "  target: {writer: parquet, path: 'w/{group}/{name}', options: {compression: zstd}}\n",
        a="source: {reader: csv}\nretry: {delay: 1m}\ntrigger: {on: upstream}\n",
        b="source: {reader: csv}\ngroup: mine\ntrigger:\ntarget: {writer: csv}\n",
    )
    a, b = project.jobs["a"], project.jobs["b"]
    assert (a.retry.max_attempts, a.retry.delay_s, a.group) == (9, 60, "all")
    assert a.trigger is not None and a.trigger.kind == "on"
    assert (a.target.path, a.target.options) == ("w/all/a", {"compression": "zstd"})
    assert (b.target.path, b.target.options, b.trigger) == ("w/mine/b", {}, None)
    assert str(a.location("target", "options", "compression")) == "dativo.yaml:5:65"


def test_a_mistake_in_the_defaults_is_the_projects(make: Make) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make("defaults:\n  target: {writer: parquet, pth: x}\n", a=MINIMAL)
    assert "unknown key `pth` in target\n --> dativo.yaml:2:29" in render(caught.value)
    with pytest.raises(ConfigurationError, match="unknown key `conections`"):
        make("conections: {}\n")


def test_what_a_job_can_mend_is_no_mistake_of_the_defaults(make: Make) -> None:
    assert make("defaults: {version: 2.10, target: {path: x}}\n", a=MINIMAL).jobs["a"].version == "2.10"
    with pytest.raises(ConfigurationError, match="'a b' is no group"):
        make("defaults: {group: a b}\n")


def test_a_key_left_empty_is_a_key_left_out(make: Make) -> None:
    job = make(j="description:\nsource:\n  reader: csv\n  options:\n    # a: 1\ntarget: {writer: csv}\n").jobs["j"]
    assert job.source.options == {} and job.description is None


def test_a_number_where_text_belongs_stays_as_written(make: Make) -> None:
    job = make(j=MINIMAL + "version: 1.10\ntags: {code: 007}\n").jobs["j"]
    assert (job.version, job.tags) == ("1.10", {"code": "007"})


@pytest.mark.parametrize(
    ("incremental", "keys", "mode"),
    [
        ("", "", "overwrite"),
        ("incremental: {strategy: full_refresh}", "", "overwrite"),
        ("incremental: {strategy: snapshot}", "", "overwrite"),
        ("incremental: {strategy: file_modified_time}", "", "append"),
        ("incremental: {strategy: updated_at, cursor_field: t}", "", "append"),
        ("incremental: {strategy: updated_at, cursor_field: t}", "keys: id", "merge"),
    ],
)
def test_a_job_run_twice_never_doubles_its_table_by_default(make: Make, incremental: str, keys: str, mode: str) -> None:
    job = make(j=f"source: {{reader: csv, {incremental}}}\ntarget: {{writer: csv, {keys}}}\n").jobs["j"]
    assert job.target.mode == mode


def test_the_primary_key_of_the_schema_serves_a_merge(make: Make) -> None:
    text = MINIMAL.replace("writer: csv", "writer: csv, mode: merge") + "schema: [{name: id, primary_key: true}]\n"
    assert make(j=text).jobs["j"].target.keys == ("id",)


def test_a_job_survives_its_own_dump_and_a_pickle(make: Make) -> None:
    job = make(j=MINIMAL + "freshness: 24h\nschema: [{name: a, type: int64}]\ntimeout: 5m\n").jobs["j"]
    assert JobConfig.model_validate(job.model_dump(by_alias=True)) == job
    twin = pickle.loads(pickle.dumps(job))
    assert twin == job and twin.path == job.path
    assert twin.location("freshness") == job.location("freshness") == Location("jobs/j.yaml", 3, 1, "freshness: 24h", 9)


def test_a_key_that_no_file_writes_is_found_at_what_encloses_it(make: Make) -> None:
    job = make(j=MINIMAL).jobs["j"]
    assert str(job.location("target", "options", "x")) == "jobs/j.yaml:2:1"
    assert str(job.location("retry")) == "jobs/j.yaml"


def test_a_job_is_found_by_name_or_by_file(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make(flights="name: nyc\n" + MINIMAL, bad="a: [")
    monkeypatch.chdir(tmp_path)
    assert load_job("nyc", project) is load_job("jobs/flights.yaml", project)
    (tmp_path / "elsewhere.yml").write_text(MINIMAL)
    assert load_job(tmp_path / "elsewhere.yml", project).name == "elsewhere"
    with pytest.raises(ConfigurationError, match="not valid YAML"):
        load_job("bad", project)
    with pytest.raises(ConfigurationError) as caught:
        load_job("nyk", project)
    assert caught.value.hint == "did you mean `nyc`?"
    with pytest.raises(ConfigurationError, match=r"no job file jobs/absent\.yaml"):
        load_job("jobs/absent.yaml", project)


def test_the_project_is_the_nearest_dativo_yaml_upwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATIVO_PROJECT", raising=False)
    deep = tmp_path / "project/jobs/deep"
    deep.mkdir(parents=True)
    (tmp_path / "project/dativo.yaml").write_text("")
    (deep / "j.yaml").write_text(MINIMAL)
    root = tmp_path / "project"
    assert find_project(deep) == find_project(deep / "j.yaml") == root
    assert find_project(tmp_path) == tmp_path
    monkeypatch.setenv("DATIVO_PROJECT", str(root))
    assert find_project(tmp_path) == root
    assert find_project(deep, explicit=tmp_path) == tmp_path
    monkeypatch.setenv("DATIVO_PROJECT", str(tmp_path / "absent"))
    with pytest.raises(ConfigurationError, match="DATIVO_PROJECT names no folder"):
        find_project(tmp_path)


def test_without_dativo_yaml_the_project_is_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATIVO_PROJECT", raising=False)
    (tmp_path / "here/jobs").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert find_project("jobs/j.yaml") == tmp_path / "here"
    assert find_project(tmp_path / "j.yaml") == tmp_path, "a job that is not below"


def test_a_folder_without_dativo_yaml_is_a_project_too(make: Make) -> None:
    project = make(j=MINIMAL)
    assert set(project.jobs) == {"j"} and project.name == project.root.name


_JOB: dict[str, Any] = {
    "name": "j",
    "depends_on": ["external:x"],
    "source": {
        "reader": "csv",
        "files": ["a"],
        "connection": {"a": 1},
        "options": {"a": 1},
        "incremental": {"strategy": "append", "cursor_field": "t", "lookback": "1d"},
    },
    "target": {"writer": "csv", "path": "w/{name}", "mode": "merge", "keys": ["id"], "partition_by": "d"},
    "schema": [{"name": "id", "type": "int64", "min": 1, "accepted_values": [1, 2], "pattern": "a"}],
    "trigger": {"cron": "0 * * * *", "timezone": "UTC"},
    "partitions": {"daily": {"start": "2013-01-01"}},
    "retry": {"max_attempts": 2, "delay": "1s"},
    "freshness": {"fail_after": "24h", "warn_after": "12h"},
    "owners": ["team:a"],
    "tags": {"a": "b"},
    "metadata": {"a": 1},
    "timeout": "5m",
    "retry_config": {"max_retries": 1},
    "source_connector_path": None,
    "tenant_id": "a",
}


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(inner for key, child in items for inner in _paths(child, (*path, key)))]


_KEYS = ["name", "type", "engine", "custom_reader", "files", "tables", "incremental", "options", "x", ""]
_ANY = st.recursive(
    st.sampled_from([None, True, 0, -1, 1.5, 10**30, "", "x", "../x", "a\0b", "${X}", "/app/x", "é" * 300]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(st.tuples(st.sampled_from(_paths(_JOB)), _ANY), min_size=1, max_size=3))
def test_any_job_loads_or_is_broken_with_its_file_named(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    value = copy.deepcopy(_JOB)
    for path, new in changes:
        holder: Any = {"": value}
        steps: tuple[Any, ...] = ("", *path)
        with contextlib.suppress(KeyError, IndexError, TypeError):
            for step in steps[:-1]:
                holder = holder[step]
            holder[steps[-1]] = new
            value = holder[""] if len(steps) == 1 else value
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "jobs").mkdir()
        (root / "jobs/j.yaml").write_text(json.dumps(value, ensure_ascii=False))
        project = load_project(root)
    assert len(project.jobs) + len(project.broken) == 1
    for item in project.broken:
        assert "jobs/j.yaml" in render(item.error)
    for job in project.jobs.values():
        assert JobConfig.model_validate(job.model_dump(by_alias=True)) == job


def test_loading_imports_nothing_heavy() -> None:
    code = "import sys, dativo_assets.config as c; c.load_project('.'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert {"dagster", "pyarrow", "polars", "duckdb", "pandas"}.isdisjoint(loaded.split())
