"""Each tool's way to do one task, in a process of its own: `python -m benchmarks.tools TOOL TASK JSON`.

A task is told the column types, so that no tool spends time on guessing them, and uses all threads. `copy` is measured
from outside, as a whole process; `read` and `write` print the seconds of the work itself, imports left out.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Task = dict[str, Any]
"""files: CSV files. glob: the same as a pattern. types: {column: type}. out: a Parquet file or folder. codec. arrow: an Arrow
IPC file with the rows to write."""

_DUCKDB = {
    "int64": "BIGINT",
    "string": "VARCHAR",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp[us]": "TIMESTAMP",
}


@contextmanager
def timed() -> Iterator[None]:
    start = time.perf_counter()
    yield
    print(json.dumps({"seconds": time.perf_counter() - start}))


def _level(task: Task) -> int | None:
    return 1 if task["codec"] == "zstd" else None


# -- DuckDB ------------------------------------------------------------------------------------------------------------


def _duckdb(task: Task) -> tuple[Any, str]:
    import duckdb

    types = {name: _DUCKDB[kind] for name, kind in task.get("types", {}).items()}
    connection = duckdb.connect(config={"preserve_insertion_order": False})
    connection.execute("SET enable_progress_bar = false")
    return (
        connection,
        f"read_csv('{task.get('glob')}', header = true, auto_detect = false, columns = {types}, quote = '\"')",
    )


def _duckdb_parquet(task: Task) -> str:
    level = ", COMPRESSION_LEVEL 1" if _level(task) else ""
    return f"'{task['out']}' (FORMAT parquet, COMPRESSION {task['codec']}{level})"


def duckdb_copy(task: Task) -> None:
    connection, source = _duckdb(task)
    connection.execute(f"COPY (FROM {source}) TO {_duckdb_parquet(task)}")


def duckdb_read(task: Task) -> None:
    connection, source = _duckdb(task)
    with timed():
        for _ in connection.execute(f"FROM {source}").to_arrow_reader(1 << 16):
            pass


def duckdb_write(task: Task) -> None:
    connection, _ = _duckdb(task)
    connection.register("rows", _arrow(task))
    with timed():
        connection.execute(f"COPY (FROM rows) TO {_duckdb_parquet(task)}")


# -- Polars ------------------------------------------------------------------------------------------------------------


def _polars(task: Task) -> Any:
    import polars as pl

    types = {
        "int64": pl.Int64,
        "string": pl.String,
        "double": pl.Float64,
        "boolean": pl.Boolean,
        "date": pl.Date,
        "timestamp[us]": pl.Datetime("us"),
    }
    return pl.scan_csv(task["glob"], schema={name: types[kind] for name, kind in task["types"].items()})


def polars_copy(task: Task) -> None:
    _polars(task).sink_parquet(task["out"], compression=task["codec"], compression_level=_level(task))


def polars_read(task: Task) -> None:
    frame = _polars(task)
    with timed():
        frame.collect(engine="streaming").to_arrow()


def polars_write(task: Task) -> None:
    import polars as pl

    frame = pl.from_arrow(_arrow(task))
    with timed():
        frame.lazy().sink_parquet(task["out"], compression=task["codec"], compression_level=_level(task))


# -- DataFusion --------------------------------------------------------------------------------------------------------


def _datafusion(task: Task) -> Any:
    import datafusion

    gzip = task["glob"].endswith(".gz")
    options = datafusion.CsvReadOptions(
        schema=_pyarrow_schema(task),
        newlines_in_values=task["newlines"],
        file_extension=".csv.gz" if gzip else ".csv",
        file_compression_type="gzip" if gzip else "",
    )
    path = task["files"][0] if len(task["files"]) == 1 else str(Path(task["glob"]).parent)
    return datafusion.SessionContext().read_csv(path, options=options)


def datafusion_copy(task: Task) -> None:
    _datafusion(task).write_parquet(task["out"], compression=task["codec"], compression_level=_level(task))


def datafusion_read(task: Task) -> None:
    frame = _datafusion(task)
    with timed():
        for batch in frame.execute_stream():
            batch.to_pyarrow()


def datafusion_write(task: Task) -> None:
    import datafusion

    frame = datafusion.SessionContext().from_arrow(_arrow(task))
    with timed():
        frame.write_parquet(task["out"], compression=task["codec"], compression_level=_level(task))


# -- pyarrow -----------------------------------------------------------------------------------------------------------


def _pyarrow_schema(task: Task) -> Any:
    import pyarrow as pa

    types = {"double": pa.float64(), "boolean": pa.bool_(), "date": pa.date32(), "timestamp[us]": pa.timestamp("us")}
    types |= {"int64": pa.int64(), "string": pa.string()}
    return pa.schema([(name, types[kind]) for name, kind in task["types"].items()])


def _pyarrow(task: Task) -> Any:
    import pyarrow as pa
    import pyarrow.csv as csv

    options = csv.ConvertOptions(column_types=_pyarrow_schema(task), strings_can_be_null=True)
    parse = csv.ParseOptions(newlines_in_values=task.get("newlines", False))
    read = [csv.read_csv(file, csv.ReadOptions(block_size=8 << 20), parse, options) for file in task["files"]]
    return pa.concat_tables(read)


def _pyarrow_parquet(table: Any, task: Task) -> None:
    import pyarrow.parquet as pq

    pq.write_table(
        table, task["out"], compression=task["codec"], compression_level=_level(task), row_group_size=131_072
    )


def pyarrow_copy(task: Task) -> None:
    _pyarrow_parquet(_pyarrow(task), task)


def pyarrow_read(task: Task) -> None:
    import pyarrow.csv  # noqa: F401

    with timed():
        _pyarrow(task)


def pyarrow_write(task: Task) -> None:
    import pyarrow.parquet  # noqa: F401

    table = _arrow(task)
    with timed():
        _pyarrow_parquet(table, task)


# -- Dativo's plugins by themselves ------------------------------------------------------------------------------------


def dativo_read(task: Task) -> None:
    import os
    from concurrent.futures import ThreadPoolExecutor

    from dativo_plugin_sdk import ReadRequest, SourceConfig
    from dativo_rust_csv import RustCsvReader

    threads = len(os.sched_getaffinity(0))
    reader = RustCsvReader(SourceConfig(reader="rust_csv", files=tuple(task["files"])))

    def drain(split: Any) -> int:
        return sum(batch.num_rows for batch in reader.read(split))

    with timed():
        # Planned as `dativo run` plans it: a guess that is wrong fails the split before it.
        plan = reader.plan(ReadRequest(parallelism=threads, guess=True))
        with ThreadPoolExecutor(threads) as pool:
            sum(pool.map(drain, plan.splits))


def dativo_write(task: Task) -> None:
    import os

    from dativo_rust_parquet._native import Sink

    table = _arrow(task)
    context = {"parallelism": len(os.sched_getaffinity(0))}
    with timed():
        sink = Sink(task["out"], table.schema, json.dumps({"compression": task["codec"]}), json.dumps(context))
        sink.write_stream(table)
        sink.finish()


def _arrow(task: Task) -> Any:
    import pyarrow as pa

    with pa.OSFile(task["arrow"]) as source:
        return pa.ipc.open_file(source).read_all()


# -- for scale ---------------------------------------------------------------------------------------------------------


def pandas_copy(task: Task) -> None:
    import pandas as pd

    frame = pd.read_csv(task["files"][0], engine="pyarrow", dtype_backend="pyarrow")
    frame.to_parquet(task["out"], compression=task["codec"], compression_level=_level(task))


def csv_copy(task: Task) -> None:
    """Python's csv module, and pyarrow for the file."""
    import csv

    import pyarrow as pa

    with Path(task["files"][0]).open(newline="", encoding="utf-8") as stream:
        rows = csv.reader(stream)
        names = next(rows)
        columns = list(zip(*rows, strict=True))
    schema = _pyarrow_schema(task)
    texts = [pa.array([text or None for text in column], pa.string()) for column in columns]
    arrays = [text.cast(schema.field(name).type) for name, text in zip(names, texts, strict=True)]
    _pyarrow_parquet(pa.Table.from_arrays(arrays, schema=schema), task)


