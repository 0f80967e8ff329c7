"""Dativo: a job is a YAML file, and a job is an asset."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dativo_assets.assets import DativoProject, build_definitions

__version__ = "0.1.0"

__all__ = ["DativoProject", "__version__", "build_definitions"]

_ASSETS = ("DativoProject", "build_definitions")


def __getattr__(name: str) -> Any:
    """What needs Dagster is imported when it is asked for."""
    if name not in _ASSETS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dativo_assets import assets

    return getattr(assets, name)


def __dir__() -> list[str]:
    return [*globals(), *_ASSETS]
