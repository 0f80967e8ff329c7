from typing import Any

class Lines:
    """Parses for one schema: an object with `__arrow_c_schema__`. others: whether objects may have keys besides its columns."""

    def __init__(self, schema: Any, others: bool) -> None: ...
    def parse(self, text: bytes) -> tuple[Any, int] | None:
        """The rows of whole lines, with `__arrow_c_array__`, and how many lines; None where Python has to look."""
    def parse_array(self, text: bytes) -> Any | None:
        """The rows of an array of objects, with `__arrow_c_array__`; None where Python has to look."""

class Rows:
    """Converts for one schema: an object with `__arrow_c_schema__`."""

    def __init__(self, schema: Any) -> None: ...
    def convert(self, rows: list[Any]) -> tuple[Any, dict[str, list[Any]]] | None:
        """The columns whose values are all plainly of their type, with `__arrow_c_array__`, and the values of each other
        column; None for rows that are no dicts, or have other keys."""
