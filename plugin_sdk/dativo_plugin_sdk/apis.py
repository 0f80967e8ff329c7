"""What a reader of a web API needs besides its client: pages, another try, a pace, flat rows."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from .errors import DativoError, PluginError, RateLimitError

_Page = TypeVar("_Page")
_Token = TypeVar("_Token", bound=Hashable)
_Result = TypeVar("_Result")


def paginate(fetch: Callable[[_Token], tuple[_Page, _Token | None]], first: _Token) -> Iterator[_Page]:
    """Every page. fetch: gives the page of a token (a number, a cursor, an address) and the token of the next page, None on the
    last one.

    Raises: PluginError: when a page names one before it as the next.
    """
    seen: set[_Token] = set()
    token: _Token | None = first
    while token is not None:
        if token in seen:
            raise PluginError(
                f"the pages go in a circle: {token!r} follows a page that came after it",
                hint="have `fetch` give None as the token behind the last page",
            )
        seen.add(token)
        page, token = fetch(token)
        yield page


def retry(
    call: Callable[[], _Result],
    attempts: int = 5,
    first_wait_s: float = 0.5,
    longest_wait_s: float = 60.0,
    wait: Callable[[float], object] = time.sleep,
) -> _Result:
    """What `call` returns, called up to `attempts` times while it raises errors that may pass (`retryable`).

    Between two calls it waits as long as the source asked for (`retry_after_s`), else twice as long each time, less by chance.
    A source that asks for more than `longest_wait_s` is not waited for: a job that is tried again does that. wait: such as
    `reader.sleep`, which a cancelled run ends.
    Raises: DativoError: the last one, or the first that does not pass by itself.
    """
    for attempt in range(1, attempts):
        try:
            return call()
        except DativoError as error:
            asked_s = error.details.get("retry_after_s") if isinstance(error, RateLimitError) else None
            if not error.retryable or (asked_s or 0) > longest_wait_s:
                raise
            grown_s = min(first_wait_s * 2 ** (attempt - 1), longest_wait_s) * (0.5 + random.random() / 2)
            wait_s = grown_s if asked_s is None else asked_s
        wait(wait_s)
    return call()


def retry_after_s(header: str | None) -> float | None:
    """Seconds that a Retry-After header asks to wait, as a number or as the time to come again; None where it says neither."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return None


class RateLimit:
    """At most `calls` turns in any `per_s` seconds, over all threads that share it. wait: as for `retry`."""

    def __init__(self, calls: int, per_s: float = 1.0, wait: Callable[[float], object] = time.sleep) -> None:
        self._per_s = per_s
        self._wait = wait
        self._turns: deque[float] = deque(maxlen=calls)
        self._lock = threading.Lock()

    def turn(self) -> None:
        """Wait for the next turn, which is this call's own."""
        with self._lock:
            now = time.monotonic()
            full = len(self._turns) == self._turns.maxlen
            at = max(now, self._turns[0] + self._per_s) if full else now
            self._turns.append(at)
        if at > now:
            self._wait(at - now)


def flatten(row: Mapping[str, Any], separator: str = "_") -> dict[str, Any]:
    """A row whose objects became columns: `{"a": {"b": 1}, "c": [2]}` gives `{"a_b": 1, "c": [2]}`.

    A null stays in the column that names it. Raises: PluginError: when two values come to one column.
    """
    found: dict[str, Any] = {}

    def add(prefix: str, values: Mapping[str, Any]) -> None:
        for key, value in values.items():
            name = f"{prefix}{key}"
            if isinstance(value, Mapping):
                add(f"{name}{separator}", value)
            elif name in found:
                raise PluginError(
                    f"two values of a row come to the column {name!r}", hint="choose another separator for `flatten`"
                )
            else:
                found[name] = value

    add("", row)
    return found
