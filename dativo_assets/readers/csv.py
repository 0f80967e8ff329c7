"""CSV files in bounded memory: pyarrow's tokenizer where it is exactly right, and exact errors where a file is not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa
from dativo_plugin_sdk import (
    CsvOptions,
    FileReader,
    InputFile,
    ReadPlan,
    ReadRequest,
    SchemaMismatchError,
    Split,
    ValidationError,
)
from dativo_plugin_sdk.arrow import parse_type, schema_text, types_of

from ._cells import Cells
from ._detect import detect
from ._dialect import Dialect
from ._grammar import Grammar, Misfit, parseable
from ._text import TextInput
from ._unchanged import KEY, listed, while_unchanged

_SAMPLED_FILES = 64
_SHOWN_CHARACTERS = 40


@dataclass(frozen=True)
class _Head:
    """What one file calls its columns, and how it is written down; names is None for a file without a row.

    named: whether its first record holds the names.
    """

    names: tuple[str, ...] | None
    dialect: Dialect
    named: bool

    def payload(self) -> dict[str, Any]:
        """As JSON, for a split."""
        return {"names": self.names, "dialect": asdict(self.dialect), "named": self.named}


class CsvReader(FileReader):
    """Reads CSV. Types come from the contract where every value fits, else from a sample; nothing is changed in silence.

    A later value outside its column's type raises SchemaMismatchError, upon which the run starts over with a wider type.
    """

    suffixes = (".csv", ".tsv", ".txt", ".psv")
    remote = True
    Options = CsvOptions

    def plan_files(self, files: tuple[InputFile, ...], request: ReadRequest) -> ReadPlan:
        declared = types_of(request.schema)
        head, first = self._columns(files, tuple(declared))
        names = head.names or ()
        wanted = names if request.columns is None else request.columns
        unknown = [name for name in wanted if name not in names]
        if unknown:
            raise ValidationError(
                f"{first} has no column {unknown[0]!r}",
                details={"file": first, "column": unknown[0]},
                hint=f"columns are: {', '.join(names)}",
            )
        schema, inferred = self._types(files, head, wanted, declared, request.widen)
        payload: dict[str, Any] = {
            **head.payload(),
            "schema": schema_text(schema),
            "inferred": inferred,
            "limit": request.limit,
            "batch_bytes": request.batch_bytes,
            "first": first,
        }
        splits = tuple(
            Split(
                file.key,
                {**payload, "file": file.path, KEY: listed(self, file)},
                bytes=file.size_bytes,
                version=file.version,
            )
            for file in files
        )
        applied = {"columns", "schema"} | ({"limit"} if len(splits) == 1 else set())
        notes = self._found(head, first)
        if inferred and self.options.infer_types:
            notes.append("types inferred: " + ", ".join(f"{name} {payload['schema'][name]}" for name in inferred))
        return ReadPlan(splits=splits, schema=schema, applied=frozenset(applied), notes=tuple(notes))

    def read(self, split: Split) -> Iterator[pa.RecordBatch]:
        return while_unchanged(self, split, self._read_split(split))

    def _read_split(self, split: Split) -> Iterator[pa.RecordBatch]:
        path, left = split.payload["file"], split.payload["limit"]
        schema = pa.schema([(name, parse_type(text)) for name, text in split.payload["schema"].items()])
        inferred, grammar = frozenset(split.payload["inferred"]), Grammar.of(self.options)
        row = 1
        texts_of = self._cells(path, split.payload, schema.names)
        for texts in texts_of:
            self.raise_if_cancelled()
            texts = texts if left is None else texts.slice(0, left)
            arrays = [
                self._parse(grammar, texts.column(name), schema.field(name), name in inferred, texts_of, row)
                for name in schema.names
            ]
            yield pa.record_batch(arrays, schema=schema)
            row += texts.num_rows
            left = None if left is None else left - texts.num_rows
            if left == 0:
                return
        if texts_of.skipped:
            self.note(f"{split.id}: {texts_of.skipped} rows of another length were left out")

    # -- columns ---------------------------------------------------------------------------------------------------

    def _columns(self, files: Sequence[InputFile], declared: tuple[str, ...]) -> tuple[_Head, str]:
        """What the files are like, and the one that says so: the first that has a row."""
        for file in files:
            head = self._head(file.path)
            if head.names is not None:
                break
        if head.names is None:
            names = self.options.column_names or declared
            if not names:
                raise ValidationError(
                    f"{files[0].path} is empty: it has neither a header nor a row",
                    details={"file": files[0].path},
                    hint="set options.column_names, declare a contract, or leave the file out of source.files",
                )
            return replace(head, names=tuple(names)), files[0].path
        names = head.names
        if self.options.column_names is not None:
            names = self.options.column_names
            if len(names) != len(head.names):
                raise ValidationError(
                    f"{file.path} has {len(head.names)} columns, options.column_names {len(names)}",
                    details={"file": file.path, "expected": len(names), "found": len(head.names)},
                    hint="give one name for each column",
                )
        elif not head.named:
            same = len(declared) == len(names)
            names = declared if same else tuple(f"column_{index}" for index in range(1, len(names) + 1))
        _check_names(names, file.path)
        return replace(head, names=names), file.path

    def _head(self, path: str) -> _Head:
        with self._open(path) as source:
            dialect, named = detect(self.options, source)
        with self._open(path) as source:
            record = next(dialect.records(source, 0 if named else 1), None)
            if record is None:
                return _Head(None, dialect, named)
            if b"\0" in record.text:
                raise ValidationError(
                    f"{path}:{record.line}: the first row holds NUL bytes",
                    details={"file": path, "line": record.line},
                    hint="set options.encoding to utf-16 (or the file's own), if it is a text file at all",
                )
            fields = dialect.fields(record)
            limit = self.options.max_field_bytes
            long = next((index for index, (text, _) in enumerate(fields) if len(text.encode()) > limit), None)
            if named and long is not None:
                raise ValidationError(
                    f"{path}:{record.line}: a name in the header is longer than {limit:,} bytes",
                    "FIELD_TOO_LONG",
                    {"file": path, "line": record.line, "byte": record.byte + dialect.start_of(record, long)},
                    hint="is this a text file?",
                )
            return _Head(self._strip(fields), dialect, named)

    def _found(self, head: _Head, path: str) -> list[str]:
        """What was found in the files rather than said by the job."""
        options, dialect = self.options, head.dialect
        found = []
        if options.delimiter in (None, "auto"):
            found.append(f"delimiter {dialect.delimiter!r}")
        if options.quote_char == "auto":
            found.append(f"quote {dialect.quote!r}")
        if options.escape_char == "auto":
            found.append(f"escape {dialect.escape!r}" if dialect.escape else "no escape")
        if options.header == "auto":
            found.append("header" if head.named else "no header")
        if options.encoding == "auto":
            with self._open(path) as source:
                found.append(f"encoding {source.encoding}")
        return [f"detected: {', '.join(found)}"] if found else []

    def _strip(self, fields: list[tuple[str, bool]]) -> tuple[str, ...]:
        return tuple(text.strip(" ") if self.options.trim and not quoted else text for text, quoted in fields)

    def _types(
        self,
        files: Sequence[InputFile],
        head: _Head,
        wanted: Sequence[str],
        declared: Mapping[str, pa.DataType],
        widen: Mapping[str, str],
    ) -> tuple[pa.Schema, list[str]]:
        """The schema to emit, and which of its columns were inferred."""
        types = {
            name: declared[name] if parseable(declared[name]) else pa.string() for name in wanted if name in declared
        }
        types.update({name: parse_type(text) for name, text in widen.items() if name in wanted})
        inferred = [name for name in wanted if name not in declared and name not in widen]
        if inferred and self.options.infer_types:
            step = max(1, len(files) // _SAMPLED_FILES)
            sampled = files[::step]
            rows = max(1, -(-self.options.infer_rows // len(sampled)))
            payload = {**head.payload(), "batch_bytes": 1 << 20, "first": files[0].path}
            columns: dict[str, list[pa.Array]] = {name: [] for name in inferred}
            for file in sampled:
                left = rows
                for texts in self._cells(file.path, payload, inferred):
                    for name in inferred:
                        columns[name].append(texts.column(name).slice(0, left))
                    left -= texts.num_rows
                    if left <= 0:
                        break
            grammar = Grammar.of(self.options)
            for name, arrays in columns.items():
                types[name] = grammar.infer(pa.concat_arrays(arrays)) if arrays else pa.string()
        return pa.schema([(name, types.get(name, pa.string())) for name in wanted]), inferred

    # -- cells -----------------------------------------------------------------------------------------------------

    def _cells(self, path: str, payload: Mapping[str, Any], wanted: Sequence[str]) -> Cells:
        """The wanted columns of one file as text."""
        names, named, dialect = tuple(payload["names"]), payload["named"], Dialect(**payload["dialect"])
        with self._open(path) as source:
            header = next(dialect.records(source, 0), None) if named else None
        if header is not None and self.options.column_names is None:
            found = self._strip(dialect.fields(header))
            if found != names:
                _check_names(found, path)
                _check_same(found, names, path, payload["first"])
                names = found

        def open_data() -> TextInput:
            source = self._open(path, dialect.quote)
            if named:
                next(dialect.records(source, 0), None)
            return source

        return Cells(path, open_data, dialect, self.options, names, wanted, payload["batch_bytes"])

    def _open(self, path: str, quote: str | None = None) -> TextInput:
        """The file behind the lines to leave out. quote: the character to count."""
        options = self.options
        source = TextInput(
            path, options.encoding, options.compression, quote=quote, end_last_line=True, open_file=self.open_file
        )
        for _ in range(options.skip_rows):
            if not source.readline():
                break
        return source

    def _parse(
        self, grammar: Grammar, texts: pa.Array, field: pa.Field, inferred: bool, cells: Cells, row: int
    ) -> pa.Array:
        """row: of the first text, among those that the cells gave."""
        try:
            return grammar.parse(texts, field.type)
        except Misfit as misfit:
            float_too = inferred and pa.types.is_integer(field.type) and grammar.infers(texts, pa.float64())
            value = texts[misfit.index].as_py()
            shown = value if len(value) <= _SHOWN_CHARACTERS else value[:_SHOWN_CHARACTERS] + "..."
            place = cells.place(row + misfit.index, field.name)
            raise SchemaMismatchError(
                f"{cells.path}: row {place['row']}: {shown!r} in column {field.name!r} is no {field.type}",
                details={"file": cells.path, **place},
                column=field.name,
                widen_to="double" if float_too else "string",
            ) from None


def _check_names(names: Sequence[str], path: str) -> None:
    for index, name in enumerate(names):
        if not name:
            raise ValidationError(
                f"{path}: column {index + 1} has no name",
                details={"file": path, "position": index + 1},
                hint="name it in the file, or give all names in options.column_names",
            )
        if name in names[:index]:
            raise ValidationError(
                f"{path}: columns {names.index(name) + 1} and {index + 1} are both named {name!r}",
                details={"file": path, "column": name},
                hint="rename one in the file, or give all names in options.column_names",
            )


def _check_same(found: Sequence[str], names: Sequence[str], path: str, first: str) -> None:
    lacks = [name for name in names if name not in found]
    adds = [name for name in found if name not in names]
    if lacks or adds:
        parts = [f"lacks {', '.join(map(repr, lacks))}"] * bool(lacks) + [f"adds {', '.join(map(repr, adds))}"] * bool(
            adds
        )
        raise ValidationError(
            f"{path} has other columns than {first}: it {' and '.join(parts)}",
            details={"file": path, "missing": lacks, "extra": adds},
            hint="read files of different columns in different jobs",
        )
