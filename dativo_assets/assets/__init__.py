"""Jobs as Dagster assets: `build_definitions(path)`."""

from .build import build_definitions
from .translate import asset_key

__all__ = ["asset_key", "build_definitions"]
