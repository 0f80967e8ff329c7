"""A writer of JSON files, one a batch: lines or one array, gzipped if asked to. They land together, in one commit."""

import gzip
import json
from pathlib import Path
from typing import Any, Literal

from dativo_plugin_sdk import BaseWriter, Options
from pydantic import Field


class JsonOptions(Options):
    """How the files are written."""

    format: Literal["jsonl", "json"] = Field("jsonl", description="a row a line, or one array")
    gzip: bool = Field(False, description="whether the files are compressed")


class JsonFiles(BaseWriter):
    """Leaves its files below `output_base`; the pipeline makes them visible."""

    Options = JsonOptions

    def write_batch(self, records: list[dict[str, Any]], file_counter: int) -> list[dict[str, Any]]:
        rows = [json.dumps(record, default=str) for record in records]
        text = "\n".join(rows) + "\n" if self.options.format == "jsonl" else f"[{', '.join(rows)}]\n"
        suffix = f"{self.options.format}.gz" if self.options.gzip else self.options.format
        path = Path(self.output_base, f"part-{file_counter:08d}.{suffix}")
        path.write_bytes(gzip.compress(text.encode(), mtime=0) if self.options.gzip else text.encode())
        return [{"path": str(path), "size_bytes": path.stat().st_size, "record_count": len(records)}]
