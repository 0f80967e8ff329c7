"""Where a plugin runs, and what it may have there."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, Strict, WithJsonSchema, model_validator

from .fields import Duration, Flag, Frozen, Path, Problem, Texts, Whole

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?", re.IGNORECASE)
_LEAST_BYTES = 64_000_000


def _size(value: Any) -> Any:
    if value is None:
        return 0
    match = _SIZE.fullmatch(str(value).strip())
    if isinstance(value, bool) or match is None:
        raise Problem(f"`{value}` is no size", "write it as 512MB or 2GB")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def _memory(value: Any) -> Any:
    found = _size(value)
    if 0 < found < _LEAST_BYTES:
        raise Problem(f"`{value}` is less than a process needs", "allow at least 64MB")
    return found


_EXAMPLES = {"type": ["string", "integer", "null"], "examples": ["512MB", "2GB"]}
# None: not said; 0: no limit.
Size = Annotated[int | None, BeforeValidator(_size), WithJsonSchema(_EXAMPLES)]
Memory = Annotated[int | None, BeforeValidator(_memory), WithJsonSchema(_EXAMPLES)]


class Isolation(Frozen):
    """Where a plugin runs, and what it may have there."""

    mode: Literal["none", "process", "env"] = Field(
        "process",
        description="none: in the run's own process; process: in one of its own, which may crash or hang; env: that, and with a "
        "virtual environment of its own.",
    )
    environment: Path | None = Field(
        None, description="env: the folder with the plugin's pyproject.toml and uv.lock, relative to the project's."
    )
    memory_bytes: Memory = Field(
        None,
        alias="memory",
        description="Its memory, such as 512MB; null for no limit. Default: 2GB, where the host can hold it to that.",
    )
    cpu_s: Duration | None = Field(None, alias="cpu", gt=0, description="Processor time over all its threads.")
    time_s: Duration | None = Field(None, alias="time", gt=0, description="How long its process may run.")
    open_files: Whole | None = Field(None, ge=16, description="Files and connections open at once.")
    file_bytes: Size = Field(None, alias="file_size", description="The size of any file that it writes, such as 2GB.")
    cores: Annotated[float, Strict()] | None = Field(
        None, gt=0, description="Processors that it may use at once; 0.5 is half of one's time, in a cgroup alone."
    )
    tasks: Whole | None = Field(
        None,
        ge=8,
        description="Processes and threads at once: in a cgroup, or where the run is not an administrator's.",
    )
    processes: Flag = Field(True, description="false: it starts no process and no program.")
    network: Flag = Field(True, description="false: it gets an empty network, and no sockets.")
    files: Texts | None = Field(
        None,
        description="What it may read and write beside what the job names, relative to the project's folder; [] for nothing. "
        "Default: all files.",
    )
    env: Texts = Field(
        (), description="Variables of the run's environment that it sees, beside PATH, HOME, LANG and their like."
    )

    best_effort: Flag = Field(
        False, description="true: a limit that this host can't hold it to is a note of the run, and not an error."
    )

    @model_validator(mode="after")
    def _has_an_environment(self) -> Isolation:
        if (self.mode == "env") != (self.environment is not None):
            raise Problem(
                "`mode: env` and `environment` go together",
                "environment: the folder with the plugin's pyproject.toml and uv.lock",
                "environment" if self.environment else "mode",
            )
        return self


def _named(value: Any) -> Any:
    return {"mode": value} if isinstance(value, str) else value


def _or_a_word(schema: dict[str, Any]) -> None:
    schema["anyOf"].insert(0, {"enum": ["none", "process"]})


IsolationKey = Annotated[Isolation | None, BeforeValidator(_named), Field(json_schema_extra=_or_a_word)]
