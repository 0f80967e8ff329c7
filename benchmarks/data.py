"""The benchmarks' inputs: deterministic, made once, kept under benchmarks/.data."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDER = HERE / ".data"
_VERSION = 1

_SEED_TYPES = {
    "id": "int64",
    "name": "string",
    "email": "string",
    "category": "string",
    "amount": "double",
    "quantity": "int64",
    "active": "boolean",
    "created_at": "timestamp[us]",
}
_LINEITEM_TYPES = {
    **dict.fromkeys(("l_orderkey", "l_partkey", "l_suppkey", "l_linenumber"), "int64"),
    **dict.fromkeys(("l_quantity", "l_extendedprice", "l_discount", "l_tax"), "double"),
    **dict.fromkeys(("l_returnflag", "l_linestatus"), "string"),
    **dict.fromkeys(("l_shipdate", "l_commitdate", "l_receiptdate"), "date"),
    **dict.fromkeys(("l_shipinstruct", "l_shipmode", "l_comment"), "string"),
}
_WIDE = 1_000
_WIDE_TYPES = {f"c{n}": ("int64", "double", "string", "int64")[n % 4] for n in range(_WIDE)}

# A hash of the row's number stands in for chance, so that the same rows come out each time.
_SEED = """
    SELECT
        i + 1 AS id,
        'user ' || (hash(i, 1) % 1000000) AS name,
        'user' || i || '@mail' || (hash(i, 2) % 50) || '.example' AS email,
        ['books', 'garden', 'home, kitchen', 'music', 'sports', 'toys'][(hash(i, 3) % 6)::INT + 1] AS category,
        CASE WHEN hash(i, 4) % 100 >= 3 THEN ((hash(i, 5) % 10000000)::DECIMAL(18, 0) / 100)::DECIMAL(12, 2) END AS amount,
        (hash(i, 6) % 100)::INT AS quantity,
        hash(i, 7) % 2 = 0 AS active,
        strftime(TIMESTAMP '2024-01-01' + to_seconds((hash(i, 8) % 31536000)::BIGINT), '%Y-%m-%d %H:%M:%S') AS created_at
"""
_NARROW = "SELECT i AS a, hash(i, 1) % 1000000 AS b"
_QUOTED = """
    SELECT i AS id,
        'He said "' || (hash(i, 1) % 1000) || '", and left; a long sentence, with commas, ' || (hash(i, 2) % 100000) AS said,
        'first line ' || (hash(i, 3) % 1000) || chr(10) || 'second "line", ' || (hash(i, 4) % 1000) AS note
"""
_MAKE = """
import duckdb, sys
query, rows, path, options = sys.argv[1:5]
connection = duckdb.connect()
connection.execute("SET enable_progress_bar = false")
connection.execute(f"COPY ({query} FROM range({rows}) AS numbers(i)) TO '{path}' (FORMAT csv, HEADER true{options})")
"""


@dataclass(frozen=True)
class Dataset:
    """One table as CSV. files: in order. glob: a pattern for the same. types: {column: type}."""

    name: str
    rows: int
    files: tuple[Path, ...]
    glob: str
    types: dict[str, str]
    newlines: bool = False

    @property
    def bytes(self) -> int:
        return sum(file.stat().st_size for file in self.files)

    def remove(self) -> None:
        for file in self.files:
            file.unlink()


def seed(rows: int) -> Dataset:
    """8 columns, about 90 bytes a row: texts, a category with a comma in quotes, decimals with 3 % nulls, timestamps."""
    return _single(f"seed-{rows}", rows, _SEED_TYPES, lambda path: _make(_SEED, rows, path))


def lineitem(scale: float) -> Dataset:
    """TPC-H's largest table: 16 columns, 6 million rows at scale 1."""

    def make(path: Path) -> None:
        folder = path.with_suffix(".folder")
        tool = Path(sys.executable).with_name("tpchgen-cli")
        command = [str(tool), "csv", "-s", f"{scale:g}", "--tables=lineitem", "--output-dir", str(folder)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (found,) = folder.rglob("lineitem*.csv")
        os.replace(found, path)
        shutil.rmtree(folder)

    return _single(f"lineitem-{scale:g}", int(6_001_215 * scale), _LINEITEM_TYPES, make)


def narrow(rows: int) -> Dataset:
    """Two integers."""
    return _single(f"narrow-{rows}", rows, {"a": "int64", "b": "int64"}, lambda path: _make(_NARROW, rows, path))


def wide(rows: int) -> Dataset:
    """1,000 columns."""
    cells = (
        f"hash(i, {n}) % 100000 AS c{n}"
        if kind == "int64"
        else f"(hash(i, {n}) % 100000)::DOUBLE / 8 AS c{n}"
        if kind == "double"
        else f"'text ' || (hash(i, {n}) % 1000) AS c{n}"
        for n, kind in enumerate(_WIDE_TYPES.values())
    )
    query = "SELECT " + ", ".join(cells)
    return _single(f"wide-{rows}", rows, _WIDE_TYPES, lambda path: _make(query, rows, path))


def quoted(rows: int) -> Dataset:
    """Texts in quotes, with doubled quotes, commas and line ends in them."""
    types = {"id": "int64", "said": "string", "note": "string"}
    found = _single(f"quoted-{rows}", rows, types, lambda path: _make(_QUOTED, rows, path))
    return Dataset(found.name, rows, found.files, found.glob, types, newlines=True)


def gzipped(rows: int) -> Dataset:
    """The seed in one gzip file."""
    make = ", COMPRESSION gzip"
    return _single(f"seed-{rows}", rows, _SEED_TYPES, lambda path: _make(_SEED, rows, path, make), ".csv.gz")


def small_files(count: int, rows: int) -> Dataset:
    """Many files of few rows."""
    folder = FOLDER / f"{_VERSION}-small-{count}x{rows}"
    if not folder.exists():
        text = seed(rows).files[0].read_bytes()
        temporary = folder.with_suffix(f".{os.getpid()}")
        temporary.mkdir(parents=True)
        for number in range(count):
            (temporary / f"{number:05}.csv").write_bytes(text)
        os.replace(temporary, folder)
    files = tuple(sorted(folder.glob("*.csv")))
    return Dataset(f"small-{count}x{rows}", count * rows, files, f"{folder}/*.csv", _SEED_TYPES)


def _make(query: str, rows: int, path: Path, options: str = "") -> None:
    """In a process of its own, so that the memory of making it is not ours."""
    subprocess.run([sys.executable, "-c", _MAKE, query, str(rows), str(path), options], check=True)


def _single(name: str, rows: int, types: dict[str, str], make: Callable[[Path], None], suffix: str = ".csv") -> Dataset:
    path = FOLDER / f"{_VERSION}-{name}{suffix}"
    if not path.exists():
        FOLDER.mkdir(exist_ok=True)
        temporary = path.with_name(f"{os.getpid()}-{path.name}")
        make(temporary)
        os.replace(temporary, path)
    # Read it once: every tool then finds it in the page cache.
    with path.open("rb", buffering=0) as file:
        while file.read(8 << 20):
            pass
    return Dataset(name, rows, (path,), str(path), types)
