"""A writer of JSON files, one a batch: lines or one array, gzipped if asked to, and uploaded to an object store if asked to.

The files land together, in one commit. Objects are there before it: a run that fails in between leaves some, and the run that
follows puts the same rows under the same names.
"""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from dativo_plugin_sdk import BaseWriter, ConnectionError, Options
from pydantic import Field


class JsonOptions(Options):
    """How the files are written."""

    format: Literal["jsonl", "json"] = Field("jsonl", description="a row a line, or one array")
    gzip: bool = Field(False, description="whether the files are compressed")
    upload: str | None = Field(None, description="where a copy of each file goes: s3://bucket/prefix")


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

    def commit_files(self, file_metadata: list[dict[str, Any]]) -> dict[str, Any]:
        if self.options.upload is not None:
            self._upload([Path(file["path"]) for file in file_metadata], self.options.upload)
        return super().commit_files(file_metadata)

    def _upload(self, paths: list[Path], place: str) -> None:
        import obstore
        from obstore.exceptions import BaseError

        config: Any = {**self.target_config.connection, **self.target_config.credentials}
        try:
            store = obstore.store.from_url(place, config=config, client_options={"allow_http": True})
            for path in paths:
                digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
                obstore.put(store, f"{digest}{''.join(path.suffixes)}", path)
        except (BaseError, FileNotFoundError) as error:  # a bucket that isn't there is the latter
            reason = str(error).partition("\n")[0]
            raise ConnectionError(f"{place}: {reason}", hint="check the keys of the target's connection") from None
