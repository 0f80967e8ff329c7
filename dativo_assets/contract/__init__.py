"""What a job's rows must be: declared columns, rules over them, and the checker that holds a stream to both.

Loading a contract imports no Arrow; the first Checker does.
"""

from .checker import Checked, Checker
from .load import load_contract
from .model import Column, Contract, Rule, RuleResult
from .verify import verify

__all__ = ["Checked", "Checker", "Column", "Contract", "Rule", "RuleResult", "load_contract", "verify"]
