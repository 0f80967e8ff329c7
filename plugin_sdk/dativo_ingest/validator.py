"""The state of older readers: when each file was last modified as it was read, in a JSON file."""

from __future__ import annotations

import datetime as dt
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from dativo_plugin_sdk import ValidationError


class IncrementalStateManager:
    """Reads and writes {"file_<id>": {"last_modified": time}}. A job's own `incremental` needs none of it."""

    @staticmethod
    def read_state(path: Path | str) -> dict[str, Any]:
        """The state; {} where there is no file yet.

        Raises: ValidationError: when the file holds something else.
        """
        try:
            found = json.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise ValidationError(f"the state {path} is no JSON: {error}", hint="restore or remove it") from error
        if not isinstance(found, dict):
            raise ValidationError(f"the state {path} is no JSON object", hint="restore or remove it")
        return found

    @staticmethod
    def write_state(path: Path | str, state: dict[str, Any]) -> None:
        """Replace the state in one step."""
        place = Path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(state, file, indent=2, default=str)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, place)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    @classmethod
    def should_skip_file(
        cls, file_id: str, modified: str | dt.datetime, path: Path | str, lookback_days: float = 0
    ) -> bool:
        """Whether a file was read as it is. One modified within `lookback_days` of that is read again."""
        known = cls.read_state(path).get(f"file_{file_id}")
        last = known.get("last_modified") if isinstance(known, dict) else known
        if not isinstance(last, str):
            return False
        seen, now = _time(last), _time(modified)
        return now < seen - dt.timedelta(days=lookback_days) if lookback_days else now <= seen

    @classmethod
    def update_file_state(cls, file_id: str, modified: str | dt.datetime, path: Path | str) -> None:
        """Note that a file was read."""
        text = modified if isinstance(modified, str) else modified.isoformat()
        cls.write_state(path, {**cls.read_state(path), f"file_{file_id}": {"last_modified": text}})


def _time(value: str | dt.datetime) -> dt.datetime:
    """A point in time; one without a zone is UTC. Raises: ValidationError."""
    try:
        found = value if isinstance(value, dt.datetime) else dt.datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError as error:
        raise ValidationError(f"{value!r} is no time", hint="write ISO 8601: 2024-01-01T00:00:00Z") from error
    return found if found.tzinfo is not None else found.replace(tzinfo=dt.timezone.utc)
