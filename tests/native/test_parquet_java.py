"""parquet-java, the reference implementation, reads what `rust_parquet` wrote, value by value."""

from __future__ import annotations

import datetime as dt
import json
import struct
import subprocess
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from dativo_rust_parquet._native import Sink

from tests.native import test_parquet_readers as readers

JAVA = Path(__file__).with_name("parquet_java")
ROWS = 45_000  # three pages and a bit, and more than one row group below
EPOCH = dt.datetime(1970, 1, 1)


@pytest.fixture(scope="session")
def libraries() -> Path:
    """The jars, fetched once."""
    folder = JAVA.parents[2] / ".cache" / "parquet-java"
    if not (folder / "done").exists():
        command = ["mvn", "-q", "-B", "-f", str(JAVA / "pom.xml"), "dependency:copy-dependencies"]
        subprocess.run([*command, f"-DoutputDirectory={folder}"], check=True, timeout=110)
        (folder / "done").touch()
    return folder


def _bits(code: str, value: float) -> str:
    (found,) = struct.unpack("<i" if code == "f" else "<q", struct.pack(f"<{code}", value))
    return str(found)


def _micros(value: dt.datetime) -> str:
    return str((value - EPOCH) // dt.timedelta(microseconds=1))


def columns() -> dict[str, tuple[pa.DataType, list[Any], Any]]:
    """{name: (type, values, value -> how Java prints what is stored)}; every seventh value is null, and a stretch of them."""
    special = [float("nan"), -0.0, float("inf"), -float("inf"), 1e-300]
    return {
        "id": (pa.int64(), list(range(ROWS)), str),
        "small": (pa.int8(), [n % 251 - 125 for n in range(ROWS)], str),
        "unsigned": (pa.uint64(), [2**64 - 1 - n for n in range(ROWS)], lambda v: str(v - 2**64 if v >= 2**63 else v)),
        "jumps": (pa.int64(), [(n * 2_654_435_761) ** 2 % 2**63 * (-1) ** n for n in range(ROWS)], str),
        "float": (pa.float32(), [n / 8 for n in range(ROWS)], lambda v: _bits("f", v)),
        "double": (pa.float64(), [special[n % 5] if n % 3 else n / 7 for n in range(ROWS)], lambda v: _bits("d", v)),
        "bool": (pa.bool_(), [n % 3 == 0 for n in range(ROWS)], lambda v: str(v).lower()),
        "few": (pa.string(), [f"value {n % 9}" for n in range(ROWS)], lambda v: "x" + v.encode().hex()),
        "many": (pa.string(), [f"é {n}" for n in range(ROWS)], lambda v: "x" + v.encode().hex()),
        "bytes": (pa.binary(), [bytes([n % 256, 0]) for n in range(ROWS)], lambda v: "x" + v.hex()),
        "date": (
            pa.date32(),
            [dt.date(1960, 1, 1) + dt.timedelta(n) for n in range(ROWS)],
            lambda v: str(v.toordinal() - 719_163),
        ),
        "at": (pa.timestamp("us"), [EPOCH + dt.timedelta(hours=n, microseconds=n) for n in range(ROWS)], _micros),
        "money": (
            pa.decimal128(30, 2),
            [Decimal(n - 1000) * 10**20 / 100 for n in range(ROWS)],
            lambda v: "x" + int(v * 100).to_bytes(13, "big", signed=True).hex(),
        ),
    }


@pytest.mark.timeout(300)
def test_every_value_is_what_was_written(libraries: Path, tmp_path: Path) -> None:
    described = columns()
    values = {
        name: [None if name != "id" and (n % 7 == 3 or 20_000 <= n < 38_000) else value for n, value in enumerate(data)]
        for name, (_, data, _) in described.items()
    }
    table = pa.table({name: pa.array(values[name], kind) for name, (kind, _, _) in described.items()})
    files = []
    for compression in ("zstd", "snappy", "lz4_raw", "gzip", "none"):
        for compatibility in ("modern", "legacy"):
            path = tmp_path / f"{compression}-{compatibility}.parquet"
            options = {"compression": compression, "compatibility": compatibility, "row_group_rows": 40_000}
            sink = Sink(str(path), table.schema, json.dumps(options))
            for batch in table.to_batches(max_chunksize=7_001):
                sink.write(batch)
            assert json.loads(sink.finish())["row_groups"] == 2
            files.append(path)

    dump(libraries, 21_000, files)
    shown = [["null" if v is None else show(v) for v in values[name]] for name, (_, _, show) in described.items()]
    wanted = ["\t".join(row) for row in zip(*shown, strict=True)]
    for path in files:
        same(path, wanted, wanted[21_000:])


@pytest.mark.timeout(300)
def test_every_type_is_what_was_written_in_every_shape_with_every_null_pattern(libraries: Path, tmp_path: Path) -> None:
    least, files = 1_700, {}
    for shape in readers.SHAPES:
        for holes in readers.HOLES:
            table = nested(readers.table(shape, holes).rename_columns({"row": "id"}).slice(0, 2_600))
            path = tmp_path / f"{shape} {holes}.parquet"
            readers.written(path, table, row_group_rows=1_500, page_rows=700)
            files[path] = table
    dump(libraries, least, list(files))
    for path, table in files.items():
        shown = [[stored(value, field.type) for value in table[field.name].to_pylist()] for field in table.schema]
        wanted = ["\t".join(row) for row in zip(*shown, strict=True)]
        same(path, wanted, wanted[least:])


def nested(table: pa.Table) -> pa.Table:
    """With columns of other types, made of what is there."""
    text, number = table["text"], table["i64"].to_pylist()
    return (
        table.append_column("list", pa.array([None if n is None else [n, None][: n % 3] for n in number]))
        .append_column("struct", pa.array([None if n is None else {"a": n, "b": [str(n)]} for n in number]))
        .append_column(
            "map",
            pa.array([None if n is None else [("k", n)] * (n % 3) for n in number], pa.map_(pa.string(), pa.int64())),
        )
        .append_column("coded", text.dictionary_encode())
        .append_column("half", table["f32"].cast(pa.float16()))
        .append_column(
            "fixed", pa.array([None if n is None else n.to_bytes(9, "big", signed=True) for n in number], pa.binary(9))
        )
        .append_column("nanos", table["stamp"].cast(pa.timestamp("ns")))
        .append_column("millis", pa.array([None if n is None else n % 86_400_000 for n in number], pa.time32("ms")))
        .append_column(
            "small", pa.array([None if n is None else Decimal(n % 1000) for n in number], pa.decimal128(4, 1))
        )
        .append_column("i16", pa.array([None if n is None else n % 2**16 - 2**15 for n in number], pa.int16()))
        .append_column("u8", pa.array([None if n is None else n % 256 for n in number], pa.uint8()))
    )


def stored(value: Any, kind: pa.DataType) -> str:
    """How Java prints what is stored of a value."""
    if value is None:
        return "null"
    if pa.types.is_list(kind):
        return "([" + ",".join(f"({stored(item, kind.value_type)})" for item in value) + "])"
    if pa.types.is_map(kind):
        pairs = (f"({stored(key, kind.key_type)},{stored(item, kind.item_type)})" for key, item in value)
        return "([" + ",".join(pairs) + "])"
    if pa.types.is_struct(kind):
        return "(" + ",".join(stored(value[field.name], field.type) for field in kind) + ")"
    if pa.types.is_dictionary(kind):
        return stored(value, kind.value_type)
    if pa.types.is_boolean(kind):
        return str(value).lower()
    if pa.types.is_float16(kind):
        return "x" + struct.pack("<e", value).hex()
    if pa.types.is_floating(kind):
        return _bits("f" if kind.bit_width == 32 else "d", value)
    if pa.types.is_decimal(kind):
        unscaled = int(value.scaleb(kind.scale))
        if kind.precision <= 18:
            return str(unscaled)
        return "x" + unscaled.to_bytes(16, "big", signed=True).hex()
    if isinstance(value, str | bytes):
        return "x" + (value.encode() if isinstance(value, str) else value).hex()
    number = (
        pa.scalar(value, kind).cast(pa.int64() if kind.bit_width == 64 else pa.int32()).as_py()
        if not isinstance(value, int)
        else value
    )
    bits = max(32, kind.bit_width)
    return str(number - 2**bits if number >= 2 ** (bits - 1) else number)


def dump(libraries: Path, least: int, files: Sequence[Path]) -> None:
    command = ["java", "-cp", f"{libraries}/*", str(JAVA / "Dump.java"), str(least), *map(str, files)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def same(path: Path, all_rows: list[str], some_rows: list[str]) -> None:
    assert Path(f"{path}.all").read_text().splitlines() == all_rows, path.name
    assert Path(f"{path}.some").read_text().splitlines() == some_rows, path.name
