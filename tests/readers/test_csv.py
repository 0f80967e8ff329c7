from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import os
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from dativo_plugin_sdk import (
    ConfigurationError,
    ConnectionError,
    ReadRequest,
    SchemaMismatchError,
    SourceConfig,
    Split,
    TransientError,
    ValidationError,
)
from hypothesis import given
from hypothesis import strategies as st

from dativo_assets.readers._dialect import Dialect
from dativo_assets.readers._text import TextInput
from dativo_assets.readers.csv import CsvReader


def read(tmp_path: Path, *contents: bytes, request: ReadRequest | None = None, **options: Any) -> pa.Table:
    names = tuple(f"f{index}.csv" for index in range(len(contents)))
    for name, content in zip(names, contents, strict=True):
        (tmp_path / name).write_bytes(content)
    return read_files(tmp_path, *names, request=request, **options)


def read_files(root: Path, *names: str, request: ReadRequest | None = None, **options: Any) -> pa.Table:
    reader = CsvReader(SourceConfig(root=str(root), files=names, options=options, reader="csv"))
    plan = reader.plan(request or ReadRequest())
    splits = [Split.from_dict(split.to_dict()) for split in plan.splits]
    return pa.Table.from_batches([batch for split in splits for batch in reader.read(split)], plan.schema)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["1", "-20", "0", "123456789012345678"], "int64"),
        (["1", "007"], "string"),
        (["+1"], "string"),
        (["1234567890123456789"], "string"),
        (["1.5", "-2e10", "7"], "double"),
        (["nan", "INF", "-Infinity"], "double"),
        (["1.5", "123456789012345678"], "string"),
        (["0.12345678901234567"], "double"),
        (["0.123456789012345678"], "string"),
        (["1e999"], "string"),
        (["1e-999"], "string"),
        (["0e-999"], "double"),
        (["true", "FALSE"], "bool"),
        (["true", "1"], "string"),
        (["2013-01-31"], "date32[day]"),
        (["2013-02-30"], "string"),
        (["2013-01-31", "2013-01-31 00:00:00"], "string"),
        (["2013-01-31 01:02:03", "2013-01-31T01:02:03.5"], "timestamp[us]"),
        (["2013-01-31 01:02:03.1234567"], "timestamp[ns]"),
        (["2013-01-31 25:02:03"], "string"),
        (["2013-01-31T01:02:03Z", "2013-01-31 01:02:03+01:30", "2013-01-31 01:02:03-0130"], "timestamp[us, tz=UTC]"),
        (["2013-01-31T01:02:03Z", "2013-01-31T01:02:03"], "string"),
        (["0000-01-01"], "string"),
        (["", ""], "string"),
        (["NA", "1"], "string"),
    ],
)
def test_types_are_inferred_conservatively(tmp_path: Path, texts: list[str], expected: str) -> None:
    rows = "".join(f"{text},x\n" for text in texts)
    assert str(read(tmp_path, f"v,w\n{rows}".encode()).schema.field("v").type) == expected


def test_null_is_unquoted_and_an_empty_string_is_quoted(tmp_path: Path) -> None:
    table = read(tmp_path, b'a,b\n,""\nNA,"NA"\nx,y\n', null_values=["", "NA"])
    assert table.to_pydict() == {"a": [None, None, "x"], "b": ["", "NA", "y"]}


def test_all_files_share_one_schema_whatever_their_order_of_columns(tmp_path: Path) -> None:
    table = read(tmp_path, b"a,b\n1,x\n", b"b,a\ny,1.5\n")
    assert table.schema == pa.schema({"a": pa.float64(), "b": pa.string()})
    assert table.to_pydict() == {"a": [1.0, 1.5], "b": ["x", "y"]}


@pytest.mark.parametrize(("late", "widen_to"), [(b"1.5", "double"), (b"x", "string"), (b'""', "string")])
def test_a_late_value_that_does_not_fit_asks_for_a_wider_column(tmp_path: Path, late: bytes, widen_to: str) -> None:
    content = b"a,b\n" + b"1,2\n" * 500 + late + b",2\n"
    with pytest.raises(SchemaMismatchError) as caught:
        read(tmp_path, content, infer_rows=10)
    assert (caught.value.column, caught.value.widen_to, caught.value.details["row"]) == ("a", widen_to, 501)
    table = read(tmp_path, content, request=ReadRequest(widen={"a": widen_to}), infer_rows=10)
    assert table.num_rows == 501


