"""JSON files: lines of objects, arrays of objects, or an array inside a document; streamed, never loaded whole."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from itertools import islice
from typing import Any, Literal

import pyarrow as pa
from dativo_plugin_sdk import DativoError, FileReader, InputFile, Options, ReadPlan, ReadRequest, Split, ValidationError
from dativo_plugin_sdk.arrow import parse_type, schema_text, types_of
from dativo_plugin_sdk.files import Compression, compression_of, stem_suffix
from dativo_plugin_sdk.remote import is_remote
from dativo_plugin_sdk.rows import Rows
from pydantic import Field

from ._json_native import Block, blocks, is_native, lines_again, lines_before, native_lines, open_part, starts
from ._json_stream import JsonStream, lines_of
from ._text import TextInput
from ._unchanged import KEY, listed, while_unchanged

_ROWS = 8192
_SAMPLED_FILES = 64


class JsonOptions(Options):
    """How JSON files are read."""

    format: Literal["auto", "lines", "document"] = Field("auto", description="auto: lines for .jsonl and .ndjson")
    records_path: str | None = Field(None, description="keys, joined by dots, that lead to the array: data.items")
    encoding: str = Field("utf-8", description="a BOM wins over it")
    bad_lines: Literal["error", "skip"] = Field("error", description="lines that are no object; for lines alone")
    infer_rows: int = Field(10_000, ge=1, le=2**31, description="rows sampled over the files to infer types")
    compression: Compression = Field("auto", description="auto: by the file's suffix")
    max_value_bytes: int = Field(256 << 20, ge=1, description="a longer record is an error")


class JsonReader(FileReader):
    """Reads objects as rows; nested values become structs and lists. One split a file, several of a large one of lines."""

    suffixes = (".json", ".jsonl", ".ndjson")
    remote = True
    Options = JsonOptions

    def plan_files(self, files: tuple[InputFile, ...], request: ReadRequest) -> ReadPlan:
        sampled = files[:: max(1, len(files) // _SAMPLED_FILES)]
        each = max(1, -(-self.options.infer_rows // len(sampled)))
        sample = [row for file in sampled for row in islice(self._rows(file.path), each)]
        rows = Rows(request.schema, request.widen)
        others = f" and {len(sampled) - 1} other files" if len(sampled) > 1 else ""
        for _ in _batches(rows, sample, files[0].path + others):
            pass
        types = types_of(rows.schema) or types_of(request.schema)
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
            splits=tuple(split for file in files for split in self._splits(file, payload, request.parallelism)),
            schema=schema,
            applied=frozenset({"columns"} | ({"limit"} if len(files) == 1 else set())),
        )

    def _splits(self, file: InputFile, payload: Mapping[str, Any], threads: int) -> Iterator[Split]:
        """One for the file; several where it is plain lines on this machine that are parsed natively."""
        options = self.options
        plain = options.encoding.lower() in ("utf-8", "utf8") and payload["limit"] is None and not is_remote(file.path)
        plain &= compression_of(file.path, options.compression) == "none" and self._reads_lines(file.path)
        found = starts(file.path, file.size_bytes, threads) if plain and is_native() else [0]
        as_listed = listed(self, file)
        if len(found) == 1:
            yield Split(
                file.key, {**payload, "file": file.path, KEY: as_listed}, bytes=file.size_bytes, version=file.version
            )
            return
        for index, (start, end) in enumerate(zip(found, [*found[1:], file.size_bytes], strict=True)):
            part = {**payload, "file": file.path, KEY: as_listed, "part": [start, end]}
            yield Split(f"{file.key}#{index:05}", part, bytes=end - start, version=file.version)

    def read(self, split: Split) -> Iterator[pa.RecordBatch]:
        return while_unchanged(self, split, self._read_split(split))

    def _read_split(self, split: Split) -> Iterator[pa.RecordBatch]:
        path, limit, everything = split.payload["file"], split.payload["limit"], split.payload["all"]
        schema = pa.schema([(name, parse_type(text)) for name, text in split.payload["schema"].items()])
        lines = native_lines(schema, not everything) if limit is None and self._reads_lines(path) else None
        if lines is None:
            yield from self._converted(islice(self._rows(path), limit), schema, everything, path)
            return
        skipped, row = 0, 1
        start, end = split.payload.get("part", (0, None))
        with self._text(path, start, end) as source:
            for block in blocks(source, lines):
                self.raise_if_cancelled()
                if block.batch is not None:
                    yield block.batch
                    row += block.batch.num_rows
                else:
                    rows, bad = yield from self._by_python(block, schema, everything, path, row, start)
                    row, skipped = row + rows, skipped + bad
        self._note_skipped(path, skipped)

    def _by_python(
        self, block: Block, schema: pa.Schema, everything: bool, path: str, row: int, start: int
    ) -> Generator[pa.RecordBatch, None, tuple[int, int]]:
        """The rows of lines that are not plain; how many, and how many lines were left out."""
        skipped = rows = 0

        def objects(first: int) -> Iterator[dict[str, Any]]:
            nonlocal skipped
            with lines_again(block.text, path, first) as source:
                skipped = yield from lines_of(source, self.options.bad_lines == "skip")

        try:
            for batch in self._converted(objects(block.first), schema, everything, path, row):
                rows += batch.num_rows
                yield batch
        except ValidationError:
            if start:  # once more, for the place in the file
                lines, before = lines_before(path, start)
                for _ in self._converted(objects(lines + block.first), schema, everything, path, before + row):
                    pass
            raise
        return rows, skipped

    def _converted(
        self, objects: Iterator[dict[str, Any]], schema: pa.Schema, everything: bool, path: str, row: int = 1
    ) -> Iterator[pa.RecordBatch]:
        """Objects as batches. row: the first one's number."""
        rows = Rows(schema=schema)
        if not everything:
            objects = ({name: found.get(name) for name in schema.names} for found in objects)
        while batch := list(islice(objects, _ROWS)):
            self.raise_if_cancelled()
            yield from _batches(rows, batch, path, row)
            row += len(batch)

    def _rows(self, path: str) -> Iterator[dict[str, Any]]:
        with self._text(path) as source:
            if self._reads_lines(path):
                self._note_skipped(path, (yield from lines_of(source, self.options.bad_lines == "skip")))
            else:
                yield from JsonStream(source, self.options.max_value_bytes).rows(self.options.records_path)

    def _note_skipped(self, path: str, lines: int) -> None:
        if lines:
            self.note(f"{path}: {lines} lines that are no JSON object were left out")

    def _text(self, path: str, start: int = 0, end: int | None = None) -> TextInput:
        """A file as text, or its bytes `start..end`, where those are text as they stand."""
        options = self.options
        if end is None:
            return TextInput(path, options.encoding, options.compression, open_file=self.open_file)
        return TextInput(path, open_file=lambda _path, _compression: open_part(path, start, end))

    def _reads_lines(self, path: str) -> bool:
        if self.options.format == "auto":
            says = self.source_config.reader == "jsonl" or stem_suffix(path) in (".jsonl", ".ndjson")
        else:
            says = self.options.format == "lines"
        return says and self.options.records_path is None


def _batches(rows: Rows, objects: list[dict[str, Any]], path: str, row: int = 1) -> Iterator[pa.RecordBatch]:
    """row: the first object's number. Raises: DativoError: naming the file and the rows."""
    place = {"file": path, "rows": [row, row + len(objects) - 1]}
    try:
        yield from rows.convert(objects)
    except UnicodeEncodeError as error:
        raise ValidationError(
            f"{path}: a text holds half of a surrogate pair, {error.object[error.start]!r}, which is no character",
            details=place,
            hint="have the file written with whole characters",
        ) from error
    except DativoError as error:
        raise error.at(**place) from error
