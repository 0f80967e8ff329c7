"""Every option of the CSV readers does the same in both, wherever the file is and however it is compressed."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import obstore
import pyarrow as pa
import pytest
from dativo_plugin_sdk import (
    CsvOptions,
    DativoError,
    ReadRequest,
    SourceConfig,
    files,
    wrap_exception,
)
from dativo_plugin_sdk.arrow import batches_of, parse_type
from dativo_rust_csv import RustCsvReader

from dativo_assets.readers.csv import CsvReader
from tests.s3 import s3_server, store_of
from tests.web import SECRET, Web, web_server

READERS: dict[str, Any] = {"csv": CsvReader, "rust_csv": RustCsvReader}
PLACES = ("local", "s3", "http", "stdin")
COMPRESSIONS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "none": ("", bytes),
    "gzip": (".gz", gzip.compress),
    "zstd": (".zst", lambda text: pa.compress(text, "zstd", asbytes=True)),
    "bz2": (".bz2", bz2.compress),
    "xz": (".xz", lzma.compress),
    "zip": (".zip", lambda text: zipped(text)),
}
COLUMNS = "id,name,amount\n"
ROWS = COLUMNS + "1,ann,1.5\n2,bob,2.5\n"
LONG = COLUMNS + "".join(f"{row},name {row},{row}.5\n" for row in range(20_000))

CASES: dict[str, list[tuple[dict[str, Any], str | bytes, dict[str, str]]]] = {
    "delimiter": [
        ({"delimiter": "|"}, "a|b\n1,5|x\n", {}),
        ({"delimiter": "auto"}, "a;b;c\n1,5;x;\n2,5;y;\n", {}),
        ({}, "a\tb\n1\tx,y\n", {}),
    ],
    "quote_char": [
        ({"quote_char": "'"}, "a,b\n'1,\n2',\"x\"\n", {}),
        ({"quote_char": None}, 'a,b\n"1,x"\n', {}),
        ({"quote_char": "auto"}, "a,b\n'1,2',3\n'4,5',6\n", {}),
    ],
    "escape_char": [
        ({"escape_char": "\\"}, 'a,b\n"x \\"y\\"",1\n"z\\\\",2\n', {}),
        ({"escape_char": "auto"}, 'a,b\n"x \\"y\\", z",1\n"x \\"y\\", z",2\n', {}),
    ],
    "header": [
        ({"header": False}, "1,x\n2,y\n", {}),
        ({"header": "auto"}, "1,x\n2,y\n3,z\n", {}),
        ({"header": "auto"}, ROWS, {}),
        ({"header": False}, "1,x\n2,y\n", {"n": "int16", "t": "string"}),
    ],
    "column_names": [
        ({"column_names": ["x", "y", "z"]}, ROWS, {}),
        ({"column_names": ["x", "y", "z"], "header": False}, ROWS, {}),
    ],
    "encoding": [
        ({"encoding": "latin-1"}, "a,b\né,\x80\n".encode("latin-1"), {}),
        ({"encoding": "windows-1252"}, "é,b\né,€\n".encode("windows-1252"), {}),
        ({"encoding": "utf-16"}, "a,b\né,€\n".encode("utf-16"), {}),
        ({"encoding": "auto"}, "a,b\né,€\n".encode("utf-16-be"), {}),
        ({"encoding": "auto"}, "a,b\né,€\n".encode("windows-1252"), {}),
        ({"encoding": "latin-1"}, "\ufeffa,b\né,€\n".encode(), {}),
    ],
    "null_values": [({"null_values": ["NA", "-"]}, 'a,b,c\n1,NA,\n2,-,"NA"\n', {})],
    "true_values": [({"true_values": ["Ja"], "false_values": ["nein"]}, "a,b\nja,true\nNEIN,false\n", {})],
    "false_values": [({"false_values": ["0", "no"], "true_values": ["1"]}, "a\n0\nno\n1\n", {"a": "bool"})],
    "decimal_separator": [({"decimal_separator": ",", "delimiter": ";"}, "a;b\n1,5;1.5\n-2,25;2\n", {})],
    "thousands_separator": [
        ({"thousands_separator": "'"}, "a,b\n1'000,1'234'567.5\n1,2\n", {}),
        (
            {"thousands_separator": ".", "decimal_separator": ",", "delimiter": ";"},
            "a\n1.234,5\n",
            {"a": "decimal(9,2)"},
        ),
    ],
    "date_formats": [({"date_formats": ["%d/%m/%Y", "%Y%m%d"]}, "a,b\n31/12/2024,20240131\n2024-01-02,1\n", {})],
    "timestamp_formats": [
        ({"timestamp_formats": ["%d.%m.%Y %H:%M"]}, "a\n31.12.2024 23:59\n2024-01-02T03:04:05\n", {}),
        ({"timestamp_formats": ["%d.%m.%Y %H:%M %z"]}, "a\n31.12.2024 23:59 +0100\n", {"a": "timestamp[ms,UTC]"}),
    ],
    "binary_format": [
        ({"binary_format": "hex"}, "a\n00ff\n\n7F\n", {"a": "binary"}),
        ({"binary_format": "base64"}, "a\nAP8=\n", {"a": "binary"}),
    ],
    "comment": [({"comment": "#"}, '# one\na,b\n1,"\n# no comment"\n#2,y\n3,#\n', {})],
    "skip_rows": [
        ({"skip_rows": 2}, 'a report\r\nof "today\r\n' + ROWS, {}),
        ({"skip_rows": 9}, ROWS, {"id": "int64", "name": "string", "amount": "double"}),
    ],
    "trim": [({"trim": True}, 'a , b\n 1 ," x "\n2,  \n', {})],
    "bad_lines": [({"bad_lines": "skip"}, "a,b\n1,x\n2\n3,y,z\n4,w\n", {})],
    "infer_types": [({"infer_types": False}, ROWS, {}), ({"infer_types": False}, ROWS, {"id": "int32"})],
    "infer_rows": [({"infer_rows": 1}, "a,b\n1,2\n3,x\n", {}), ({"infer_rows": 1}, "a\n1\n2.5\n", {})],
    "compression": [({"compression": "gzip"}, gzip.compress(ROWS.encode()), {})],
    "max_field_bytes": [({"max_field_bytes": 3}, ROWS, {}), ({"max_field_bytes": 2}, ROWS, {})],
}


def zipped(text: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("in it.csv", text)
    return out.getvalue()


class Places:
    """Puts a file where it is to be read from, and gives the source that reads it there."""

    def __init__(self, folder: Path, connection: dict[str, str], web: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.connection, self.web, self.monkeypatch = folder, connection, web, monkeypatch
        self.store = store_of(connection)

    @contextmanager
    def source(self, place: str, name: str, data: bytes, options: dict[str, Any]) -> Iterator[SourceConfig]:
        source = SourceConfig(reader="r", root=str(self.folder), files=(name,), options=options)
        if place == "s3":
            obstore.put(self.store, name, data)
            yield source.model_copy(update={"files": (f"s3://lake/{name}",), "connection": self.connection})
        elif place == "http":
            Web.files[f"/{name}"] = data
            yield source.model_copy(update={"files": (f"{self.web}/{name}?signature={SECRET}",)})
        else:
            (self.folder / name).write_bytes(data)
            if place == "local":
                yield source
            else:
                with (self.folder / name).open() as piped, self.monkeypatch.context() as patch:
                    patch.setattr(sys, "stdin", piped)
                    yield source.model_copy(update={"files": ("-",)})
                    files._standard_input().close()  # a process has one
                    files._standard_input.cache_clear()


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[dict[str, str], str]]:
    with s3_server() as connection, web_server() as web:
        yield connection, web


@pytest.fixture
def places(tmp_path: Path, servers: Any, monkeypatch: pytest.MonkeyPatch) -> Places:
    return Places(tmp_path, *servers, monkeypatch)


def outcome(reader: Any, source: SourceConfig, types: dict[str, str], columns: tuple[str, ...] | None = None) -> Any:
    """The table as text, or the error: what it is and where. columns: those asked for."""
    schema = pa.schema([(name, parse_type(text)) for name, text in types.items()]) if types else None
    made = reader(source)
    try:
        plan = made.plan(ReadRequest(columns=columns, schema=schema))
        read = [made.read(split) for split in plan.splits]
        items = [item for one in read for item in ([one] if hasattr(one, "__arrow_c_stream__") else one)]
        table = pa.Table.from_batches([batch for item in items for batch in batches_of(item)], pa.schema(plan.schema))
        return table.schema.to_string(), str(table.to_pylist())
    except (DativoError, pa.ArrowInvalid) as raised:
        error = wrap_exception(raised)
        assert "file" in error.details
        told = [error.details.get(key) for key in ("row", "line", "byte", "widen_to")]
        return type(error).__name__, error.error_code, *told


def test_every_option_is_among_the_cases() -> None:
    assert set(CASES) == set(CsvOptions.model_fields)


def outcomes(places: Places, name: str, text: str | bytes, options: dict[str, Any], types: dict[str, str]) -> Any:
    """{(place, suffix, reader): outcome} of the text in every place, compressed there or elsewhere."""
    data = text.encode() if isinstance(text, str) else text
    found = {}
    for place, kind in [("local", "none"), ("s3", "none"), ("http", "gzip"), ("stdin", "gzip")]:
        suffix, compress = COMPRESSIONS[kind]
        if "compression" in options:
            suffix, compress = "", bytes
        packed = {"compression": kind} if suffix else {}  # what is piped in has no suffix
        with places.source(place, name + suffix, compress(data), {**packed, **options}) as source:
            for reader in READERS:
                found[place, suffix, reader] = outcome(READERS[reader], source, types)
    return found


def assert_alike(found: dict[Any, Any]) -> None:
    wanted = next(iter(found.values()))
    assert {key: value for key, value in found.items() if value != wanted} == {}, wanted


@pytest.mark.parametrize("option", CASES)
def test_an_option_does_the_same_everywhere(places: Places, option: str) -> None:
    for number, (options, text, types) in enumerate(CASES[option]):
        found = outcomes(places, f"{option}{number}.csv", text, options, types)
        assert_alike(found)
        if option == "max_field_bytes" or options.get("infer_rows") == 1:
            continue
        assert "Error" not in next(iter(found.values()))[0]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_compression_is_read_everywhere(places: Places, compression: str) -> None:
    suffix, compress = COMPRESSIONS[compression]
    data, wanted = compress(LONG.encode()), None
    for place in PLACES:
        with places.source(place, f"long.csv{suffix}", data, {"compression": compression}) as source:
            for reader in READERS.values():
                found = outcome(reader, source, {})
                wanted = wanted or found
                assert found == wanted and len(found[1]) > 20_000 * 20


BAD: dict[str, tuple[str | bytes, dict[str, Any], dict[str, str], tuple[Any, ...]]] = {
    "a field too few": ('a,b\n1,"x\ny"\n\n2\n3,z\n', {}, {}, ("ValidationError", "RAGGED_ROW", 2, 5, 13)),
    "a field too many": (
        "# x\r\na,b\r\n1,2\r\n1,2,3\r\n",
        {"comment": "#"},
        {},
        ("ValidationError", "RAGGED_ROW", 2, 4, 15),
    ),
    "no header": ("1,2\n3\n", {"header": False}, {}, ("ValidationError", "RAGGED_ROW", 2, 2, 4)),
    "behind a mark": ("\ufeffa,b\n1\n", {}, {}, ("ValidationError", "RAGGED_ROW", 1, 2, 7)),
    "behind lines left out": ("x\ny\na,b\n1\n", {"skip_rows": 2}, {}, ("ValidationError", "RAGGED_ROW", 1, 4, 8)),
    "a late value": (
        "a,b\n" + "1,2\n" * 9_000 + "é,3\n",
        {"infer_rows": 10},
        {},
        ("SchemaMismatchError", "SCHEMA_MISMATCH", 9_001, 9_002, 36_004, "string"),
    ),
    "a late float": (
        'a,b\n1,"2"\n\n1,"2.5"\n',
        {"infer_rows": 1},
        {},
        ("SchemaMismatchError", "SCHEMA_MISMATCH", 2, 4, 13, "double"),
    ),
    "a value of no such type": (
        'a;b\n"x ""y""\n";1\n"z\n";y\n',
        {"escape_char": "\\"},
        {"b": "int64"},
        ("SchemaMismatchError", "SCHEMA_MISMATCH", 2, 5, 22, "string"),
    ),
    "behind rows left out": (
        "a,b\n1\n1,2\n3\nx,2\n",
        {"bad_lines": "skip"},
        {"a": "int8"},
        ("SchemaMismatchError", "SCHEMA_MISMATCH", 4, 5, 12, "string"),
    ),
    "an open quote": ('a,b\n1,2\n3,"4\n5,6\n', {}, {}, ("ValidationError", "OPEN_QUOTE", 2, 3, 10)),
    "an open quote in the header": ('a,"b\n1,2\n', {}, {}, ("ValidationError", "OPEN_QUOTE", None, 1, 2)),
    "a long value": (
        "a,b\n1,2\n1,23456\n",
        {"max_field_bytes": 4},
        {},
        ("ValidationError", "FIELD_TOO_LONG", 2, 3, 10),
    ),
    "a long name": ("a,bcdef\n1,2\n", {"max_field_bytes": 4}, {}, ("ValidationError", "FIELD_TOO_LONG", None, 1, 2)),
    "bytes of another encoding": (
        "a,b\n1,é\n".encode() + b'\n2,"\n\xff"\n',
        {},
        {},
        ("ValidationError", "INVALID_ENCODING", 2, 5, 14),
    ),
    "bytes of another double encoding": (
        "a,b\n1,é\n".encode("utf-16-le") + b"2\0,\0\0\xdc\n\0",
        {"encoding": "utf-16-le"},
        {},
        ("ValidationError", "INVALID_ENCODING", 2, 3, 20),
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_row_is_named_by_file_row_line_and_byte(places: Places, kind: str) -> None:
    text, options, types, wanted = BAD[kind]
    found = outcomes(places, "bad.csv", text, options, types)
    assert_alike(found | {"wanted": (*wanted, *[None] * (6 - len(wanted)))})


@pytest.mark.parametrize("more", [{}, {"trim": True}, {"comment": "#"}])
@pytest.mark.parametrize("columns", [("a",), ("b",), ("c",)])
def test_a_long_value_is_an_error_in_a_column_that_is_not_asked_for(
    places: Places, more: dict[str, Any], columns: tuple[str, ...]
) -> None:
    text = b"a,b,c\n1,2,3\n1,23456,3\n"
    with places.source("local", "long.csv", text, {"max_field_bytes": 4, **more}) as source:
        for reader in READERS.values():
            assert outcome(reader, source, {}, columns)[:4] == ("ValidationError", "FIELD_TOO_LONG", 2, 3)
