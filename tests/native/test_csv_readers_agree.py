"""One stands in for the other: the Python and the native CSV reader give the same table, or both refuse."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
from dativo_plugin_sdk import DativoError, ReadRequest, SchemaMismatchError, SourceConfig
from dativo_plugin_sdk.arrow import batches_of, parse_type
from dativo_rust_csv import RustCsvReader
from hypothesis import example, given
from hypothesis import strategies as st

from dativo_assets.readers.csv import CsvReader

TEXTS = (
    "0 1 -1 -0 007 +1 1.5 -2.50 .5 5. 1e3 1E-400 1e-60 437236101e-43 nan inf -Infinity 123456789012345678 1234567890123456789 "
    "1000000000 1000000000000000000 0.50000000000000000000 "
    "0.12345678901234567 0.1234567890123456789 true FALSE 2024-02-29 2023-02-29 0000-01-01 "
    "2024-01-02T03:04:05 2024-01-02T03:04:05.1234567 2024-01-02T03:04:05Z 2024-01-02T24:00:00 "
    "2024-01-02T03:04:05+01:30 03:04:05.1 12.34 128 NA x é "
)
WORDS = st.sampled_from(TEXTS.split())
CELLS = st.one_of(
    WORDS,
    st.just(""),
    st.sampled_from(['""', '"a ""b"" c"', '"x\ny"', '"a,b"', '"1"', '"x"y', 'a"b', " 1", "2024-01-02 03:04:05"]),
)
DECLARED = (
    "int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 bool date date64 time[s] time[ms] time[us] "
    "time[ns] timestamp[s] timestamp[ms] timestamp[us] timestamp[ns] timestamp[s,UTC] timestamp[us,Europe/Zurich] "
    "timestamp[ns,+02:00] string large_string binary large_binary decimal(5,2) decimal(38,10) decimal(20,0) "
    "dictionary<string> list<int64> struct<a:int64> duration[s]"
)
COLUMN = st.one_of(st.lists(CELLS, min_size=4, max_size=4), WORDS.map(lambda word: [word] * 4))
TABLES = st.tuples(COLUMN, COLUMN, COLUMN).map(
    lambda columns: "".join(",".join(row) + "\n" for row in zip(*columns, strict=True))
)


def outcome(kind: Any, path: Path, options: dict[str, Any], request: ReadRequest) -> Any:
    """The table, or the class of the error."""
    reader = kind(SourceConfig(reader="csv", root=str(path.parent), files=(path.name,), options=options))
    try:
        plan = reader.plan(request)
        batches = [b for s in plan.splits for item in as_items(reader.read(s)) for b in batches_of(item)]
        return pa.Table.from_batches(batches, pa.schema(plan.schema))
    except SchemaMismatchError as error:
        return error.column, error.widen_to
    except DativoError as error:
        return type(error)


def shown(table: pa.Table) -> list[list[Any]]:
    """The columns as text, in which NaN equals itself and zero has a sign; bytes as they are."""
    texts = (column if pa.types.is_binary(column.type) else column.cast(pa.string()) for column in table.columns)
    return [column.to_pylist() for column in texts]


def as_items(read: Any) -> Any:
    return [read] if hasattr(read, "__arrow_c_stream__") else read


def assert_same(text: str, options: dict[str, Any], request: ReadRequest) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_bytes(text.encode())
        python, native = (outcome(kind, path, options, request) for kind in (CsvReader, RustCsvReader))
    if isinstance(python, pa.Table) and isinstance(native, pa.Table):
        assert native.schema.equals(python.schema)
        assert shown(native) == shown(python)
    else:
        assert native == python


@given(TABLES)
@example('"x"y,a"b,\n1,2,3\n')
def test_inferred(text: str) -> None:
    assert_same("a,b,c\n" + text, {"null_values": ["", "NA"]}, ReadRequest())


@given(
    TABLES,
    st.sampled_from(DECLARED.split()),
)
def test_declared(text: str, type_name: str) -> None:
    schema = pa.schema([("b", parse_type(type_name))])
    assert_same("a,b,c\n" + text, {}, ReadRequest(schema=schema, columns=("b",)))


@given(st.text(alphabet='ab1,"\n\r #;\\', max_size=60), st.booleans(), st.booleans(), st.booleans())
def test_any_text(text: str, header: bool, escape: bool, trim: bool) -> None:
    options = {
        "delimiter": ",",
        "header": header,
        "trim": trim,
        "comment": "#",
        "escape_char": "\\" if escape else None,
    }
    assert_same(text, options, ReadRequest())


@given(TABLES, st.integers(1, 6))
@example("1,2,3\n,,\n1,2,3\n", 2)
def test_a_limit(rows: str, limit: int) -> None:
    assert_same("a,b,c\n" + rows, {}, ReadRequest(limit=limit))


NUMBERS = st.lists(st.text(alphabet="-0123456789.,' eE", max_size=9), min_size=1, max_size=4)


@given(NUMBERS, st.sampled_from([(",", "."), (",", None), (".", ","), (".", " "), (",", "'")]), st.booleans())
@example(["1.234,50", "-12.345.678", "1,5e3", "1.2345"], (",", "."), False)
@example(["1 234", "1 5", "-1 000.5 3"], (".", " "), True)
def test_separators(cells: list[str], separators: tuple[str, str | None], declared: bool) -> None:
    decimal, thousands = separators
    options = {"delimiter": ";", "decimal_separator": decimal, "thousands_separator": thousands}
    schema = pa.schema([("a", pa.decimal128(9, 2))]) if declared else None
    text = "".join(f'"{cell}";x\n' for cell in cells)
    assert_same("a;b\n" + text, options, ReadRequest(schema=schema))


FORMS = ("%d/%m/%Y", "%m/%d/%y", "%Y%m%d", "%d %B %Y", "%d-%b-%Y", "%Y-%m-%d")
CLOCKS = ("", " %H:%M", "T%H:%M:%S", " %I:%M %p", " %H:%M:%S.%f", "T%T%z", "%H%M%S")
WORDS_OF_TIME = "0 1 2 3 9 12 13 31 99 1970 2024 / - : . T Z +01:30 -0200 am PM jan January feb MAY 24 59 60"
PIECES = st.sampled_from([*WORDS_OF_TIME.split(), " "])


@given(
    st.lists(st.lists(PIECES, max_size=9).map("".join), min_size=1, max_size=4),
    st.sampled_from(FORMS),
    st.sampled_from(CLOCKS),
)
@example(["1/2/2024 1:05 pm", "01/02/2024 13:05 PM", "31/02/2024 01:00 am"], "%d/%m/%Y", " %I:%M %p")
@example(["20240102030405"], "%Y%m%d", "%H%M%S")
@example(["2 may 2024 01:02:03.1234567"], "%d %B %Y", " %H:%M:%S.%f")
@example(["29/2/23"], "%m/%d/%y", "")
def test_forms_of_dates_and_times(cells: list[str], form: str, clock: str) -> None:
    options = {"delimiter": ";", "date_formats": [form], "timestamp_formats": [form + clock]}
    text = "a;b\n" + "".join(f"{cell};x\n" for cell in cells)
    assert_same(text, options, ReadRequest())
    for wanted in (pa.date32(), pa.timestamp("us"), pa.timestamp("ms", "UTC")):
        assert_same(text, options, ReadRequest(schema=pa.schema([("a", wanted)]), columns=("a",)))


@given(st.text(alphabet="0aF=+/g ", max_size=6), st.sampled_from(["raw", "hex", "base64"]))
@example("AP8=", "base64")
@example("00==", "base64")
@example("00Ff", "hex")
def test_bytes(cell: str, binary_format: str) -> None:
    request = ReadRequest(schema=pa.schema([("a", pa.binary())]), columns=("a",))
    assert_same(f"a;b\n{cell};x\n", {"delimiter": ";", "binary_format": binary_format}, request)


@given(
    st.text(alphabet="ab1,;'\"\\\n|", max_size=80),
    st.sampled_from(["a,b\n1,2\n", "1;'a;b'\n2;c\n", 'a|"b \\" c"\n', "x,y\n", ""]),
)
def test_detection(text: str, start: str) -> None:
    everything = dict.fromkeys(("delimiter", "quote_char", "escape_char", "header", "encoding"), "auto")
    assert_same(start + text, everything, ReadRequest())
