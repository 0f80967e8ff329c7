"""A file that is edited between plan and read: its rows would be counted to a state of it that they are not of."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dativo_plugin_sdk import FileReader, ReadRequest, SourceConfig, TransientError

from dativo_assets.readers.csv import CsvReader
from dativo_assets.readers.json import JsonReader
from dativo_assets.readers.parquet import ParquetReader

READERS: dict[str, type[FileReader]] = {
    "csv": CsvReader,
    "json": JsonReader,
    "jsonl": JsonReader,
    "parquet": ParquetReader,
}


def write(path: Path, rows: int) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"id": range(rows)}), path, row_group_size=2)
        return
    lines = [f'{{"id": {row}}}' for row in range(rows)]
    texts = {".csv": "\n".join(["id", *map(str, range(rows))]) + "\n", ".json": f"[{','.join(lines)}]"}
    path.write_text(texts.get(path.suffix, "\n".join(lines) + "\n"))


@pytest.mark.parametrize("rows", [2, 4, 20], ids=["shorter", "of other content", "longer"])
@pytest.mark.parametrize("kind", READERS)
def test_a_file_that_was_replaced_since_the_plan_fails_the_run(tmp_path: Path, kind: str, rows: int) -> None:
    path = tmp_path / f"a.{kind}"
    write(path, 4)
    reader = READERS[kind](SourceConfig(root=str(tmp_path), files=(path.name,), reader=kind))
    plan = reader.plan(ReadRequest())
    assert sum(batch.num_rows for split in plan.splits for batch in reader.read(split)) == 4
    write(path.with_name(f"new.{kind}"), rows)
    os.replace(path.with_name(f"new.{kind}"), path)
    with pytest.raises(TransientError, match="changed while it was read") as raised:
        [list(reader.read(split)) for split in plan.splits]
    assert (raised.value.error_code, raised.value.details["file"]) == ("FILE_CHANGED", str(path))
