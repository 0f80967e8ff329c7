"""Structured logs: an event and its fields, as text for people or as JSON lines for machines."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timezone
from typing import Any, Literal


class StructuredLogger:
    """A logger whose calls take fields: `logger.info("run ended", job="flights", rows=10)`."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def _log(self, level: int, event: str, fields: dict[str, Any]) -> None:
        self._logger.log(level, event, extra={"fields": fields})

    def debug(self, event: str, **fields: Any) -> None:
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._log(logging.WARNING, event, fields)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, event, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        fields = getattr(record, "fields", {})
        return json.dumps(
            {"time": time, "level": record.levelname, "event": record.getMessage(), **fields}, default=str
        )


class ConsoleFormatter(logging.Formatter):
    """`12:30:01 INFO run ended job=flights rows=10`."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, timezone.utc).astimezone().strftime("%H:%M:%S")
        fields = getattr(record, "fields", {})
        return " ".join(
            [time, record.levelname, record.getMessage(), *(f"{key}={value}" for key, value in fields.items())]
        )


def configure(style: Literal["console", "json"], level: int = logging.INFO) -> None:
    """Send the platform's log to standard error in one of the two styles."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if style == "json" else ConsoleFormatter())
    root = logging.getLogger("dativo")
    root.handlers[:] = [handler]
    root.setLevel(level)
    root.propagate = False


logger = StructuredLogger("dativo")
