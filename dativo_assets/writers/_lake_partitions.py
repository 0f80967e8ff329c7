"""Rows of some partitions taken out of a lake's table: files that hold other rows too are written anew without them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from dativo_plugin_sdk.partition_rows import PartitionSelection

from ._lake_files import PartFiles
from ._lake_merge import read_file
from ._lake_table import LakeFile, LakeStore, LakeTable


def take_out(
    store: LakeStore,
    table: LakeTable,
    replaces: PartitionSelection,
    schema: pa.Schema,
    kept: PartFiles,
    *,
    all_of: bool,
) -> list[LakeFile]:
    """The files that go; their rows of other partitions are in `kept` then. schema: of all columns. all_of: whether every
    file has to be written anew.
    """
    places = pa.schema([schema.field(part.column) for part in replaces.ranges if part.column in table.columns.names])
    if len(places) < len(replaces.ranges):
        return []  # no row of the table has a place yet
    ranges: dict[str, Any] = {}
    for part in replaces.ranges:
        if part.start is not None:
            low, high = part.bounds(table.columns.field(part.column).type)
            ranges[part.column] = (low.as_py(), high.as_py())
    removed = []
    for file in table.files() if all_of else table.files(ranges):
        inside = any(pc.any(replaces.mask(rows)).as_py() for rows in read_file(store, table, file, places))
        if inside or all_of:
            removed.append(file)
            for rows in read_file(store, table, file, schema):
                kept.write(rows.filter(pc.invert(replaces.mask(rows))))
    return removed
