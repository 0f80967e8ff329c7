from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from dativo_plugin_sdk import ReadRequest, SchemaMismatchError, SourceConfig, Split, ValidationError
from hypothesis import given
from hypothesis import strategies as st

from dativo_assets.readers.json import JsonReader


def read(root: Path, name: str, *, request: ReadRequest | None = None, **options: Any) -> pa.Table:
    reader = JsonReader(SourceConfig(root=str(root), files=(name,), options=options, reader="json"))
    plan = reader.plan(request or ReadRequest())
    splits = [Split.from_dict(split.to_dict()) for split in plan.splits]
    return pa.Table.from_batches([batch for split in splits for batch in reader.read(split)], plan.schema)


ROWS = [{"a": 1, "b": {"c": [1, 2]}}, {"a": 2, "b": {"c": []}}]


@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        ("f.jsonl", "\n".join(map(json.dumps, ROWS)), {}),
        ("f.ndjson", "\r\n\r\n".join(map(json.dumps, ROWS)) + "\r\n", {}),
        ("f.json", json.dumps(ROWS), {}),
        ("f.json", "\ufeff" + json.dumps(ROWS, indent=2), {}),
        ("f.json", "\n".join(json.dumps(row, indent=2) for row in ROWS), {}),
        ("f.json", json.dumps({"n": [{"data": 1}], "data": {"x": "]", "items": ROWS}}), {"records_path": "data.items"}),
    ],
)
def test_every_shape_gives_the_same_rows(tmp_path: Path, name: str, text: str, options: dict[str, Any]) -> None:
    (tmp_path / name).write_text(text)
    assert read(tmp_path, name, **options).to_pylist() == ROWS
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    assert read(tmp_path, f"{name}.gz", **options).to_pylist() == ROWS


@pytest.mark.parametrize(
    ("name", "text", "place", "message"),
    [
        ("f.jsonl", '{"a": 1}\n{"a": }', (2, 7), "Expecting value"),
        ("f.jsonl", '{"a": 1}\n\n[1]\n', (3, 1), "found an array"),
        ("f.jsonl", '{"a": 1, "a": 2}\n', (1, 1), "'a' twice"),
        ("f.json", '[{"a": 1},\n {"a": }]', (2, 8), "Expecting value"),
        ("f.json", '[{"a": 1} {"a": 2}]', (1, 11), "expected ','"),
        ("f.json", '[{"a": 1}', (1, 10), "ends too early"),
        ("f.json", '[{"a": 1}] x', (1, 12), "end of the file"),
        ("f.json", "[1]", (1, 2), "found a number"),
        ("f.json", '[{"a": "x', (1, 8), "Unterminated string"),
        ("f.json", '[{"a": ' + "[" * 100_000, (1, 2), "nested too deeply"),
    ],
)
def test_a_malformed_file_names_line_and_column(
    tmp_path: Path, name: str, text: str, place: tuple[int, int], message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValidationError, match=message) as caught:
        read(tmp_path, name)
    assert (caught.value.details["line"], caught.value.details["column_number"]) == place


def test_bad_lines_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").write_text('{"a": 1}\nx\n[1]\n{"a": 2}\n')
    assert read(tmp_path, "f.jsonl", bad_lines="skip")["a"].to_pylist() == [1, 2]


def test_a_large_array_is_read_to_its_end_and_its_errors_are_placed(tmp_path: Path) -> None:
    rows = [{"a": index, "s": "ü" * 60} for index in range(20_000)]
    text = "[" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (tmp_path / "f.json").write_text(text + "]")
    assert read(tmp_path, "f.json")["a"].to_pylist() == list(range(20_000))
    (tmp_path / "f.json").write_text(text + ",\n{x")
    with pytest.raises(ValidationError) as caught:
        read(tmp_path, "f.json")
    assert (caught.value.details["line"], caught.value.details["column_number"]) == (20_001, 2)


def test_a_value_larger_than_any_chunk_is_read_up_to_the_limit(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text(json.dumps([{"a": "x" * 3_000_000}, {"a": "y"}]))
    assert len(read(tmp_path, "f.json")["a"][0].as_py()) == 3_000_000
    with pytest.raises(ValidationError, match="longer than"):
        read(tmp_path, "f.json", max_value_bytes=300_000)


def test_numbers_that_a_float_would_change_stay_text(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text('[{"a": 1e999, "b": 0.12345678901234567891, "c": 12345678901234567890123}]')
    assert read(tmp_path, "f.json").to_pylist() == [
        {"a": "1e999", "b": "0.12345678901234567891", "c": "12345678901234567890123"}
    ]


def test_half_a_surrogate_pair_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").write_text('{"a": "x"}\n{"a": "\\ud800"}\n')
    for sampled in (1, 10):
        with pytest.raises(ValidationError, match=r"'\\ud800', which is no character"):
            read(tmp_path, "f.jsonl", infer_rows=sampled)


def test_a_late_value_asks_for_a_wider_column(tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").write_text('{"a": 1}\n' * 50 + '{"a": 1.5}\n')
    with pytest.raises(SchemaMismatchError) as caught:
        read(tmp_path, "f.jsonl", infer_rows=10)
    assert caught.value.column == "a"
    request = ReadRequest(widen={"a": caught.value.widen_to})
    assert read(tmp_path, "f.jsonl", request=request, infer_rows=10)["a"][50].as_py() == 1.5


def test_projection_and_limit(tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").write_text('{"a": 1, "b": 2}\n{"b": 3}\n')
    assert read(tmp_path, "f.jsonl", request=ReadRequest(columns=("b",), limit=1)).to_pylist() == [{"b": 2}]
    with pytest.raises(ValidationError, match="'z'"):
        read(tmp_path, "f.jsonl", request=ReadRequest(columns=("z",)))


def test_a_file_without_rows_needs_a_contract(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text("[]")
    with pytest.raises(ValidationError, match="no rows"):
        read(tmp_path, "f.json")
    declared = pa.schema({"a": pa.int64()})
    assert read(tmp_path, "f.json", request=ReadRequest(schema=declared)).schema == declared


@given(
    rows=st.lists(st.fixed_dictionaries({"a": st.text(max_size=9), "n": st.integers(-9, 9)}), min_size=1, max_size=20)
)
def test_what_python_writes_is_read_back(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> None:
    root = tmp_path_factory.mktemp("json")
    for ascii_only in (True, False):
        (root / "f.json").write_text(json.dumps(rows, ensure_ascii=ascii_only), encoding="utf-8", errors="replace")
        assert read(root, "f.json").to_pylist() == rows


@given(content=st.text(st.sampled_from('{}[]",:a1 \n'), max_size=30))
def test_any_text_gives_a_table_or_a_typed_error(tmp_path_factory: pytest.TempPathFactory, content: str) -> None:
    root = tmp_path_factory.mktemp("json")
    for name in ("f.json", "f.jsonl"):
        (root / name).write_text(content)
        try:
            read(root, name)
        except ValidationError as error:
            assert error.details
