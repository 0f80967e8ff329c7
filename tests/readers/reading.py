"""Runs a reader over files made for one test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
from dativo_plugin_sdk import BaseReader, ReadPlan, ReadRequest, SourceConfig, Split


def make(reader: type[BaseReader], root: Path, *files: str, **options: Any) -> BaseReader:
    """The reader over `files` of `root`."""
    return reader(SourceConfig(root=str(root), files=files, options=options, reader="test"))


def drain(reader: BaseReader, plan: ReadPlan) -> pa.Table:
    """All rows of the plan; its splits cross as JSON, as they do between processes."""
    splits = [Split.from_dict(json.loads(json.dumps(split.to_dict()))) for split in plan.splits]
    batches = [batch for split in splits for batch in reader.read(split)]
    return pa.Table.from_batches(batches, plan.schema)


def read(
    reader: type[BaseReader], root: Path, *files: str, request: ReadRequest | None = None, **options: Any
) -> pa.Table:
    """Plan and read."""
    made = make(reader, root, *files, **options)
    return drain(made, made.plan(request or ReadRequest()))
