"""Type names and durations: the plain Python grammar agrees with what Arrow makes of a name."""

from __future__ import annotations

import pytest
from dativo_plugin_sdk.arrow import parse_type
from dativo_plugin_sdk.errors import ConfigurationError
from hypothesis import given
from hypothesis import strategies as st

from dativo_assets.config.types import SIMPLE_TYPES, is_type, seconds

_LEAVES = st.sampled_from(
    [*sorted(SIMPLE_TYPES), "decimal(10, 2)", "decimal(77, 2)", "decimal(4, 9)", "numeric(5)", "timestamp[us, UTC]"]
    + ["timestamp[ns]", "timestamp[x]", "time[us]", "duration[ms]", "strng", "", "list<>", "decimal()"]
)
_NAMES = st.recursive(
    _LEAVES,
    lambda inner: (
        st.builds("list<{}>".format, inner)
        | st.builds("map<string, {}>".format, inner)
        | st.builds("struct<a: {}, b: {}>".format, inner, inner)
        | st.builds("map<{}>".format, inner)
    ),
    max_leaves=4,
)


def _known_to_arrow(name: str) -> bool:
    try:
        parse_type(name)
    except ConfigurationError:
        return False
    return True


@given(_NAMES)
def test_a_name_is_a_type_exactly_when_arrow_makes_one_of_it(name: str) -> None:
    assert is_type(name) == _known_to_arrow(name)


@given(st.text(alphabet="list<>map,struct:ab()[] 0129us", max_size=30))
def test_no_text_breaks_the_grammar(text: str) -> None:
    assert is_type(text) in (True, False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30s", 30), ("5m", 300), ("1.5h", 5_400), ("1d", 86_400), ("2w", 1_209_600), ("1h30m", 5_400), ("250ms", 0.25)]
    + [("5 min", 300), ("", None), ("5", None), ("5x", None), ("-5m", None), ("m", None), ("1h x", None)],
)
def test_a_duration_has_a_unit(text: str, expected: float | None) -> None:
    assert seconds(text) == expected
