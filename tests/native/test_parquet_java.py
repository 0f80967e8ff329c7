"""parquet-java, the reference implementation, reads what `rust_parquet` wrote, value by value."""

from __future__ import annotations

import datetime as dt
import json
import struct
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from dativo_rust_parquet._native import Sink

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

    command = ["java", "-cp", f"{libraries}/*", str(JAVA / "Dump.java"), "21000", *map(str, files)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shown = [["null" if v is None else show(v) for v in values[name]] for name, (_, _, show) in described.items()]
    wanted = ["\t".join(row) for row in zip(*shown, strict=True)]
    for path in files:
        assert Path(f"{path}.all").read_text().splitlines() == wanted, path.name
        assert Path(f"{path}.some").read_text().splitlines() == wanted[21_000:], path.name
