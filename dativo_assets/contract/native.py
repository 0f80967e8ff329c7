"""The common rules checked by the native package `dativo-rust-contract`, where it is installed and knows all of a contract.

No Arrow library is loaded here. What is beyond it gives None, and the checks in pyarrow do the work and say what is wrong.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import struct
from collections.abc import Mapping
from typing import Any, TypeAlias

from .literals import day, decimal, integer_bound, integer_limits, moment, rounded_decimal
from .model import Contract, Rule

Spec: TypeAlias = dict[str, Any]

_INTEGER = re.compile(r"u?int(8|16|32|64)")
_DECIMAL = re.compile(r"decimal\((\d+), (\d+)\)")
_TIMESTAMP = re.compile(r"timestamp\[(s|ms|us|ns)(?:, (.+))?\]")
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_TEXT = ("string", "large_string")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)


class NativeChecks:
    """A contract's rules over batches of one schema. rules: those it judges, by the index it knows them by."""

    def __init__(self, checks: Any, rules: list[Rule], output: dict[str, str]) -> None:
        self._checks = checks
        self.rules = rules
        self.output_text = output
        self.output_schema: Any = checks.output_schema

    def check(self, batch: Any) -> tuple[Any, Any | None]:
        """batch: anything with `__arrow_c_array__`. Returns the rows that land, and those that break a rule: `_row`, their
        positions, a boolean column for each broken rule, named by its index, then the batch's own columns.
        """
        found: tuple[Any, Any | None] = self._checks.check(batch)
        return found


def declared_schema(contract: Contract) -> Any | None:
    """The declared columns as something with `__arrow_c_schema__`."""
    try:
        from dativo_rust_contract import schema

        return schema(json.dumps([(column.name, column.type) for column in contract.columns]))
    except (ImportError, RuntimeError):
        return None


def native_checks(contract: Contract, columns: Mapping[str, str], evolve: str) -> NativeChecks | None:
    """The contract's checks for a source with these columns, {name: type name}, that need no cast."""
    try:
        from dativo_rust_contract import Checks, type_name
    except ImportError:
        return None
    names = list(columns)
    declared = [column.name for column in contract.columns]
    extra = [name for name in names if name not in declared]
    if not set(declared) <= set(names) or len(set(names)) < len(names) or (extra and declared and evolve == "none"):
        return None
    places = {name: index for index, name in enumerate(names)}
    try:
        if any(type_name(column.type) != columns[column.name] for column in contract.columns):
            return None
        specs = [(rule, spec) for rule in contract.rules for spec in _specs(rule, columns, places)]
        output = [*declared, *extra]
        document = {
            "columns": list(columns.items()),
            "output": [places[name] for name in output],
            "rules": [{**spec, "stops": contract.stops(rule)} for rule, spec in specs],
        }
        checks = Checks(json.dumps(document))
    except (ValueError, OverflowError, RuntimeError):
        return None
    return NativeChecks(checks, [rule for rule, _ in specs], {name: columns[name] for name in output})


def _specs(rule: Rule, columns: Mapping[str, str], places: Mapping[str, int]) -> list[Spec]:
    """The rule for the native checks; none where every value keeps it. Raises: ValueError: for a rule beyond them."""
    if rule.kind in ("types", "row_count"):
        return []  # nothing to cast; and rows are counted anyway
    if rule.kind in ("unique", "primary_key"):
        primary = rule.kind == "primary_key"
        return [{"kind": "key", "columns": [places[name] for name in rule.columns], "primary": primary}]
    (name,) = rule.columns
    spec = _of_values(rule, columns[name])
    return [] if spec is None else [{"column": places[name], **spec}]


def _of_values(rule: Rule, type_name: str) -> Spec | None:
    parameters = rule.parameters
    if rule.kind == "required":
        return {"kind": "required"}
    if rule.kind in ("min", "max"):
        return _range(rule.kind == "min", parameters["value"], parameters["exclusive"], type_name)
    if rule.kind in ("accepted_values", "rejected_values"):
        accepted = rule.kind == "accepted_values"
        if not accepted and None in parameters["values"]:
            raise ValueError("a null that is rejected")
        values = [_member(value, type_name) for value in parameters["values"] if value is not None]
        return {"kind": "members", "values": values, "accepted": accepted}
    if type_name not in _TEXT:
        raise ValueError("no text")
    if rule.kind == "pattern":
        return {"kind": "pattern", "pattern": parameters["pattern"]}
    if rule.kind in ("min_length", "max_length"):
        return {"kind": "length", "least" if rule.kind == "min_length" else "most": max(0, parameters["value"])}
    raise ValueError(f"no native check of {rule.kind}")


def _range(least: bool, value: Any, exclusive: bool, type_name: str) -> Spec | None:
    side = "low" if least else "high"
    if type_name in ("float32", "float64"):
        return {"kind": "range", side: _float(value, type_name), "exclusive": exclusive}
    if _INTEGER.fullmatch(type_name):
        lowest, highest = integer_limits(type_name)
        bound = integer_bound(least, value, exclusive, lowest, highest)
        if (bound <= lowest) if least else (bound >= highest):
            return None
        if not lowest <= bound <= highest:
            raise ValueError("a bound that no value keeps")
        return {"kind": "range", side: str(bound)}
    if match := _DECIMAL.fullmatch(type_name):
        number, scale = decimal(value), int(match[2])
        rounded = rounded_decimal(number, scale, up=least)
        exact = rounded == number
        bound = int(rounded.scaleb(scale))
    elif type_name == "date":
        exact, bound = True, (day(value) - _EPOCH.date()).days
    else:
        exact, bound = True, _instant(value, type_name)
    if exclusive and exact:
        bound += 1 if least else -1
    return {"kind": "range", side: str(bound)}


def _instant(value: Any, type_name: str) -> int:
    """A timestamp in its column's unit. Raises: ValueError: when it is none, or lies between two of them."""
    match = _TIMESTAMP.fullmatch(type_name)
    if match is None:
        raise ValueError(f"no native bounds for {type_name}")
    found = moment(value, match[2], type_name)
    elapsed = (found if found.tzinfo else found.replace(tzinfo=dt.timezone.utc)) - _EPOCH
    microseconds = elapsed // dt.timedelta(microseconds=1)
    bound, rest = divmod(microseconds * _PER_SECOND[match[1]], 1_000_000)
    if rest:
        raise ValueError("a moment between two of the column's")
    return bound


def _float(value: Any, type_name: str) -> str:
    number = float(decimal(value))
    if type_name == "float32":
        (number,) = struct.unpack("f", struct.pack("f", number))
    return repr(number)


def _member(value: Any, type_name: str) -> str:
    if type_name in _TEXT:
        return ("true" if value else "false") if isinstance(value, bool) else str(value)
    if type_name == "bool" and isinstance(value, bool):
        return "true" if value else "false"
    if _INTEGER.fullmatch(type_name):
        number = decimal(value)
        if number == number.to_integral_value():
            return str(int(number))
    if type_name == "date":
        return str((day(value) - _EPOCH.date()).days)
    if _TIMESTAMP.fullmatch(type_name):
        return str(_instant(value, type_name))
    raise ValueError(f"{value!r} is no value that is compared natively")
