"""How a run finds what is new."""

from __future__ import annotations

from typing import Any, Literal

from dativo_plugin_sdk.models import Incremental as SdkIncremental
from dativo_plugin_sdk.models import Strategy
from pydantic import Field, field_validator, model_validator

from .fields import Frozen, Problem, Text
from .types import DURATION_HINT, seconds


class Incremental(Frozen):
    """How a run finds what is new since the last commit."""

    strategy: Strategy = Field(
        description="full_refresh reads everything; append and updated_at read past the last value of cursor_field; "
        "file and file_modified_time read new or changed files; snapshot reads again when the upstream has a new version."
    )
    cursor_field: Text | None = Field(None, description="The column whose values only grow.")
    lookback_s: float = Field(
        0,
        alias="lookback",
        description="How far before the last cursor to read again: a duration (1d, 3h), or a number in the "
        "cursor's own units.",
        json_schema_extra={"anyOf": [{"type": "string"}, {"type": "number"}]},
    )
    null_cursor: Literal["fail", "include", "quarantine"] = Field(
        "fail",
        description="What happens to rows whose cursor_field is null: include loads them, each once, quarantine sets them "
        "aside and needs `on_violation: quarantine`.",
    )
    changed: Literal["reread", "fail", "ignore"] = Field(
        "reread",
        description="file: what happens to a file that changed since it was read: it is read again whole, the run fails, or "
        "it is left out.",
    )
    compare: Literal["modified", "content"] = Field(
        "modified",
        description="file: what tells that a file changed: its time and size, or, where these differ, its content, which is "
        "read once more for that.",
    )

    @field_validator("lookback_s", mode="before")
    @classmethod
    def _lookback(cls, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise Problem("must be a duration or a number", DURATION_HINT)
        found = seconds(value) if isinstance(value, str) else float(value)
        if found is None or not found >= 0:
            raise Problem(f"`{value}` is no duration", DURATION_HINT)
        return found

    @model_validator(mode="after")
    def _about_files(self) -> Incremental:
        for key, default in (("changed", "reread"), ("compare", "modified")):
            if getattr(self, key) != default and self.strategy not in ("file", "file_modified_time"):
                raise Problem(f"`{key}` is about files, and the strategy is {self.strategy}", "use strategy: file", key)
        return self

    def to_sdk(self) -> SdkIncremental:
        """The same for a reader."""
        return SdkIncremental(
            strategy=self.strategy,
            cursor_field=self.cursor_field,
            lookback_s=self.lookback_s,
            null_cursor=self.null_cursor,
            changed=self.changed,
            compare=self.compare,
        )
