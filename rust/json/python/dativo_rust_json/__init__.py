"""JSON lines (`Lines`) and rows (`Rows`) turned into Arrow natively, for columns of one schema."""

from ._native import Lines, Rows

__all__ = ["Lines", "Rows"]
