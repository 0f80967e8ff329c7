"""Rows that a plugin hands over one by one or as JSON text, as columns: `python -m benchmarks --only rows`."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
from dativo_ingest.config import SourceConfig
from dativo_ingest.rust_plugin_bridge import create_rust_reader_wrapper
from dativo_plugin_sdk import ReadRequest
from dativo_plugin_sdk.arrow import parse_type
from dativo_plugin_sdk.rows import to_batches

BATCH_ROWS = 10_000
Times = dict[str, list[float]]
Batches = list[list[dict[str, Any]]]


def measure(file: str, types: dict[str, str], folder: str, rounds: int) -> tuple[Times, Times]:
    """Seconds that each way takes for the rows of a CSV file, in batches of 10,000: as dicts, then as JSON of a library. In a
    round each has one go.
    """
    schema = pa.schema([(name, parse_type(text)) for name, text in types.items()])
    options = pyarrow.csv.ConvertOptions(column_types=schema, strings_can_be_null=True)
    table = pyarrow.csv.read_csv(file, convert_options=options)
    batches = [batch.to_pylist() for batch in table.to_batches(BATCH_ROWS)]
    dicts = {
        "Dativo": lambda: list(to_batches(iter(batches), schema)),
        "pyarrow.Table.from_pylist": lambda: [pa.Table.from_pylist(rows, schema) for rows in batches],
    }
    return _paired(dicts, rounds), _paired(_libraries(batches, schema, Path(folder)), rounds)


def _libraries(batches: Batches, schema: pa.Schema, folder: Path) -> dict[str, Callable[[], Any]]:
    """The rows from a library with the older JSON symbols, which reads them from a file."""
    text, library = folder / "batches.json", folder / "library.so"
    text.write_text("".join(json.dumps(rows, default=str) + "\n" for rows in batches))
    source = Path(__file__).with_name("json_library.c")
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    config = SourceConfig(type="custom", files=[str(text)])
    wrapper = create_rust_reader_wrapper(str(library))

    def ours() -> Sequence[pa.RecordBatch]:
        reader = wrapper(config)
        (split,) = reader.plan(ReadRequest(schema=schema)).splits
        return list(reader.read(split))

    plain = ctypes.CDLL(str(library))
    plain.create_reader.restype = plain.extract_batch.restype = ctypes.c_void_p
    plain.create_reader.argtypes = [ctypes.c_char_p]
    for function in (plain.extract_batch, plain.free_reader, plain.free_string):
        function.argtypes = [ctypes.c_void_p]
    settings = json.dumps({"files": [str(text)]}).encode()

    def theirs() -> Batches:
        found, reader = [], plain.create_reader(settings)
        while answer := plain.extract_batch(reader):
            found.append(json.loads(ctypes.string_at(answer)))
            plain.free_string(answer)
        plain.free_reader(reader)
        return found

    return {"Dativo": ours, "ctypes and json.loads, to dicts": theirs}


def _paired(ways: dict[str, Callable[[], Any]], rounds: int) -> Times:
    found: Times = {label: [] for label in ways}
    for number in range(rounds + 1):
        for label, way in ways.items():
            start = time.perf_counter()
            way()
            if number:  # the first warms the caches
                found[label].append(time.perf_counter() - start)
    return found


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3], int(sys.argv[4]))))
