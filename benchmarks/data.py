"""The benchmark's input: deterministic, made once, kept under benchmarks/.data."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDER = HERE / ".data"
_VERSION = 1

TYPES = {
    "id": "int64",
    "name": "string",
    "email": "string",
    "category": "string",
    "amount": "double",
    "quantity": "int64",
    "active": "boolean",
    "created_at": "timestamp[us]",
}

# A hash of the row's number stands in for chance, so that the same rows come out each time.
_MAKE = """
import duckdb, sys
rows, path = int(sys.argv[1]), sys.argv[2]
connection = duckdb.connect()
connection.execute("SET enable_progress_bar = false")
connection.execute(f'''
COPY (
    SELECT
        i + 1 AS id,
        'user ' || (hash(i, 1) % 1000000) AS name,
        'user' || i || '@mail' || (hash(i, 2) % 50) || '.example' AS email,
        ['books', 'garden', 'home, kitchen', 'music', 'sports', 'toys'][(hash(i, 3) % 6)::INT + 1] AS category,
        CASE WHEN hash(i, 4) % 100 >= 3 THEN ((hash(i, 5) % 10000000)::DECIMAL(18, 0) / 100)::DECIMAL(12, 2) END AS amount,
        (hash(i, 6) % 100)::INT AS quantity,
        hash(i, 7) % 2 = 0 AS active,
        strftime(TIMESTAMP '2024-01-01' + to_seconds((hash(i, 8) % 31536000)::BIGINT), '%Y-%m-%d %H:%M:%S') AS created_at
    FROM range({rows}) AS numbers(i)
) TO '{path}' (FORMAT csv, HEADER true)
''')
"""


def seed(rows: int) -> Path:
    """A CSV file of this many rows x 8 columns, about 90 bytes a row; made by a process of its own, so that the memory of
    making it is not ours."""
    path = FOLDER / f"seed-{_VERSION}-{rows}.csv"
    if not path.exists():
        FOLDER.mkdir(exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        subprocess.run([sys.executable, "-c", _MAKE, str(rows), str(temporary)], check=True)
        os.replace(temporary, path)
    # Read it once: every tool then finds it in the page cache.
    with path.open("rb", buffering=0) as file:
        while file.read(8 << 20):
            pass
    return path