def test_contract_types_are_emitted_where_every_value_fits(tmp_path: Path) -> None:
    types = {
        "i": pa.int16(),
        "d": pa.decimal128(6, 2),
        "t": pa.time64("us"),
        "s": pa.timestamp("ms"),
        "z": pa.timestamp("us", "Europe/Paris"),
        "f": pa.float32(),
        "l": pa.large_string(),
        "n": pa.list_(pa.int64()),
    }
    row = b"-5,12.50,10:11:12.5,2020-01-01T00:00:00.125,2020-01-01T00:00:00Z,0.1,x,[1]\n"
    table = read(tmp_path, b"i,d,t,s,z,f,l,n\n" + row, request=ReadRequest(schema=pa.schema(types)))
    assert table.schema == pa.schema({**types, "n": pa.string()})
    assert str(table["d"][0]) == "12.50"
    assert str(table["t"][0]) == "10:11:12.500000"


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (pa.int8(), "128"),
        (pa.uint8(), "-1"),
        (pa.int64(), "9223372036854775808"),
        (pa.int64(), "01"),
        (pa.decimal128(4, 1), "1.25"),
        (pa.decimal128(4, 1), "1e1"),
        (pa.float32(), "1e39"),
        (pa.float32(), "0.1234567891"),
        (pa.timestamp("s"), "2020-01-01T00:00:00.5"),
        (pa.timestamp("us"), "2020-01-01"),
        (pa.date32(), "2020-1-1"),
        (pa.bool_(), "yes"),
    ],
)
def test_a_value_outside_its_contract_type_is_left_to_the_contract(
    tmp_path: Path, wanted: pa.DataType, text: str
) -> None:
    with pytest.raises(SchemaMismatchError) as caught:
        read(tmp_path, f"v,w\n{text},1\n".encode(), request=ReadRequest(schema=pa.schema({"v": wanted})))
    assert caught.value.widen_to == "string"


def test_projection_and_limit(tmp_path: Path) -> None:
    table = read(tmp_path, b"a,b,c\n1,2,3\n4,5,6\n", request=ReadRequest(columns=("c", "a"), limit=1))
    assert table.to_pydict() == {"c": [3], "a": [1]}
    with pytest.raises(ValidationError, match="no column 'z'"):
        read(tmp_path, b"a\n1\n", request=ReadRequest(columns=("z",)))


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("bom", [b"\xef\xbb\xbf", b""])
def test_line_ends_boms_and_blank_lines(tmp_path: Path, end: bytes, last: bool, bom: bytes) -> None:
    rows = [b"a,b", b"", b'1,"x' + end + b'y"', b"", b"2,z"]
    content = bom + end.join(rows) + (end if last else b"")
    assert read(tmp_path, content).to_pydict() == {"a": [1, 2], "b": [f"x{end.decode()}y", "z"]}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1", "windows-1252", "utf-8-sig"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    content = "a,b\n1,é\n".encode(encoding)
    assert read(tmp_path, content, encoding=encoding)["b"].to_pylist() == ["é"]


@pytest.mark.parametrize("cut", range(0, 40, 3))
def test_a_character_at_any_edge_of_a_chunk_is_read(tmp_path: Path, cut: int) -> None:
    content = b"a,b\n1," + b"x" * ((1 << 18) - 20 + cut) + "é€😀".encode() * 5 + b"\n"
    assert read(tmp_path, content)["b"].to_pylist() == [content[6:-1].decode()]


def test_invalid_utf8_names_the_byte(tmp_path: Path) -> None:
    content = b"a,b\n" + b"1,x\n" * 100_000 + b"1,\xff\n"
    with pytest.raises(ValidationError, match="not utf-8") as caught:
        read(tmp_path, content)
    assert caught.value.details["byte"] == content.index(b"\xff")


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zst", "zip"])
def test_compressed_files(tmp_path: Path, kind: str) -> None:
    content = b"a,b\n" + b"1,x\n" * 1000
    path = tmp_path / f"f.csv.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("f.csv", content)
    else:
        pack = {
            "gz": gzip.compress,
            "bz2": bz2.compress,
            "xz": lzma.compress,
            "zst": lambda raw: pa.Codec("zstd").compress(raw, asbytes=True),
        }
        path.write_bytes(pack[kind](content))
    assert read_files(tmp_path, path.name).num_rows == 1000
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValidationError, match=r"truncated or corrupt|no zip archive"):
        read_files(tmp_path, path.name)


