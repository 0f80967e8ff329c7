"""Rows that a plugin hands over one by one, as columns: `python -m benchmarks --only rows`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.csv
from dativo_plugin_sdk.arrow import parse_type
from dativo_plugin_sdk.rows import to_batches

BATCH_ROWS = 10_000
Times = dict[str, list[float]]


def measure(file: str, types: dict[str, str], rounds: int) -> Times:
    """Seconds of each way to make columns of the rows of a CSV file, in batches of 10,000. In a round each has one go."""
    schema = pa.schema([(name, parse_type(text)) for name, text in types.items()])
    options = pyarrow.csv.ConvertOptions(column_types=schema, strings_can_be_null=True)
    batches = [
        batch.to_pylist() for batch in pyarrow.csv.read_csv(file, convert_options=options).to_batches(BATCH_ROWS)
    ]
    return _paired(
        {
            "Dativo": lambda: list(to_batches(iter(batches), schema)),
            "pyarrow.Table.from_pylist": lambda: [pa.Table.from_pylist(rows, schema) for rows in batches],
        },
        rounds,
    )


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
    print(json.dumps(measure(sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]))))