def dlt_copy(task: Task) -> None:
    import dlt
    from dlt.sources.filesystem import filesystem, read_csv_duckdb

    file, out = Path(task["files"][0]), Path(task["out"])
    rows = filesystem(bucket_url=file.parent.as_uri(), file_glob=file.name) | read_csv_duckdb(use_pyarrow=True)
    pipeline = dlt.pipeline(
        pipeline_name="benchmark",
        destination=dlt.destinations.filesystem(bucket_url=out.as_uri()),
        dataset_name="rows",
        pipelines_dir=str(out / "state"),
    )
    pipeline.run(rows.with_name("rows"), loader_file_format="parquet", write_disposition="replace")


def json_copy(task: Task) -> None:
    """Batches of 10,000 rows that cross the plugin boundary as JSON text, as the package before this one did it."""
    import csv
    from itertools import islice

    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _pyarrow_schema(task)
    read: dict[str, Callable[[str], Any]] = {
        "int64": int,
        "double": float,
        "boolean": lambda text: text == "true",
        "timestamp[us]": str,
        "date": str,
        "string": str,
    }
    convert = {name: read[kind] for name, kind in task["types"].items()}
    times = {name for name, kind in task["types"].items() if kind in ("timestamp[us]", "date")}
    carried = pa.schema([pa.field(field.name, pa.string() if field.name in times else field.type) for field in schema])
    with (
        Path(task["files"][0]).open(newline="", encoding="utf-8") as stream,
        pq.ParquetWriter(task["out"], schema, compression=task["codec"]) as writer,
    ):
        rows = csv.DictReader(stream)
        while batch := list(islice(rows, 10_000)):
            typed = [{name: convert[name](text) if text else None for name, text in row.items()} for row in batch]
            crossed = json.loads(json.dumps(typed))
            writer.write_table(pa.Table.from_pylist(crossed, schema=carried).cast(schema))


if __name__ == "__main__":
    tool, verb, details = sys.argv[1:4]
    text = Path(details[1:]).read_text() if details.startswith("@") else details
    globals()[f"{tool}_{verb}"](json.loads(text))
