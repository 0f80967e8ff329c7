"""Contract rules checked natively: `Checks` over batches of one schema; `schema` and `type_name` without an Arrow library."""

from ._native import Checks, schema, type_name

__all__ = ["Checks", "schema", "type_name"]
