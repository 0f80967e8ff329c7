"""What a job's rows must be: declared columns, rules over them, and the checker that holds a stream to both.

Loading a contract imports no Arrow, nor does a Checker whose rules are checked natively, until one is broken.
"""

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
