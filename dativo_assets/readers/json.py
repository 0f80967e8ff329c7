"""JSON files: lines of objects, arrays of objects, or an array inside a document; streamed, never loaded whole."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Literal

import pyarrow as pa
from dativo_plugin_sdk import DativoError, FileReader, InputFile, Options, ReadPlan, ReadRequest, Split, ValidationError
from dativo_plugin_sdk.arrow import as_schema, parse_type, schema_text
from dativo_plugin_sdk.files import Compression, stem_suffix
from dativo_plugin_sdk.rows import Rows
from pydantic import Field

from ._json_stream import JsonStream, lines_of
from ._text import TextInput

_ROWS = 8192
_SAMPLED_FILES = 64


class JsonOptions(Options):
    """How JSON files are read."""

    format: Literal["auto", "lines", "document"] = Field("auto", description="auto: lines for .jsonl and .ndjson")
    records_path: str | None = Field(None, description="keys, joined by dots, that lead to the array: data.items")
    encoding: str = Field("utf-8", description="a BOM wins over it")
    bad_lines: Literal["error", "skip"] = Field("error", description="lines that are no object; for lines alone")
    infer_rows: int = Field(10_000, ge=1, description="rows sampled over the files to infer types")
    compression: Compression = Field("auto", description="auto: by the file's suffix")
    max_value_bytes: int = Field(256 << 20, ge=1, description="a longer record is an error")


class JsonReader(FileReader):
    """Reads objects as rows; nested values become structs and lists. One split a file."""

    suffixes = (".json", ".jsonl", ".ndjson")
    remote = True
    Options = JsonOptions

    def plan_files(self, files: tuple[InputFile, ...], request: ReadRequest) -> ReadPlan:
        sampled = files[:: max(1, len(files) // _SAMPLED_FILES)]
        each = max(1, -(-self.options.infer_rows // len(sampled)))
        sample = [row for file in sampled for row in islice(self._rows(file.path), each)]
        rows = Rows(request.schema, request.widen)
        for _ in rows.convert(sample):
            pass
        types = {field.name: field.type for field in rows.schema}
        if not types and request.schema is not None:
            types = {field.name: field.type for field in as_schema(request.schema)}
        if not types:
            raise ValidationError(
                f"{files[0].path} holds no rows, so its columns are unknown",
                details={"file": files[0].path},
                hint="declare a contract, or leave the file out of source.files",
            )
        wanted = list(types) if request.columns is None else list(request.columns)
        unknown = [name for name in wanted if name not in types]
        if unknown:
            raise ValidationError(f"no row has {unknown[0]!r}", hint=f"columns are: {', '.join(types)}")
        schema = pa.schema([(name, types[name]) for name in wanted])
        payload = {"schema": schema_text(schema), "all": request.columns is None, "limit": request.limit}
        return ReadPlan(
            splits=tuple(Split(file.key, {**payload, "file": file.path}, bytes=file.size_bytes) for file in files),
            schema=schema,
            applied=frozenset({"columns"} | ({"limit"} if len(files) == 1 else set())),
        )

    def read(self, split: Split) -> Iterator[pa.RecordBatch]:
        path, left = split.payload["file"], split.payload["limit"]
        schema = pa.schema([(name, parse_type(text)) for name, text in split.payload["schema"].items()])
        rows, objects, row = Rows(schema=schema), self._rows(path), 1
        if not split.payload["all"]:
            objects = ({name: found.get(name) for name in schema.names} for found in objects)
        while batch := list(islice(objects, _ROWS if left is None else min(_ROWS, left))):
            self.raise_if_cancelled()
            try:
                yield from rows.convert(batch)
            except DativoError as error:
                raise error.at(file=path, rows=[row, row + len(batch) - 1]) from error
            row += len(batch)
            left = None if left is None else left - len(batch)

    def _rows(self, path: str) -> Iterator[dict[str, Any]]:
        options = self.options
        lines = options.format == "lines" or (options.format == "auto" and self._says_lines(path))
        with TextInput(path, options.encoding, options.compression, open_file=self.open_file) as source:
            if lines and options.records_path is None:
                skipped = yield from lines_of(source, options.bad_lines == "skip")
                if skipped:
                    self.note(f"{path}: {skipped} lines that are no JSON object were left out")
            else:
                yield from JsonStream(source, options.max_value_bytes).rows(options.records_path)

    def _says_lines(self, path: str) -> bool:
        return self.source_config.reader == "jsonl" or stem_suffix(path) in (".jsonl", ".ndjson")
