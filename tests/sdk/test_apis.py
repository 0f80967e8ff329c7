"""What readers of web APIs use: pages, another try, a pace, flat rows."""

from __future__ import annotations

import datetime as dt
import threading
import time
from email.utils import format_datetime
from typing import Any

import pytest
from dativo_plugin_sdk import (
    AuthenticationError,
    BaseReader,
    CancelledError,
    PluginError,
    RateLimit,
    RateLimitError,
    SourceConfig,
    TransientError,
    flatten,
    paginate,
    retry,
    retry_after_s,
)


class Busy:
    """Fails with each of these errors in turn, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.waits: list[float] = []

    def __call__(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


def busy(wait_s: float) -> RateLimitError:
    return RateLimitError("busy", details={"retry_after_s": wait_s})


def test_pages_follow_each_other_until_none_is_named() -> None:
    pages = {1: (["a", "b"], 2), 2: ([], 7), 7: (["c"], None)}
    assert list(paginate(pages.__getitem__, 1)) == [["a", "b"], [], ["c"]]


def test_a_page_is_fetched_when_it_is_asked_for() -> None:
    asked: list[int] = []
    pages = paginate(lambda page: (asked.append(page), page + 1), 1)
    next(pages)
    assert asked == [1]


def test_pages_in_a_circle_are_told() -> None:
    pages = {"a": (1, "b"), "b": (2, "a")}
    with pytest.raises(PluginError, match="circle: 'a' follows"):
        list(paginate(pages.__getitem__, "a"))


def test_what_may_pass_is_tried_again_after_the_wait_that_is_asked_for() -> None:
    call = Busy(busy(3), TransientError("reset"), busy(0))
    assert retry(call, wait=call.waits.append, first_wait_s=8) == "answer"
    assert call.waits[0] == 3 and 8 <= call.waits[1] <= 16 and call.waits[2] == 0


def test_a_wait_doubles_and_has_an_end() -> None:
    call = Busy(*(TransientError("reset") for _ in range(6)))
    assert retry(call, attempts=7, first_wait_s=1, longest_wait_s=4, wait=call.waits.append) == "answer"
    assert all(half <= wait <= 2 * half for half, wait in zip([0.5, 1, 2, 2, 2, 2], call.waits, strict=True))


@pytest.mark.parametrize(
    ("errors", "waits"),
    [([AuthenticationError("no")], 0), ([busy(61)], 0), ([ValueError("x")], 0), ([busy(1)] * 3, 2)],
)
def test_what_does_not_pass_or_takes_too_long_is_raised(errors: list[Exception], waits: int) -> None:
    call = Busy(*errors)
    with pytest.raises(type(errors[0])):
        retry(call, attempts=3, wait=call.waits.append)
    assert len(call.waits) == waits


def test_a_cancelled_run_ends_a_wait() -> None:
    reader = BaseReader(SourceConfig(reader="r"))
    threading.Timer(0.05, reader.cancel).start()
    start = time.monotonic()
    with pytest.raises(CancelledError):
        retry(Busy(busy(50)), wait=reader.sleep)
    assert time.monotonic() - start < 20


def test_retry_after_is_a_number_or_a_time() -> None:
    later = dt.datetime.now(dt.timezone.utc) + dt.timedelta(minutes=2)
    assert retry_after_s("1.5") == 1.5 and retry_after_s("-3") == 0
    assert 110 < (retry_after_s(format_datetime(later, usegmt=True)) or 0) <= 120
    assert retry_after_s(None) is None and retry_after_s("soon") is None


def test_turns_beyond_the_limit_wait_for_the_first_one_to_be_old_enough() -> None:
    waits: list[float] = []
    limit = RateLimit(2, per_s=1000, wait=waits.append)
    for _ in range(5):
        limit.turn()
    assert [round(wait, -1) for wait in waits] == [1000, 1000, 2000]


def test_threads_share_a_limit() -> None:
    waits: list[float] = []
    limit = RateLimit(3, per_s=1000, wait=waits.append)
    threads = [threading.Thread(target=limit.turn) for _ in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(round(wait, -1) for wait in waits) == [1000] * 3 + [2000] * 3


def test_objects_become_columns_and_lists_stay() -> None:
    row: dict[str, Any] = {"id": 1, "a": {"b": {"c": 2}, "d": None}, "e": [{"f": 3}], "g": {}}
    assert flatten(row) == {"id": 1, "a_b_c": 2, "a_d": None, "e": [{"f": 3}]}
    assert flatten({"a": {"b": 1}}, ".") == {"a.b": 1}


def test_two_values_for_one_column_are_told() -> None:
    with pytest.raises(PluginError, match="column 'a_b'"):
        flatten({"a_b": 1, "a": {"b": 2}})
