"""The code location of a project: the one that DATIVO_PROJECT names, else that of the nearest dativo.yaml.

`defs` is the whole project; `shard_1` to `shard_N` are its parts, where dativo.yaml says `code_locations: N`.
"""

import re
from typing import Any

from dativo_assets.assets.location import code_location


def __getattr__(name: str) -> Any:
    """Made when it is asked for, once: a shard's process makes no other."""
    shard = re.fullmatch(r"shard_([1-9]\d*)", name)
    if name != "defs" and shard is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = code_location(int(shard[1]) if shard else None)
    return found


def __dir__() -> list[str]:
    return ["defs"]
