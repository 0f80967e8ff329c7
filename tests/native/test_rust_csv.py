"""`rust_csv` as Python sees it: discovery, plans, streams, errors."""

from __future__ import annotations

import json
import pickle
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from dativo_plugin_sdk import (
    API_VERSION,
    CancelledError,
    ConfigurationError,
    ReadRequest,
    SchemaMismatchError,
    SourceConfig,
    Split,
    ValidationError,
)
from dativo_plugin_sdk.arrow import batches_of, schema_text
from dativo_plugin_sdk.options import CsvOptions
from dativo_rust_csv import RustCsvReader
from dativo_rust_csv._native import Reader


def make(folder: Path, *files: str, **options: Any) -> RustCsvReader:
    config = SourceConfig(job="j", reader="rust_csv", root=str(folder), files=files or ("*.csv",), options=options)
    return RustCsvReader(config)


def read(reader: RustCsvReader, request: ReadRequest | None = None) -> pa.Table:
    plan = reader.plan(request or ReadRequest())
    schema = pa.schema(plan.schema)
    return pa.Table.from_batches([b for split in plan.splits for b in batches_of(reader.read(split))], schema)


def test_it_is_found_by_its_entry_point() -> None:
    (found,) = entry_points(group="dativo.readers", name="rust_csv")
    assert found.load() is RustCsvReader


def test_it_says_what_it_is() -> None:
    about = json.loads(Reader.describe())
    assert (about["kind"], about["name"], about["language"]) == ("reader", "rust_csv", "rust")
    assert about["api_version"] == API_VERSION
    assert set(about["options_schema"]["properties"]) == set(CsvOptions.model_fields)


def test_both_sides_have_the_same_defaults(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,\n")
    stated = Reader(json.dumps({"files": [str(tmp_path / "a.csv")], "options": CsvOptions().model_dump(mode="json")}))
    implied = Reader(json.dumps({"files": [str(tmp_path / "a.csv")]}))
    assert stated.plan("{}", None)[0] == implied.plan("{}", None)[0]


def test_a_table_reads_as_polars_reads_it(tmp_path: Path) -> None:
    wanted = pl.DataFrame(
        {
            "i": [1, None, -3] * 1000,
            "f": [1.5, 2.25, None] * 1000,
            "b": [True, False, None] * 1000,
            "s": ["x", 'quoted "y", and\nmore', "é€"] * 1000,
        }
    )
    wanted.write_csv(tmp_path / "a.csv")
    assert pl.DataFrame(read(make(tmp_path))).equals(wanted)


def test_a_plan_names_splits_schema_and_what_it_applied(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a;b\n1;x\n")
    schema = pa.schema([("a", pa.int16())])
    plan = make(tmp_path).plan(ReadRequest(schema=schema))
    assert schema_text(plan.schema) == {"a": "int16", "b": "string"}
    assert plan.applied == {"columns", "limit", "schema"}
    assert any("';'" in note for note in plan.notes)


def test_a_split_is_read_by_another_reader_of_the_same_config(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,x\n2,y\n")
    reader = make(tmp_path)
    (split,) = reader.plan(ReadRequest()).splits
    split = Split.from_dict(pickle.loads(pickle.dumps(json.loads(json.dumps(split.to_dict())))))
    config = json.dumps({"files": [], "options": reader.options.model_dump(mode="json")})
    table = pa.table(Reader(config).read(json.dumps(split.to_dict())))
    assert table.to_pydict() == {"a": [1, 2], "b": ["x", "y"]}


def test_a_stream_is_good_for_one_pass(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    reader = make(tmp_path)
    stream = reader.read(reader.plan(ReadRequest()).splits[0])
    assert pa.schema(stream.schema) == pa.schema([("a", pa.int64())])
    assert pa.table(stream).num_rows == 1
    with pytest.raises(RuntimeError, match="consumed already"):
        pa.table(stream)


def test_a_late_value_is_an_error_that_the_pipeline_can_act_on(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n" + "1\n" * 100 + "2.5\n")
    reader = make(tmp_path, infer_rows=10)
    with pytest.raises(SchemaMismatchError) as caught:
        read(reader)
    assert (caught.value.column, caught.value.widen_to) == ("a", "double")
    assert caught.value.details["row"] == 101
    table = read(reader, ReadRequest(widen={"a": "double"}))
    assert table.schema.field("a").type == pa.float64()


def test_errors_keep_their_class_hint_and_place(tmp_path: Path) -> None:
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n3\n")
    with pytest.raises(ValidationError) as caught:
        read(make(tmp_path, "ragged.csv"))
    assert caught.value.details["line"] == 3
    assert caught.value.details["file"].endswith("ragged.csv")
    assert caught.value.hint and "bad_lines" in caught.value.hint
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(ValidationError, match="empty file, no header"):
        read(make(tmp_path, "empty.csv"))
    with pytest.raises(RuntimeError) as raw:
        Reader('{"options": {"delimeter": ","}}')
    assert "delimeter" in str(raw.value)
    with pytest.raises(ConfigurationError):
        read(make(tmp_path, "ragged.csv", encoding="klingon"))


def test_rows_left_out_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n3\n4,5\n")
    reader = make(tmp_path, bad_lines="skip")
    stream = reader.read(reader.plan(ReadRequest()).splits[0])
    assert pa.table(stream).num_rows == 2
    assert json.loads(stream.metrics) == {"bad_rows": 1}


def test_cancel_stops_a_stream(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n" + "1\n" * 500_000)
    reader = make(tmp_path)
    plan = reader.plan(ReadRequest(batch_bytes=1))
    batches = batches_of(reader.read(plan.splits[0]))
    next(batches)
    reader.cancel()
    with pytest.raises(CancelledError):
        next(batches)


def test_too_few_names_are_told_by_the_key_that_gives_them(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2\n")
    with pytest.raises(ConfigurationError, match=r"^options\.column_names has 1 names, but .* has 2 columns"):
        make(tmp_path, header=False, column_names=["a"]).plan(ReadRequest())
