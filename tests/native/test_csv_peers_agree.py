"""Strangers as witnesses: pyarrow, Polars, DuckDB and Python's csv find the rows, nulls and values that `rust_csv` finds."""

from __future__ import annotations

import csv
import datetime as dt
import io
import math
import struct
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pytest
from dativo_plugin_sdk import DativoError, ReadRequest, SchemaMismatchError, SourceConfig, ValidationError
from dativo_plugin_sdk.arrow import batches_of
from dativo_rust_csv import RustCsvReader
from hypothesis import example, given
from hypothesis import strategies as st

Rows = list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("peers") / "x.csv"


def native(file: Path, schema: pa.Schema | None = None, **options: Any) -> pa.Table:
    config = SourceConfig(reader="rust_csv", root=str(file.parent), files=(file.name,), options=options)
    reader = RustCsvReader(config)
    plan = reader.plan(ReadRequest(schema=schema))
    batches = [batch for split in plan.splits for batch in batches_of(reader.read(split))]
    return pa.Table.from_batches(batches, pa.schema(plan.schema))


def rows_of(table: pa.Table) -> Rows:
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def by_pyarrow(file: Path, delimiter: str) -> Rows:
    names = file.read_text(encoding="utf-8").splitlines()[0].split(delimiter)
    table = pyarrow.csv.read_csv(
        file,
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    return rows_of(table)


def by_polars(file: Path, delimiter: str) -> Rows:
    return pl.read_csv(file, separator=delimiter, infer_schema=False).rows()


def by_duckdb(file: Path, delimiter: str) -> Rows:
    found = duckdb.execute(
        "from read_csv(?, delim=?, header=true, all_varchar=true, quote='\"', escape='\"', nullstr='',"
        " allow_quoted_nulls=false, auto_detect=false, columns=?, parallel=false)",
        [str(file), delimiter, dict.fromkeys(file.read_text().splitlines()[0].split(delimiter), "VARCHAR")],
    )
    return found.fetchall()


def by_python(file: Path, delimiter: str) -> Rows:
    """It knows no nulls."""
    with file.open(encoding="utf-8", newline="") as text:
        return [tuple(row) for row in list(csv.reader(text, delimiter=delimiter))[1:]]


TEXTS = st.text(st.sampled_from('ab1,;\t"\n é€ \\#'), max_size=6)
CELLS = st.tuples(st.none() | TEXTS, st.booleans())


@given(
    rows=st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=12),
    delimiter=st.sampled_from(",;\t"),
    newline=st.sampled_from(["\n", "\r\n"]),
    ended=st.booleans(),
)
def test_well_formed_text_is_read_alike(file: Path, rows: list[Any], delimiter: str, newline: str, ended: bool) -> None:
    def cell(value: str | None, quoted: bool) -> str:
        if value is None:
            return ""
        needed = quoted or value == "" or any(mark in value for mark in f'{delimiter}"\n')
        return '"' + value.replace('"', '""') + '"' if needed else value

    lines = ["x" + delimiter + "y" + delimiter + "z"]
    lines += [delimiter.join(cell(*drawn) for drawn in row) for row in rows]
    file.write_bytes((newline.join(lines) + (newline if ended else "")).encode())
    wanted = [tuple(value for value, _ in row) for row in rows]
    assert rows_of(native(file, delimiter=delimiter, infer_types=False)) == wanted
    assert by_python(file, delimiter) == [tuple(value or "" for value in row) for row in wanted]
    assert by_polars(file, delimiter) == wanted
    assert by_duckdb(file, delimiter) == wanted
    if ended:  # else pyarrow takes a last null for a quoted text
        assert by_pyarrow(file, delimiter) == wanted


PIECES = st.sampled_from(["a", "1", '"', '""', ",", "\n", "\r", "\r\n", " ", '",', ',"', '","', '"\n', "é", "\\", "\0"])


@given(st.lists(PIECES, max_size=24).map("".join), st.lists(st.tuples(st.integers(0, 60), PIECES), max_size=3))
def test_any_text_is_read_as_python_reads_it_or_refused_by_place(
    file: Path, text: str, changes: list[tuple[int, str]]
) -> None:
    text = 'a,b\n1,"x ""y"", z"\n2,\n' + text
    for at, piece in changes:
        text = text[: at + 4] + piece + text[at + 4 :]
    file.write_bytes(text.encode())
    try:
        found = rows_of(native(file, delimiter=",", infer_types=False, null_values=[]))
    except ValidationError as error:
        assert {"file", "byte", "row", "line"} <= set(error.details), error
        return
    rows = [tuple(row) for row in csv.reader(io.StringIO(text, newline="")) if row]
    assert found == rows[1:]


BITS = st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0])
FLOATS = BITS.filter(math.isfinite) | st.floats(allow_nan=False, allow_infinity=False)
DIGITS = st.text(st.sampled_from("0123456789"), min_size=1, max_size=40)


@st.composite
def numbers(draw: st.DrawFn) -> str:
    """A number as programs print it, and as nobody does."""
    value = draw(FLOATS)
    forms: list[Callable[[], str]] = [
        lambda: repr(value),
        lambda: f"{value:.17g}",
        lambda: f"{value:.{draw(st.integers(0, 30))}e}",
        lambda: f"{Decimal(value):f}"[:400],
        lambda: f"{draw(st.sampled_from(['', '-', '+']))}{draw(DIGITS)}.{draw(DIGITS)}",
        lambda: f"{draw(DIGITS)}.{draw(DIGITS)}e{draw(st.integers(-400, 400))}",
        lambda: str(Decimal(value) + Decimal(math.ulp(value)) / 2)[:800],  # half way between two floats
    ]
    return draw(st.sampled_from(forms))()


