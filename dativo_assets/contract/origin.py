"""The columns that a quarantined row has beside its own."""

from __future__ import annotations

from collections.abc import Iterable

from dativo_assets.errors import ValidationError

ORIGIN_NAMES = ("_dativo_rule", "_dativo_column", "_dativo_value", "_dativo_split", "_dativo_row")


def check_origin_names(columns: Iterable[str]) -> None:
    """Raises: ValidationError: when a source has a column of such a name."""
    taken = set(columns)
    for name in ORIGIN_NAMES:
        if name in taken:
            raise ValidationError(
                f"the source has a column {name!r}, which quarantined rows need for themselves",
                details={"column": name},
                hint="leave the column out at the source, or set on_violation to fail or warn",
            )
