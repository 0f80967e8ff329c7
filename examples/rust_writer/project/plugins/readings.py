"""A reader in Python: what three thermometers say, a batch a day."""

from collections.abc import Iterator
from typing import Any

from dativo_plugin_sdk import BaseReader, Options
from pydantic import Field


class ReadingsOptions(Options):
    """How much is read."""

    days: int = Field(7, ge=1, description="days of 144 readings each")


class Readings(BaseReader):
    """Yields dicts."""

    Options = ReadingsOptions

    def extract(self, state_manager: Any = None) -> Iterator[list[dict[str, Any]]]:
        for day in range(self.options.days):
            self.raise_if_cancelled()
            yield [
                {"sensor": sensor, "minute": day * 1440 + hour * 30, "celsius": 12 + hour / 4 if hour else None}
                for hour in range(48)
                for sensor in ("north", "south", "roof")
            ]