def test_an_empty_file_is_an_error_unless_its_columns_are_known(tmp_path: Path) -> None:
    for content in (b"", b"\n\n", b"\xef\xbb\xbf"):
        with pytest.raises(ValidationError, match="is empty"):
            read(tmp_path, content)
    assert read(tmp_path, b"", column_names=["a"]).schema.names == ["a"]
    declared = pa.schema({"a": pa.int64()})
    assert read(tmp_path, b"", request=ReadRequest(schema=declared)).schema == declared
    assert read(tmp_path, b"", b"a,b\n1,2\n").num_rows == 1


def test_a_header_alone_is_a_table_without_rows(tmp_path: Path) -> None:
    table = read(tmp_path, b"a,b\n", request=ReadRequest(schema=pa.schema({"a": pa.int64()})))
    assert (table.num_rows, table.schema) == (0, pa.schema({"a": pa.int64(), "b": pa.string()}))


def test_files_without_a_header(tmp_path: Path) -> None:
    assert read(tmp_path, b"1,x\n", header=False).schema.names == ["column_1", "column_2"]
    assert read(tmp_path, b"1,x\n", header=False, column_names=["p", "q"]).to_pydict() == {"p": [1], "q": ["x"]}
    assert read(tmp_path, b"a,b\n1,x\n", column_names=["p", "q"]).to_pydict() == {"p": [1], "q": ["x"]}
    with pytest.raises(ValidationError, match="2 columns"):
        read(tmp_path, b"a,b\n1,x\n", column_names=["p"])


def test_files_of_different_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"f1\.csv has other columns than .*f0\.csv: it lacks 'b' and adds 'c'"):
        read(tmp_path, b"a,b\n1,2\n", b"a,c\n1,2\n")


