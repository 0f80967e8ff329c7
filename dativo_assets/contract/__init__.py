"""What a job's rows must be: declared columns, rules over them, and the checker that holds a stream to both.

Nothing is imported before it is asked for: most jobs have no contract. Loading one imports no Arrow, nor does a Checker
whose rules are checked natively, until one is broken.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checker import Checked, Checker
    from .load import load_contract
    from .model import Column, Contract, Rule, RuleResult
    from .native import declared_schema, native_checks
    from .verify import verify

__all__ = [
    "Checked",
    "Checker",
    "Column",
    "Contract",
    "Rule",
    "RuleResult",
    "declared_schema",
    "load_contract",
    "native_checks",
    "verify",
]

_MODULES = {
    "checker": ("Checked", "Checker"),
    "load": ("load_contract",),
    "model": ("Column", "Contract", "Rule", "RuleResult"),
    "native": ("declared_schema", "native_checks"),
    "verify": ("verify",),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            found = globals()[name] = getattr(import_module(f".{module}", __name__), name)
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
