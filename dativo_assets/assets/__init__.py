"""Jobs as Dagster assets: `build_definitions(path)`, and what a team may change of them."""

from .component import DativoProject
from .customize import Execution, Translation, execute
from .execute import JobAsset
from .location import build_definitions
from .translate import AssetData, asset_key, asset_spec

__all__ = [
    "AssetData",
    "DativoProject",
    "Execution",
    "JobAsset",
    "Translation",
    "asset_key",
    "asset_spec",
    "build_definitions",
    "execute",
]
