"""What both suites share: their folder, options that a job should not get away with, secrets, memory."""

from __future__ import annotations

import gc
import json
import os
import threading
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from dativo_plugin_sdk.arrow import pyarrow
from dativo_plugin_sdk.errors import DativoError
from dativo_plugin_sdk.models import ConnectionTestResult
from dativo_plugin_sdk.native import describe

SECRET = "hush-7f3a9c"
"""What stands for a password; it must turn up nowhere."""

_PASSES = 8
_GROWTH_BYTES = 64 << 10
_RESIDENT_BYTES = 32 << 20
_HOSTILE: tuple[Any, ...] = ("\0", "x" * (1 << 20), -1, 2**70, float("nan"), None, True, {"a": {"b": []}}, [[["x"]]])


class NonConformance(AssertionError):
    """A plugin does not do what its interface promises."""


def expect(holds: object, what: str) -> None:
    """Raises: NonConformance: saying `what`, unless it holds."""
    if not holds:
        raise NonConformance(what)


class Conformance:
    """A plugin and what it is tried with. Each `test_*` method is a check; the first line of its docstring is its promise.

    options: what a job says under `options`. root: the project's folder; default: a new one for each check, which
    `prepare` may fill. cancel_s: how long a cancelled call may go on. timeout_s: how long anything may take.
    """

    kind: ClassVar[str] = ""
    options: ClassVar[Mapping[str, Any]] = {}
    root: ClassVar[str | None] = None
    cancel_s: ClassVar[float] = 2.0
    timeout_s: ClassVar[float] = 60.0

    def prepare(self, folder: Path) -> None:
        """Make what the plugin needs in `folder`, the project's root: input files, a database."""

    def setup_method(self) -> None:
        self._temporary = TemporaryDirectory(prefix="dativo-conformance-")
        self.folder = Path(self._temporary.name)
        self.remark = ""
        self.prepare(self.folder)

    def teardown_method(self) -> None:
        self._temporary.cleanup()

    # -- for a suite -----------------------------------------------------------------------------------------------

    @classmethod
    def plugin(cls) -> Any:
        """The class under test."""
        raise NotImplementedError

    @classmethod
    def name(cls) -> str:
        """Of the plugin, for a person."""
        plugin = cls.plugin()
        return str(describe(plugin).get("name") or getattr(plugin, "__name__", plugin))

    def use(self, options: Mapping[str, Any]) -> None:
        """Make the plugin with these options, and let it look at them."""
        raise NotImplementedError

    def once(self) -> None:
        """One whole use of the plugin, from its making to its end."""
        raise NotImplementedError

    def not_applicable(self, why: str) -> None:
        """Note that a check has nothing to look at."""
        self.remark = f"not applicable: {why}"

    def options_schema(self) -> dict[str, Any]:
        plugin = self.plugin()
        model = getattr(plugin, "Options", None)
        found = describe(plugin).get("options_schema", {"type": "object"}) if model is None else None
        if found is None:
            expect(
                hasattr(model, "model_json_schema"), f"Options is {model!r}, not a pydantic model: inherit from Options"
            )
            assert model is not None
            found = model.model_json_schema()
        expect(isinstance(found, dict), f"the options schema is a {type(found).__name__}, not a JSON object")
        return dict(found)

    @contextmanager
    def refused(self, what: str) -> Iterator[None]:
        """Inside, the plugin may raise what tells a person of a mistake, and nothing else."""
        from pydantic import ValidationError as Invalid

        try:
            yield
        except (DativoError, Invalid):
            return
        except Exception as error:
            raise NonConformance(
                f"{what} raised {type(error).__name__}: {error}; raise ConfigurationError, or check it in Options"
            ) from error

    def within(self, seconds: float, work: Callable[[], object], what: str) -> None:
        """Do `work` in a thread. Raises: NonConformance: saying `what` when it takes longer; what `work` raised."""
        raised: list[BaseException] = []

        def body() -> None:
            try:
                work()
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=body, daemon=True)
        thread.start()
        thread.join(seconds)
        expect(not thread.is_alive(), what)
        if raised:
            raise raised[0]

    def answers(self, found: Any) -> None:
        """What a `check_connection` told must be one answer, in JSON."""
        expect(
            isinstance(found, ConnectionTestResult),
            f"check_connection() returned {type(found).__name__}: return ConnectionTestResult(True, message)",
        )
        expect(isinstance(found.success, bool), f"success is {found.success!r}, not True or False")
        expect(isinstance(found.message, str) and found.message, "the answer has no message for a person")
        self.is_json(found.to_dict(), "check_connection()")

    def is_json(self, value: Any, what: str) -> None:
        try:
            same = json.loads(json.dumps(value)) == _lists(value)
        except (TypeError, ValueError) as error:
            raise NonConformance(f"{what} holds what JSON can't: {error}") from error
        expect(same, f"{what} comes back changed from JSON: {value!r} (keys must be text)")

    # -- checks of both --------------------------------------------------------------------------------------------

    def test_options_have_a_schema(self) -> None:
        """The options are described in JSON Schema, so that editors complete them."""
        self.is_json(self.options_schema(), "the options schema")

    def test_an_unknown_option_is_refused(self) -> None:
        """An option that does not exist is an error, not a silence."""
        from pydantic import ValidationError as Invalid

        try:
            self.use({**self.options, "no_such_option": 1})
        except (DativoError, Invalid):
            return
        raise NonConformance("options.no_such_option was taken: inherit the options from Options, which forbids it")

    def test_hostile_option_values_are_refused_or_taken(self) -> None:
        """NUL, a megabyte of text, huge numbers, nesting: refused with an error of the tree, or put up with."""
        names = self.options_schema().get("properties", {})
        if not names:
            return self.not_applicable("no options")

        def try_all() -> None:
            for name in names:
                for value in _HOSTILE:
                    with self.refused(f"options.{name}: {str(value)[:20]!r}"):
                        self.use({**self.options, name: value})

        self.within(self.timeout_s, try_all, "a hostile option made the plugin hang")
        return None

    def test_repeated_use_takes_no_more_memory(self) -> None:
        """Used again and again in one process, it keeps nothing."""
        self.once()
        started = not tracemalloc.is_tracing()
        if started:
            tracemalloc.start()
        try:
            self.once()
            before, resident = _used_bytes(), _resident_bytes()
            for _ in range(_PASSES):
                self.once()
            grown = _used_bytes() - before
        finally:
            if started:
                tracemalloc.stop()
        resident = _resident_bytes() - resident
        expect(grown < _GROWTH_BYTES, f"{_PASSES} uses left {grown:,} bytes behind")
        expect(resident < _RESIDENT_BYTES, f"{_PASSES} uses made the process {resident:,} bytes larger")


def text_of(answer: Any) -> str:
    """All that an answer says, be it of the right kind or not."""
    return str(vars(answer) if hasattr(answer, "__dict__") else answer)


def _lists(value: Any) -> Any:
    """The same with lists for tuples, as JSON has them."""
    if isinstance(value, Mapping):
        return {key: _lists(inner) for key, inner in value.items()}
    return [_lists(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _used_bytes() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0] + int(pyarrow().total_allocated_bytes())


def _resident_bytes() -> int:
    """0 where the platform can't tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
