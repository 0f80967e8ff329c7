"""The export macro, driven through a toy plugin: panics, cancellation, threads."""

from __future__ import annotations

import importlib.util
import json
import logging
import threading
import time
from typing import Any

import pyarrow as pa
import pytest
from dativo_plugin_sdk import CancelledError, PluginError, ReadRequest, SourceConfig
from dativo_plugin_sdk.arrow import batches_of
from dativo_plugin_sdk.native import NativeReader

from tests.native.toy import build

# The first test may have to build the toy.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Any:
    module = build("python", tmp_path_factory.mktemp("toy") / "toy_plugin.abi3.so")
    spec = importlib.util.spec_from_file_location("toy_plugin", module)
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded.Reader


def counter(toy: Any, **options: Any) -> NativeReader:
    return NativeReader(SourceConfig(reader="counter", options=options), toy)


def numbers(reader: NativeReader) -> list[int]:
    plan = reader.plan(ReadRequest())
    return [n for split in plan.splits for batch in batches_of(reader.read(split)) for n in batch[0].to_pylist()]


def test_the_toy_counts(toy: Any) -> None:
    reader = counter(toy, to=25)
    assert numbers(reader) == list(range(25))
    assert reader.check_connection().success
    assert reader.discover().objects == [{"name": "numbers"}]


def test_a_panic_in_a_stream_is_an_error_that_names_the_plugin(toy: Any) -> None:
    with pytest.raises(PluginError, match="plugin counter panicked: lost count at 10") as caught:
        numbers(counter(toy, to=25, panic_at=12))
    assert caught.value.error_code == "PLUGIN_PANIC"
    assert caught.value.details["plugin"] == "counter"


def test_cancel_from_another_thread_stops_a_stream(toy: Any) -> None:
    reader = counter(toy, to=10, pause_ms=50)
    batches = batches_of(reader.read(reader.plan(ReadRequest()).splits[0]))
    next(batches)
    thread = threading.Thread(target=reader.cancel)
    thread.start()
    thread.join()
    with pytest.raises(CancelledError):
        next(batches)


def test_python_runs_while_a_plugin_works(toy: Any) -> None:
    reader = counter(toy, to=3, pause_ms=1000)
    split = reader.plan(ReadRequest()).splits[0]
    thread = threading.Thread(target=lambda: list(batches_of(reader.read(split))))
    thread.start()
    turns = 0
    while thread.is_alive():
        time.sleep(0.01)
        turns += 1
    assert turns > 20


def test_a_bad_option_and_a_bad_split_are_errors_of_the_tree(toy: Any) -> None:
    with pytest.raises(Exception, match="must be a number"):
        counter(toy)
    native = toy(json.dumps({"options": {"to": 3}}))
    for split in ("{", '{"id": "x", "payload": {}}'):
        with pytest.raises(RuntimeError, match="dativo_error"):
            native.read(split)


def test_what_a_plugin_logs_is_in_pythons_log_without_secrets(
    toy: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("dativo"), "propagate", True)
    with caplog.at_level(logging.DEBUG, "dativo.plugin.counter"):
        NativeReader(SourceConfig(options={"to": 3}, credentials={"login": "hush-user"}), toy)
    (record,) = [record for record in caplog.records if record.name == "dativo.plugin.counter"]
    assert (record.levelname, record.getMessage()) == ("DEBUG", 'counts to 3, Some(String("***"))')


def test_an_object_without_a_schema_is_refused(toy: Any) -> None:
    native = toy(json.dumps({"options": {"to": 3}}))
    with pytest.raises(AttributeError):
        native.plan("{}", object())
    plan, schema = native.plan("{}", pa.schema([]))
    assert pa.schema(schema).names == ["n"]
    assert json.loads(plan)["notes"] == []
