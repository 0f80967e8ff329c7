"""`--profile FILE`: where the time of a command's runs went."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dativo_plugin_sdk import ConfigurationError

if TYPE_CHECKING:
    from dativo_assets.pipeline.trace import Trace


@contextmanager
def tracing(file: str | None) -> Iterator[Trace | None]:
    """A trace that is written to the file in the end, whatever the end is; None where no file is named.

    Raises: ConfigurationError: before anything is done, where the file can't be written.
    """
    if file is None:
        yield None
        return
    from dativo_assets.pipeline.trace import Trace

    path, trace = Path(file), Trace()
    try:
        trace.write(path)
    except OSError as error:
        raise ConfigurationError(
            f"the profile {file} can't be written: {error.strerror}", hint="name a file in a folder that is there"
        ) from None
    try:
        yield trace
    finally:
        trace.write(path)
