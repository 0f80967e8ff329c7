"""A plugin's options model, imported once somebody asks for it: a small run takes less time than pydantic takes to load.

What the model has made of the same options in an earlier run stands in for it (`checked_options` of a plugin's configuration).
"""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .models import SourceConfig, TargetConfig
    from .options import Options


def deferred(reference: str) -> Any:
    """`Options = deferred("package.module:Model")` in a plugin's class, in place of the model itself."""
    return _Deferred(reference)


class _Deferred:
    def __init__(self, reference: str) -> None:
        self._reference = reference

    def __get__(self, instance: object, owner: type) -> type[Options]:
        module, _, name = self._reference.partition(":")
        found: type[Options] = getattr(import_module(module), name)
        return found


class CheckedOptions(SimpleNamespace):
    """Options that the model has checked before, as JSON gave them back."""


def options_of(plugin: Any, config: SourceConfig | TargetConfig) -> Any:
    """The options of a reader or writer. Raises: pydantic.ValidationError."""
    known = getattr(config, "checked_options", None)
    if known is not None and defers_options(type(plugin)):
        return CheckedOptions(**known)
    return plugin.Options.model_validate(getattr(config, "options", None) or {})


def options_dict(options: Any) -> dict[str, Any]:
    """Options as JSON has them."""
    if isinstance(options, CheckedOptions):
        return dict(vars(options))
    found: dict[str, Any] = options.model_dump(mode="json")
    return found


def defers_options(plugin: type) -> bool:
    """Whether a plugin's model is one that is imported late."""
    given = (vars(base)["Options"] for base in plugin.__mro__ if "Options" in vars(base))
    return isinstance(next(given, None), _Deferred)