def is_kept(text: str) -> bool:
    """Whether a float64 keeps what the text says: 17 digits besides zeros around them, no more than its range."""
    mantissa = text.lower().partition("e")[0].lstrip("-")
    plain = mantissa[:1].isdigit() and not (mantissa[:1] == "0" and mantissa[1:2].isdigit())
    digits = mantissa.replace(".", "").strip("0")
    return plain and len(digits) <= 17 and math.isfinite(float(text)) and (float(text) != 0 or not digits)


@given(st.lists(numbers(), min_size=1, max_size=30))
@example(["4.9e-324", "2.4703282292062328e-324", "2.4703282292062327e-324", "2.2250738585072011e-308"])
@example(["1.7976931348623157e308", "1.7976931348623159e308", "1e400", "-1e400", "1e-400", "-0.0", "0e9"])
@example(["9007199254740993", "9007199254740992.5", "0.1234567890123456789", "123456789012345678"])
@example(["8.5", "0.30000000000000004", "5e-1", "100000000000000008193", "9007199254740991000"])
@example(["1" + "0" * 300, "0.1" + "0" * 30])
def test_floats_are_read_to_the_last_bit_or_refused(file: Path, texts: list[str]) -> None:
    while texts:
        file.write_text("x\n" + "\n".join(texts))
        try:
            found = native(file, pa.schema([("x", pa.float64())]))["x"].to_pylist()
        except SchemaMismatchError as error:
            refused = texts.pop(error.details["row"] - 1)
            assert not is_kept(refused), refused
        else:
            assert list(map(repr, found)) == [repr(float(text)) for text in texts]
            return


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=30))
@example([4.3723611534929625e-35, 1e-45, 3.4028234663852886e38, -0.0, 1e9, -16777216000.0])
def test_single_floats_are_read_to_the_last_bit(file: Path, values: list[float]) -> None:
    table = pa.table({"x": pa.array(values, pa.float32())})
    texts = table["x"].cast(pa.string()).to_pylist()
    file.write_text("x\n" + "".join(f"{text}\n" for text in texts))
    assert list(map(repr, native(file, table.schema)["x"].to_pylist())) == list(map(repr, table["x"].to_pylist()))


def moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


WHOLE = st.integers(-(2**64), 2**64).map(str) | st.sampled_from(
    ["-0", "007", "+1", "1.0", "1e3", " 1", "0x1", "1_0", "-", ""]
)
KINDS: dict[str, tuple[pa.DataType, Callable[[str], Any], st.SearchStrategy[str]]] = {
    **{
        f"{sign}int{width}": (pa.type_for_alias(f"{sign}int{width}"), int, WHOLE | near)
        for width in (8, 16, 32, 64)
        for sign in ("", "u")
        for near in [st.integers(-(2 ** (width + 1)), 2 ** (width + 1)).map(str)]
    },
    "bool": (pa.bool_(), {"true": True, "false": False}.__getitem__, st.sampled_from(["true", "false", "1", "yes"])),
    "date": (
        pa.date32(),
        dt.date.fromisoformat,
        st.dates().map(str) | st.sampled_from(["2023-02-29", "2024-13-01", "2024-1-1", "0000-01-01", "20240101"]),
    ),
    "timestamp": (
        pa.timestamp("us"),
        moment,
        st.datetimes().map(str) | st.datetimes().map(lambda at: at.isoformat("T", "seconds")),
    ),
    "decimal": (
        pa.decimal128(9, 3),
        Decimal,
        st.decimals(-(10**7), 10**7, places=4).map(str) | st.sampled_from([".5", "5.", "1e3", "1.2340", "nan", "1,5"]),
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_typed_value_is_the_text_s_value_or_refused_by_place(file: Path, name: str) -> None:
    kind, meaning, texts = KINDS[name]

    @given(st.lists(texts, min_size=1, max_size=8))
    def check(cells: list[str]) -> None:
        file.write_text("n,x\n" + "".join(f'{number},"{cell}"\n' for number, cell in enumerate(cells)))
        try:
            found = native(file, pa.schema([("n", pa.int64()), ("x", kind)]))["x"].to_pylist()
        except SchemaMismatchError as error:
            assert error.column == "x" and {"file", "row", "line", "byte"} <= set(error.details), error.details
            # The very cell that has another meaning or none: everything before it would have been read.
            number = error.details["row"] - 1
            file.write_text("n,x\n" + "".join(f'{at},"{cell}"\n' for at, cell in enumerate(cells[:number])))
            found, cells = native(file, pa.schema([("n", pa.int64()), ("x", kind)]))["x"].to_pylist(), cells[:number]
        assert found == [meaning(cell) for cell in cells]

    check()


def test_types_found_are_those_that_duckdb_and_polars_find(file: Path) -> None:
    file.write_text(
        "i,f,b,d,t,s\n1,1.5,true,2024-01-02,2024-01-02 03:04:05,x\n-2,-2e3,false,1999-12-31,1999-12-31 23:59:59.5,y\n,,,,,\n"
    )
    found = native(file)
    assert rows_of(found) == duckdb.read_csv(str(file)).fetchall() == pl.read_csv(file, try_parse_dates=True).rows()


def test_where_a_peer_reads_a_wrong_value_in_silence_ours_is_a_string(file: Path) -> None:
    file.write_text("zip,card\n007,12345678901234567890123\n010,1\n")
    assert rows_of(native(file)) == [("007", "12345678901234567890123"), ("010", "1")]
    with pytest.raises(DativoError):
        native(file, pa.schema([("zip", pa.int64())]))
