"""A library's reader as a level-3 reader."""

from __future__ import annotations

import json
from collections.abc import Mapping
from ctypes import byref
from dataclasses import replace
from typing import Any, ClassVar

from dativo_plugin_sdk.deferred import options_dict
from dativo_plugin_sdk.errors import DativoError
from dativo_plugin_sdk.file_news import InputFile
from dativo_plugin_sdk.files import FileReader
from dativo_plugin_sdk.models import ConnectionTestResult, DiscoveryResult, ReadPlan, ReadRequest, SourceConfig, Split
from dativo_plugin_sdk.native import plan_of, request_json
from dativo_plugin_sdk.reader import BaseReader

from .host import Lent
from .load import Library, is_count
from .stream import LibraryStream, exported, filled_schema, import_schema


class LibraryReader(BaseReader):
    """A reader in a shared library. A subclass, made as it is loaded, gives `library` and `Options`."""

    library: ClassVar[Library]

    def __init__(self, source_config: SourceConfig, files: FileReader | None = None) -> None:
        """files: what opens files by URI; one of this source where it is None."""
        super().__init__(source_config)
        self.library.secrets.keep(source_config.credentials, source_config.connection)
        options = options_dict(self.options)
        config = source_config.model_copy(update={"options": options, "checked_options": None})
        self._lent = Lent(
            files or FileReader(source_config.model_copy(update={"options": {}, "checked_options": None}))
        )
        told = {**config.model_dump(), "storage": self._lent.name}
        self._reader = self.library.make("create", "close", json.dumps(told).encode())

    @classmethod
    def describe(cls) -> str:
        return json.dumps(cls.library.about)

    def check_connection(self) -> ConnectionTestResult:
        return checked(self.library, self._reader.pointer) or super().check_connection()

    def discover(self) -> DiscoveryResult:
        if not self.library.has("discover"):
            return super().discover()
        found = self.library.answer("discover", dict, self._reader.pointer)
        objects = found.get("objects")
        if not isinstance(objects, list) or not all(isinstance(one, dict) for one in objects):
            raise self.library.broken("discover answered no array of objects")
        metadata = found.get("metadata")
        if not isinstance(metadata, dict | None):
            raise self.library.broken("discover answered metadata that are no object")
        return DiscoveryResult(objects, metadata)

    def probe(self, cursor: Mapping[str, Any] | None) -> str | None:
        if not self.library.has("probe"):
            return super().probe(cursor)
        text = json.dumps(cursor).encode()
        found: str | None = self.library.answer("probe", (str, type(None)), self._reader.pointer, text)
        return found

    def plan(self, request: ReadRequest) -> ReadPlan:
        if not self.library.has("plan"):
            return super().plan(request)
        text = request_json(request).encode()
        with exported(request.schema) as declared, filled_schema() as schema:
            value = self.library.answer("plan", dict, self._reader.pointer, text, declared, byref(schema))
            known = import_schema(self.library, schema) if schema.release else None
        if fault := _plan_fault(value):
            raise self.library.broken(f"plan answered what is no plan: {fault}")
        plan = plan_of(json.dumps(value), known)
        # Its batches go through a conversion that holds them to the plan's schema.
        return replace(plan, schema_text=None, unchanged=bool(value.get("unchanged")))

    def read(self, split: Split) -> LibraryStream:
        return LibraryStream(self.library, self._reader, json.dumps(split.to_dict()).encode(), lambda: self.cancelled)

    def cancel(self) -> None:
        super().cancel()
        if self.library.has("cancel"):
            self.library.functions["cancel"](self._reader.pointer)


class LibraryFileReader(FileReader):
    """A reader of files in a shared library: which files there are, and which are new, is found here. A subclass gives `whole`,
    which reads them.
    """

    remote = True
    whole: ClassVar[type[LibraryReader]]

    def plan_files(self, files: tuple[InputFile, ...], request: ReadRequest) -> ReadPlan:
        found = {"files": tuple(file.path for file in files), "incremental": None}
        self._reader = self.whole(self.source_config.model_copy(update=found), self)
        return self._reader.plan(request)

    @classmethod
    def describe(cls) -> str:
        return cls.whole.describe()

    def read(self, split: Split) -> LibraryStream:
        return self._reader.read(split)

    def cancel(self) -> None:
        super().cancel()
        reader = getattr(self, "_reader", None)
        if reader is not None:
            reader.cancel()


def _plan_fault(value: dict[str, Any]) -> str | None:
    """What of a plan is not as the header says."""
    splits, cursor = value.get("splits"), value.get("cursor")
    if not isinstance(splits, list) or not all(isinstance(split, dict) for split in splits):
        return "splits is no array of objects"
    for split in splits:
        if not isinstance(split.get("id"), str | int):
            return f"a split's id is {split.get('id')!r}, no text"
        if not isinstance(split.get("payload"), dict | None):
            return f"the payload of split {split['id']} is no object"
        if not all(split.get(name) is None or is_count(split[name]) for name in ("rows", "bytes")):
            return f"the rows or bytes of split {split['id']} are no counts"
        if not isinstance(split.get("version"), str | None):
            return f"the version of split {split['id']} is no text"
    if not isinstance(cursor, dict | None):
        return f"cursor is {cursor!r}, neither an object nor null"
    for name in ("applied", "notes"):
        texts = value.get(name) or []
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            return f"{name} is no array of texts"
    return None


def checked(library: Library, pointer: int) -> ConnectionTestResult | None:
    """What `check` answered; None where the library has none."""
    if not library.has("check"):
        return None
    try:
        found = library.answer("check", dict, pointer)
    except DativoError as error:
        return ConnectionTestResult(False, str(error), error.error_code, error.details)
    if not isinstance(found.get("success"), bool) or not isinstance(found.get("message"), str):
        raise library.broken("check answered no success and message")
    code, details = found.get("error_code"), found.get("details")
    return ConnectionTestResult(
        found["success"],
        found["message"],
        code if isinstance(code, str) else None,
        details if isinstance(details, dict) else None,
    )
