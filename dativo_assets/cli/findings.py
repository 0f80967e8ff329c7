"""What `dativo doctor` says of one thing that it looked at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["ok", "warning", "error"]
_ORDER: tuple[Status, ...] = ("ok", "warning", "error")
_MARKS = {"ok": "ok", "warning": "warn", "error": "ERROR"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. hint: what a person does next, where it is not well."""

    area: str
    subject: str
    status: Status
    message: str
    hint: str | None = None

    @property
    def mark(self) -> str:
        return _MARKS[self.status]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def worst(findings: Iterable[Finding]) -> Status:
    """The worst status of all; ok for none."""
    return max((finding.status for finding in findings), key=_ORDER.index, default="ok")
