"""widened(attempt): a look at rows that starts over where a later one asks for a wider type of its column."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from dativo_plugin_sdk import SchemaMismatchError, ValidationError

_MAX_RESTARTS = 50
_T = TypeVar("_T")


def widened(attempt: Callable[[Mapping[str, str]], _T]) -> _T:
    """What `attempt` returns, given {column: type} of the columns that met a wider value so far.

    Raises: SchemaMismatchError: for a value that no type helps. ValidationError: where there is no end to it.
    """
    widen: dict[str, str] = {}
    for _ in range(_MAX_RESTARTS):
        try:
            return attempt(widen)
        except SchemaMismatchError as error:
            if not error.column or widen.get(error.column) == error.widen_to:
                raise
            widen[error.column] = error.widen_to
    raise ValidationError("columns change type without end", hint="declare their types in a contract")
