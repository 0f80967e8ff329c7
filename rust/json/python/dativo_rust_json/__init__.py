"""Lines of JSON objects parsed natively: `Lines` over blocks of text, for columns of one schema."""

from ._native import Lines

__all__ = ["Lines"]
