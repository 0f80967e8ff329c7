"""From a plugin reference to a plugin: `name` (entry point), `path.py:Class`, `lib.so:symbol`, `package.module:Class`.

Resolving a reference is cheap and imports nothing of the plugin; `PluginRef.load` does, once a process. A plugin that
fails to import harms only the jobs that name it.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, reduce
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from dativo_plugin_sdk import (
    BaseReader,
    BaseWriter,
    ConfigurationError,
    DativoError,
    PluginError,
    lift_reader,
    lift_writer,
)
from dativo_plugin_sdk.native import api_version_of, describe
from dativo_plugin_sdk.version import ApiVersions, check_api_version

from dativo_assets.artefacts import LIBRARIES, check_unshared, file_sha256, record_sha256

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoints

Kind = Literal["reader", "writer"]
GROUPS: dict[Kind, str] = {"reader": "dativo.readers", "writer": "dativo.writers"}
API_KEYWORD = "dativo-api-"
_EXTRAS = {"rust_csv": "native", "rust_parquet": "native", "sql": "duckdb"}
_loading = threading.RLock()


@dataclass(frozen=True)
class Plugin:
    """A loaded plugin. factory: makes a level-3 reader from (SourceConfig), or writer from (AssetDefinition, TargetConfig)."""

    ref: PluginRef
    target: Any
    factory: Callable[..., Any]
    version: str
    sha256: str = ""
    """Of the file or wheel that it was loaded from; "" for one that is being developed."""

    @property
    def name(self) -> str:
        """The name with its version, as it stands in commits and metadata."""
        return f"{self.ref.reference} {self.version}"

    @property
    def options(self) -> Any:
        """The plugin's Options model; None for a native plugin without a Python side."""
        return getattr(self.target, "Options", None)

    @property
    def api_version(self) -> ApiVersions:
        """The version of the plugin API that it was made for, or the oldest and the newest that it works with."""
        return api_version_of(self.target)

    def options_schema(self) -> dict[str, Any]:
        """JSON Schema of the options."""
        if self.options is not None:
            schema: dict[str, Any] = self.options.model_json_schema()
            return schema
        found = describe(self.target).get("options_schema")
        return found if isinstance(found, dict) else {"type": "object"}


@dataclass(frozen=True)
class PluginRef:
    """A reference that was found, not yet loaded. origin: the distribution, file or module it comes from. module: of an
    entry point. record: the digest of the wheel that an entry point was installed from. api: the versions of the plugin API
    that its package says it works with; () where it says nothing.
    """

    kind: Kind
    reference: str
    origin: str
    module: str | None = None
    path: Path | None = None
    attribute: str = ""
    record: str = ""
    api: tuple[int, ...] = ()

    @property
    def takes_standard_error(self) -> bool:
        """Whether its calls take the standard error of the process they are in: no other plugin's place."""
        if self.path is None or self.path.suffix not in LIBRARIES:
            return False
        from dativo_plugin_sdk.library import may_have_json_symbols

        try:
            return may_have_json_symbols(self.kind, self.path)
        except OSError:
            return False  # `load` tells why it can't be read

    def load(self) -> Plugin:
        """Import the plugin.

        Raises: PluginError: when it can't be imported or is no such plugin, naming the plugin's file and line.
        """
        with _loading:
            return _load(self)

    def check_api(self) -> None:
        """Refuse one for another plugin API before its import fails for it. Raises: PluginVersionError."""
        if self.api:
            check_api_version(self.reference, (min(self.api), max(self.api)))


@cache
def _load(ref: PluginRef) -> Plugin:
    try:
        ref.check_api()
        sha256 = ref.record if ref.path is None else file_sha256(ref.path)
        target = _import(ref)
        lift = lift_reader if ref.kind == "reader" else lift_writer
        factory = lift(target, ref.reference)
    except DativoError as error:
        error.at(plugin=ref.reference)
        raise
    version = str(getattr(target, "__version__", None) or describe(target).get("version") or "1.0.0")
    return Plugin(ref, target, factory, version, sha256)


def _import(ref: PluginRef) -> Any:
    try:
        if ref.module is not None:
            return reduce(getattr, filter(None, ref.attribute.split(".")), importlib.import_module(ref.module))
        if ref.path is not None and ref.reference.rpartition(":")[0].endswith(LIBRARIES):
            from dativo_plugin_sdk.library import import_library

            return import_library(ref.kind, str(ref.path), ref.attribute, ref.reference)
        if ref.path is not None:
            module: ModuleType = _import_file(ref.path)
        else:
            module = importlib.import_module(ref.origin)
    except DativoError:
        raise
    except (Exception, SystemExit) as error:
        raise _import_failure(ref, error) from error
    found = module
    for part in ref.attribute.split("."):
        if not hasattr(found, part):
            names = [name for name, value in vars(module).items() if isinstance(value, type) and _is_plugin(value)]
            raise PluginError(
                f"{ref.attribute} was not found in module {ref.origin}",
                "PLUGIN_NOT_FOUND",
                {"plugin": ref.reference},
                hint=f"it defines: {', '.join(names)}" if names else "it defines no plugin class",
            )
        found = getattr(found, part)
    return found


def _is_plugin(value: type) -> bool:
    return issubclass(value, (BaseReader, BaseWriter)) and value.__module__ != "dativo_plugin_sdk"


