"""A plugin reference that loads its plugin in a child."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from dativo_plugin_sdk import API_VERSION, AssetDefinition, SourceConfig, TargetConfig
from dativo_plugin_sdk.files import STDIN
from dativo_plugin_sdk.version import ApiVersions, api_versions

from dativo_assets.artefacts import file_sha256
from dativo_assets.config.secrets import Redactor
from dativo_assets.registry import Plugin, PluginRef

from .process import Child
from .reader import IsolatedReader
from .settings import Isolation
from .writer import IsolatedWriter


@dataclass(frozen=True)
class IsolatedRef(PluginRef):
    """A found plugin that is never imported in this process. redactor: what the plugin prints goes through it."""

    settings: Isolation = field(default_factory=Isolation)
    redactor: Redactor = field(default_factory=Redactor, compare=False, repr=False)

    @classmethod
    def of(cls, ref: PluginRef, settings: Isolation, redactor: Redactor) -> IsolatedRef:
        known = {item.name: getattr(ref, item.name) for item in fields(PluginRef)}
        return cls(**known, settings=settings, redactor=redactor)

    def load(self) -> Plugin:
        """Start a child that imports the plugin, which is then the first to be used. Raises: PluginError."""
        return self._plugin

    @cached_property
    def _plugin(self) -> Plugin:
        self.check_api()
        host = _Host(self)
        factory = host.reader if self.kind == "reader" else host.writer
        return Plugin(self, host, factory, str(host.about.get("version", "")), host.sha256)

    def __getstate__(self) -> dict[str, Any]:
        return {item.name: getattr(self, item.name) for item in fields(self)}


class _Host:
    """What stands for a plugin's class: it answers for it, and makes readers or writers, each in a child of its own."""

    def __init__(self, ref: IsolatedRef) -> None:
        self._ref = ref
        self._lock = threading.Lock()
        self.sha256 = ref.record if ref.path is None else file_sha256(ref.path)
        self._spare: Child | None = self._start(stdin=False)
        self.about = self._ask("about")

    @property
    def api_version(self) -> ApiVersions:
        return api_versions(self.about.get("api_version") or API_VERSION)

    def describe(self) -> str:
        """As a native class describes itself."""
        return json.dumps({**self.about, "options_schema": self._ask("options_schema")})

    def query_tables(self, query: str) -> frozenset[str]:
        return frozenset(map(str, self._ask("query_tables", query=query)))

    def column_lineage(self, source: SourceConfig) -> Mapping[str, Iterable[tuple[str, str]]]:
        found = self._ask("column_lineage", config=json.loads(source.model_dump_json()))
        return {name: [(table, column) for table, column in parts] for name, parts in found.items()}

    def reader(self, config: SourceConfig) -> IsolatedReader:
        """A reader in a child of its own. Raises: DativoError: what its construction raised."""
        piped = STDIN in config.files
        child = None if piped else self._take()
        return IsolatedReader(config, child or self._start(stdin=piped))

    def writer(self, asset: AssetDefinition, config: TargetConfig) -> IsolatedWriter:
        """A writer in a child of its own. Raises: DativoError: what its construction raised."""
        return IsolatedWriter(asset, config, lambda: self._take() or self._start(stdin=False))

    def _start(self, *, stdin: bool) -> Child:
        return Child(self._ref, self._ref.settings, self._ref.redactor.redact, stdin=stdin)

    def _take(self) -> Child | None:
        with self._lock:
            child, self._spare = self._spare, None
        return child

    def _ask(self, method: str, **given: Any) -> Any:
        """Ask a child that has no reader yet, and keep it for one."""
        child = self._take() or self._start(stdin=False)
        try:
            value = child.call(method, **given).get("value")
        except BaseException:
            child.kill("close")
            raise
        with self._lock:
            self._spare, spare = child, self._spare
        if spare is not None:
            spare.kill("close")
        return value
