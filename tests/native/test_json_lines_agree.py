"""Lines of JSON read natively and by Python alone: the same rows, the same types, or the same error at the same place."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from dativo_plugin_sdk import DativoError, ReadRequest, SourceConfig, Split, TransientError
from hypothesis import example, given
from hypothesis import strategies as st

from dativo_assets.readers import _json_native
from dativo_assets.readers import json as json_reader
from dativo_assets.readers.json import JsonReader

WORDS = (
    "0 -0 1 -1 123456789012345678 9223372036854775807 9223372036854775808 -9223372036854775809 9007199254740993 01 1. .5 1.0 "
    "-0.0 2.5e3 1E-7 1e999 0.1234567890123456789 12345678901234567.0 0.10000000000000001 NaN -Infinity true false null nul "
    '"" "x" "1" "true" "é" "\\u00e9" "\\ud83e\\udd80" "\\ud800" "\\udd80x" "a\\n\\"b\\"" "\\x" "\\u12" "open '
)
SCALARS = [*WORDS.split(), '"two words, long enough for eight bytes"', '"\x01"', '"\ttab"']
PLAIN = st.sampled_from(["1", "2", "-3", "null", "null"])
TEXTS = st.sampled_from(['"a"', '"bc"', '"é\\n"', "null"])
ANY = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(st.tuples(st.sampled_from("xyz"), inner), max_size=3).map(
            lambda pairs: "{" + ",".join(f'"{key}": {value}' for key, value in pairs) + "}"
        ),
    ),
    max_leaves=4,
)
LISTS = st.lists(PLAIN, max_size=3).map(lambda items: f"[{','.join(items)}]")
STRUCTS = st.builds(lambda x, y: f'{{"x": {x}, "y":{y}}}', PLAIN, TEXTS)
OBJECTS = st.one_of(
    st.builds(lambda a, b, c: f'{{"a": {a}, "b":{b} , "c": {c}}}', PLAIN, TEXTS, st.one_of(LISTS, STRUCTS)),
    st.lists(st.tuples(st.sampled_from(["a", "b", "c", "d", "\\u0061"]), ANY), max_size=4).map(
        lambda pairs: "{" + ", ".join(f'"{key}":{value}' for key, value in pairs) + "}"
    ),
    st.sampled_from(["", " ", "[]", "1", "{", "{} {}", '{"a" 1}', '{"a": 1,}', "\ufeff{}"]),
)
ENDS = st.sampled_from(["\n", "\n", "\r\n", "\r", "\n\n", " \n\t"])


def outcome(path: Path, options: dict[str, Any], request: ReadRequest, native: bool, small: int = 0) -> Any:
    """Rows, types and notes; or what the error says. small: bytes of a block and of a split."""
    reader = JsonReader(SourceConfig(reader="jsonl", root=str(path.parent), files=(path.name,), options=options))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_BLOCK_BYTES", "_LEAST_BYTES", "_MOST_BYTES") if small else ():
            patch.setattr(_json_native, name, small)
        if not native:
            patch.setattr(json_reader, "native_lines", lambda *_: None)
            patch.setattr(json_reader, "is_native", lambda: False)
        try:
            plan = reader.plan(request)
            splits = [Split.from_dict(split.to_dict()) for split in plan.splits]
            table = pa.Table.from_batches([batch for split in splits for batch in reader.read(split)], plan.schema)
        except DativoError as error:
            return type(error), error.message, error.details
        return table.schema, repr(table.to_pylist())


@given(
    st.lists(st.tuples(OBJECTS, ENDS), max_size=12),
    st.sampled_from([None, ("a",), ("b", "c")]),
    st.sampled_from(["error", "skip"]),
    st.integers(1, 8),
    st.sampled_from([1, 7, 40, 1000]),
)
@example([('{"a": 1, "b": 2}', "\n"), ('{"a": 1, "b": {"x": 1, "x": 2}}', "\n")], ("a",), "error", 1, 1)
@example([('{"a": 1}', "\n"), ('{"a": 2}', "\n"), ('{"a": 2, "d": 1}', "\n"), ("{}", "\n")], None, "error", 1, 7)
@example([('{"a": 1.5}', "\n"), ('{"a": 2}', "\n"), ('{"a": 9007199254740993}', "")], None, "error", 1, 1000)
@example([("{}", "\r"), ("{}", "\n"), ("\ufeff{}", "\n"), ("x", "\n")], None, "error", 1, 1)
@example(
    [('{"a": "x"}', "\n"), ('{"a": 12}', "\n"), ('{"a": -0}', "\n"), ('{"a": 1.50}', "\n")], None, "error", 1, 1000
)
def test_any_lines(
    lines: list[tuple[str, str]], columns: tuple[str, ...] | None, bad_lines: str, infer_rows: int, small: int
) -> None:
    options = {"bad_lines": bad_lines, "infer_rows": infer_rows}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl"
        path.write_text("".join(line + end for line, end in lines), encoding="utf-8", newline="")
        for widen in ({}, {"a": "string", "c": "string"}):
            request = ReadRequest(columns=columns, widen=widen)
            wanted = outcome(path, options, request, native=False)
            assert outcome(path, options, request, native=True) == wanted
            found = outcome(path, options, request, native=True, small=small)
            if any(len(told) == 3 and "rows" in told[2] for told in (wanted, found)):
                # Which fault is met first, and how wide a column must be, hangs on the rows that are looked at together.
                assert len(found) == len(wanted)
            else:
                assert found == wanted


def write(path: Path, rows: int) -> list[dict[str, Any]]:
    made = [{"id": n, "name": f"name {n}", "tags": [n, None], "at": {"x": n / 2}} for n in range(rows)]
    text = "".join(json.dumps(row) + "\n" for row in made).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return made


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_plain_lines_need_no_python_and_a_large_file_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    made = write(tmp_path / name, 3000)
    monkeypatch.setattr(_json_native, "_LEAST_BYTES", 10_000)
    monkeypatch.setattr(JsonReader, "_by_python", None)
    reader = JsonReader(SourceConfig(reader="jsonl", root=str(tmp_path), files=(name,)))
    plan = reader.plan(ReadRequest(parallelism=2))
    assert (len(plan.splits) > 10) == (name == "a.jsonl")
    assert [row for split in plan.splits for batch in reader.read(split) for row in batch.to_pylist()] == made


def test_a_file_that_shrinks_after_the_plan_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    write(path, 3000)
    monkeypatch.setattr(_json_native, "_LEAST_BYTES", 10_000)
    reader = JsonReader(SourceConfig(reader="jsonl", root=str(tmp_path), files=(path.name,)))
    plan = reader.plan(ReadRequest(parallelism=2))
    path.write_bytes(path.read_bytes()[:50_000])
    beyond = next(split for split in plan.splits if split.payload["part"][1] > 50_000)
    with pytest.raises(TransientError) as caught:
        list(reader.read(beyond))
    assert caught.value.error_code == "FILE_CHANGED"
    assert (caught.value.details["file"], caught.value.details["byte"]) == (str(path), 50_000)
