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
    "0 1 -1 -0 007 +1 1.5 -2.50 .5 5. 1e3 1E-400 nan inf -Infinity 123456789012345678 1234567890123456789 "
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


def shown(table: pa.Table) -> list[list[str | None]]:
    """The columns as text, in which NaN equals itself and zero has a sign."""
    return [column.cast(pa.string()).to_pylist() for column in table.columns]


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
    st.sampled_from(
        [
            "int8",
            "uint64",
            "int64",
            "float32",
            "decimal(5, 2)",
            "bool",
            "date",
            "time",
            "timestamp[s]",
            "timestamp[ns]",
            "timestamp[us, UTC]",
            "string",
            "large_string",
        ]
    ),
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
