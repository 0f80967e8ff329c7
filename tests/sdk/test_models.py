"""What crosses the plugin boundary as control keeps its kinds, whoever writes it down."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from dativo_plugin_sdk import Commit, Incremental, SourceConfig, TargetConfig

COMMIT = Commit(job="j", seq=2, run_id="r", files=("a", "b"), cursor={"n": 1}, details={"table": {"rows": 1}})


def test_a_record_comes_back_from_json_as_it_was() -> None:
    assert Commit.model_validate_json(COMMIT.model_dump_json()) == COMMIT
    assert Commit.model_validate_json(COMMIT.model_dump_json(indent=1)) == COMMIT
    assert Commit.model_validate(COMMIT.model_dump(mode="json")) == COMMIT
    assert pickle.loads(pickle.dumps(COMMIT)) == COMMIT


@pytest.mark.parametrize(
    "change",
    [
        {"seq": "2"},
        {"seq": True},
        {"seq": None},
        {"job": 7},
        {"files": "a"},
        {"files": {"a": 1}},
        {"cursor": []},
        {"schema_text": []},
        {"details": None},
        {"colour": "red"},
    ],
)
def test_a_record_of_other_kinds_or_keys_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        Commit.model_validate({**COMMIT.model_dump(), **change})


@pytest.mark.parametrize("name", ["job", "seq", "run_id"])
def test_a_record_without_what_it_needs_is_refused(name: str) -> None:
    value = COMMIT.model_dump()
    del value[name]
    with pytest.raises(ValueError, match=name):
        Commit.model_validate(value)


def test_a_copy_changes_what_it_is_told_to_alone() -> None:
    assert COMMIT.model_copy(update={"seq": 3}) == Commit.model_validate({**COMMIT.model_dump(), "seq": 3})
    assert COMMIT.seq == 2


def test_lists_are_taken_for_tuples_and_secrets_stay_out_of_the_repr() -> None:
    source = SourceConfig(files=["a.csv"], credentials={"password": "hunter2"}, incremental=Incremental())  # type: ignore[arg-type]
    target = TargetConfig(keys=["id"], connection={"password": "hunter2"}, options={"token": "hunter2"})  # type: ignore[arg-type]
    assert (source.files, target.keys) == (("a.csv",), ("id",))
    assert "hunter2" not in repr((source, target))
    assert '"strategy":"full_refresh"' in source.model_dump_json()