def _import_file(path: Path) -> ModuleType:
    """The module of a file under a name of its own, so two projects' files of one name don't meet."""
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:16]
    name = f"_dativo_plugin_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    import importlib.util

    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path} is no Python file", hint="name a .py file before the colon")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _import_failure(ref: PluginRef, error: BaseException) -> PluginError:
    import traceback

    details: dict[str, Any] = {"plugin": ref.reference}
    if isinstance(error, SyntaxError) and error.filename:
        details.update(file=error.filename, line=error.lineno)
    else:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "importlib" not in frame.filename and frame.filename != __file__]
        if own:
            details.update(file=own[-1].filename, line=own[-1].lineno)
    hint = "mend the plugin, then run the job again"
    if isinstance(error, ModuleNotFoundError) and error.name:
        hint = f"install what the plugin needs: pip install {error.name.split('.')[0]}"
    text = str(error) or type(error).__name__
    return PluginError(
        f"plugin {ref.reference} failed to import: {type(error).__name__}: {text}", None, details, hint=hint
    )


class Registry:
    """The plugins that one project's jobs may name. root: what relative plugin paths are relative to. known: entry points that
    need not be looked for.
    """

    def __init__(self, root: Path, known: Iterable[PluginRef] = ()) -> None:
        self.root = root
        self._known = {(ref.kind, ref.reference): ref for ref in known}

    def resolve(self, kind: Kind, reference: str) -> PluginRef:
        """Find a reference without importing it.

        Raises: ConfigurationError: when nothing of that name is there, with the nearest name or the extra that has it.
        """
        if "\0" in reference:
            raise ConfigurationError(f"plugin reference {reference!r} holds a NUL")
        if ":" not in reference:
            return self._entry_point(kind, reference)
        where, _, attribute = reference.rpartition(":")
        if not attribute or not all(part.isidentifier() for part in attribute.split(".")):
            raise ConfigurationError(
                f"plugin reference {reference!r} must be in format name, path.py:Class, lib.so:symbol or "
                "package.module:Class"
            )
        if where.endswith((".py", *LIBRARIES)):
            path = (self.root / where).resolve()
            if not path.is_file():
                raise ConfigurationError(
                    f"plugin file {where} was not found",
                    details={"plugin": reference},
                    hint=f"paths are relative to the project's root, {self.root}",
                )
            check_unshared(path, reference)
            return PluginRef(kind, reference, str(path), path=path, attribute=attribute)
        if not all(part.isidentifier() for part in where.split(".")):
            raise ConfigurationError(f"plugin reference {reference!r} names neither a .py file, a library nor a module")
        return PluginRef(kind, reference, where, attribute=attribute)

    def _entry_point(self, kind: Kind, name: str) -> PluginRef:
        if (kind, name) in self._known:
            return self._known[kind, name]
        found = _installed()[kind]
        if name in found:
            return found[name]
        if name in _EXTRAS:
            raise ConfigurationError(
                f"{kind} {name!r} is not installed", hint=f"pip install 'dativo-assets[{_EXTRAS[name]}]'"
            )
        import difflib

        near = difflib.get_close_matches(name, found, n=1)
        known = f"did you mean `{near[0]}`?" if near else f"installed {kind}s: {', '.join(sorted(found))}"
        raise ConfigurationError(f"unknown {kind} {name!r}", hint=f"{known} Or write path.py:Class")

    def installed(self) -> Iterable[PluginRef]:
        """Every entry point of both groups, by kind and name."""
        for kind in GROUPS:
            yield from (ref for _, ref in sorted(_installed()[kind].items()))


@cache
def _installed() -> dict[Kind, dict[str, PluginRef]]:
    """By name, for one look at the environment's distributions. Of two with one name, ours wins, then the first by name."""
    import importlib.metadata

    found: dict[str, tuple[str, EntryPoints, str, tuple[int, ...]]] = {}
    for distribution in importlib.metadata.distributions():
        # Most declare none of ours, and none of the rest is parsed: a run would begin 30 ms later.
        if "dativo." in (distribution.read_text("entry_points.txt") or ""):
            name, version, api = _about(distribution)
            found.setdefault(name, (version, distribution.entry_points, _record(distribution), api))
    refs: dict[Kind, dict[str, PluginRef]] = {kind: {} for kind in GROUPS}
    for name, (version, points, record, api) in sorted(
        found.items(), key=lambda item: (item[0] != "dativo-assets", item[0])
    ):
        for kind, group in GROUPS.items():
            for point in points.select(group=group):
                origin = f"{name} {version}"
                ref = PluginRef(kind, point.name, origin, point.module, None, point.attr, record, api)
                refs[kind].setdefault(point.name, ref)
    return refs


def _record(distribution: Distribution) -> str:
    """The digest of what was installed; "" where its code is elsewhere and may change."""
    if '"editable"' in (distribution.read_text("direct_url.json") or ""):
        return ""
    return record_sha256(distribution.read_text("RECORD") or "")


def _about(distribution: Distribution) -> tuple[str, str, tuple[int, ...]]:
    """Its name, version and plugin APIs: fields before the first empty line, which a README may follow."""
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    fields = dict(line.partition(": ")[::2] for line in text.partition("\n\n")[0].splitlines())
    return fields.get("Name", ""), fields.get("Version", ""), apis_of(fields.get("Keywords", ""))


def apis_of(keywords: str) -> tuple[int, ...]:
    """The versions of the plugin API among a package's keywords: `dativo-api-1`, one for each that it works with."""
    words = (word.strip() for word in keywords.split(","))
    numbers = (word.removeprefix(API_KEYWORD) for word in words if word.startswith(API_KEYWORD))
    return tuple(int(number) for number in numbers if number.isdecimal())