@pytest.mark.parametrize(
    ("header", "message"), [(b"a,a", "both named 'a'"), (b"a,", "column 2 has no name"), (b"a\0,b", "NUL bytes")]
)
def test_bad_column_names(tmp_path: Path, header: bytes, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        read(tmp_path, header + b"\n1,2\n")


@pytest.mark.parametrize("quote", ['"', None])
@pytest.mark.parametrize("comment", [None, "#"])
@pytest.mark.parametrize(("bad", "found"), [(b"1", 1), (b"1,2,3", 3)])
def test_a_ragged_row_is_named(tmp_path: Path, quote: str | None, comment: str | None, bad: bytes, found: int) -> None:
    content = b"a,b\n" + b"1,2\n\n" * 3000 + bad + b"\n3,4\n"
    with pytest.raises(ValidationError, match=f"{found} fields, expected 2") as caught:
        read(tmp_path, content, quote_char=quote, comment=comment)
    details = {key: caught.value.details[key] for key in ("line", "row", "expected", "found")}
    assert details == {"line": 6002, "row": 3001, "expected": 2, "found": found}
    options = {"bad_lines": "skip", "quote_char": quote, "comment": comment}
    assert read(tmp_path, content, **options).num_rows == 3001


@pytest.mark.parametrize("comment", [None, "#"])
@pytest.mark.parametrize(
    "content", [b'a,b\n1,2\n\n3,"x\n4,5\n', b'a,b\n5" x,2\n6" x,3\n3,"x', b'a,b\n1,2\n5" x,"x\n6,7\n']
)
def test_a_quote_never_closed_says_where_it_opened(tmp_path: Path, content: bytes, comment: str | None) -> None:
    opened = content.count(b"\n", 0, content.rindex(b',"x')) + 1
    with pytest.raises(ValidationError, match="a quote opens here") as caught:
        read(tmp_path, content, comment=comment)
    assert caught.value.details["line"] == opened


def test_quotes_inside_unquoted_values_are_ordinary(tmp_path: Path) -> None:
    assert read(tmp_path, b'a,b\n5" pipe,x\n')["a"].to_pylist() == ['5" pipe']


def test_a_field_larger_than_any_block_is_read(tmp_path: Path) -> None:
    big = b"x" * 9_000_000 + b"\n" + b'y,""' * 1_000_000
    content = b"a,b\n" + b"1,2\n" * 1000 + b'1,"' + big + b'"\n' + b"3,4\n" * 1000
    table = read(tmp_path, content, request=ReadRequest(widen={"b": "string"}, batch_bytes=1 << 16))
    assert table.num_rows == 2001
    assert table["b"][1000].as_py() == big.decode().replace('""', '"')
    with pytest.raises(ValidationError, match=r"field longer than|not closed within"):
        read(tmp_path, content, request=ReadRequest(widen={"b": "string"}), max_field_bytes=1_000_000)


@pytest.mark.parametrize("batch_bytes", [1, 5000, 1 << 20])
def test_batches_of_any_size_give_the_same_table(tmp_path: Path, batch_bytes: int) -> None:
    content = b"a,b\n" + b"".join(b'%d,"x\r\n""%d"\r\n' % (index, index) for index in range(3000))
    table = read(tmp_path, content, request=ReadRequest(batch_bytes=batch_bytes))
    assert table["a"].to_pylist() == list(range(3000))
    assert table["b"][2999].as_py() == 'x\r\n"2999'


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_detected_and_noted(tmp_path: Path, delimiter: str) -> None:
    (tmp_path / "f.csv").write_text(delimiter.join("ab") + "\n" + delimiter.join(["1 5", '"a,b;c|d"']) + "\n")
    reader = CsvReader(SourceConfig(root=str(tmp_path), files=("f.csv",), reader="csv"))
    plan = reader.plan(ReadRequest())
    assert plan.schema.names == ["a", "b"]
    assert f"detected: delimiter {delimiter!r}" in plan.notes


def test_comments_skipped_lines_trim_and_escapes(tmp_path: Path) -> None:
    content = b'title\n# c\na , b\n# 1,2\n 1 , x \n2,"q\\"# y"\n\\N," z "\n'
    options: dict[str, Any] = {
        "comment": "#",
        "skip_rows": 1,
        "trim": True,
        "escape_char": "\\",
        "null_values": ["\\N"],
    }
    table = read(tmp_path, content, **options)
    assert table.to_pydict() == {"a": [1, 2, None], "b": ["x", 'q"# y', " z "]}


def test_nul_bytes_in_values_survive(tmp_path: Path) -> None:
    assert read(tmp_path, b"a,b\nx\0y,1\n")["a"].to_pylist() == ["x\0y"]


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(b"a,b\n1,2\n")
    reader = CsvReader(SourceConfig(root=str(tmp_path), files=("f.csv",), reader="csv"))
    plan = reader.plan(ReadRequest())
    with path.open("ab") as file:
        file.write(b"3,4\n")
    with pytest.raises(TransientError, match="changed while it was read"):
        list(reader.read(plan.splits[0]))


def test_a_file_that_vanishes_or_is_unknown_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        read_files(tmp_path, "nope.csv")
    (tmp_path / "f.csv").write_bytes(b"a,b\n1,2\n")
    reader = CsvReader(SourceConfig(root=str(tmp_path), files=("f.csv",), reader="csv"))
    plan = reader.plan(ReadRequest())
    os.unlink(tmp_path / "f.csv")
    with pytest.raises(ConnectionError, match="does not exist any more"):
        list(reader.read(plan.splits[0]))


_cells = st.text(st.sampled_from('a1",;\n\r \\é0.-'), max_size=6)


@given(rows=st.lists(st.lists(_cells, min_size=3, max_size=3), max_size=30), quoting=st.sampled_from([0, 1]))
def test_what_python_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], quoting: int
) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, quoting=quoting).writerows([["a", "b", "c"], *rows])  # type: ignore[arg-type]
    table = read(
        tmp_path_factory.mktemp("csv"), out.getvalue().encode(), infer_types=False, null_values=[], delimiter=","
    )
    assert [list(row.values()) for row in table.to_pylist()] == rows


@given(content=st.text(st.sampled_from('a1",\n\r'), max_size=40))
def test_both_tokenizers_agree_on_any_text(tmp_path_factory: pytest.TempPathFactory, content: str) -> None:
    root = tmp_path_factory.mktemp("csv")

    def outcome(**options: Any) -> Any:
        try:
            return read(
                root, content.encode(), header=False, column_names=["a", "b"], delimiter=",", **options
            ).to_pylist()
        except ValidationError as error:
            return (str(error).split(" is not closed")[0].replace("title", ""), error.details.get("line"))

    assert outcome(infer_types=False) == outcome(infer_types=False, comment="~")


@given(content=st.binary(max_size=60))
def test_any_bytes_give_a_table_or_a_typed_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    try:
        read(tmp_path_factory.mktemp("csv"), content)
    except ValidationError as error:
        assert error.details or error.hint


@given(lines=st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b""]), max_size=20))
def test_lines_end_where_bytes_splitlines_ends_them(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "f"
    path.write_bytes(b"".join(lines))
    with TextInput(str(path)) as source:
        found = list(iter(source.readline, b""))
    assert found == b"".join(lines).splitlines(keepends=True)


def test_records_know_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b'a,"x\n\ny"\n\nb\n')
    with TextInput(str(path)) as source:
        assert [record.line for record in Dialect(",").records(source)] == [1, 5]
