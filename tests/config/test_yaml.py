"""YAML 1.2 as a person means it, and errors at the character that is wrong."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml as pyyaml
from hypothesis import given
from hypothesis import strategies as st

from dativo_assets.config.yaml import MAX_DEPTH, loads
from dativo_assets.errors import ConfigurationError, render


def refused(text: str | bytes) -> str:
    with pytest.raises(ConfigurationError) as caught:
        loads(text, file="job.yaml")
    return render(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("tRue", "tRue"),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("-0x1F", "-0x1F"),
        ("0b11", "0b11"),
        ("12:30", "12:30"),
        ("190:20:30", "190:20:30"),
        ("1_000", "1_000"),
        ("+12", 12),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        (".", "."),
        ("-", [None]),
        ("2013-01-01", "2013-01-01"),
        ("2013-01-01T10:00:00Z", "2013-01-01T10:00:00Z"),
        ("~", None),
        ("Null", None),
        ("''", ""),
        ("'10'", "10"),
        ("!!str 010", "010"),
        ("!!float 1", 1.0),
        ("-.inf", float("-inf")),
        ("=", "="),
    ],
)
def test_a_plain_scalar_means_what_the_core_schema_says(text: str, value: Any) -> None:
    found = loads(f"- {text}\n").value[0]
    assert (found, type(found)) == (value, type(value))


def test_keys_stay_as_written() -> None:
    assert loads("on: 1\n010: 2\ntrue: 3\n~: 4\n").value == {"on": 1, "010": 2, "true": 3, "~": 4}


def test_a_byte_order_mark_is_no_part_of_the_first_key() -> None:
    document = loads(b"\xef\xbb\xbfname: x\n")
    assert document.value == {"name": "x"}
    place = document.location("name")
    assert place is not None and (place.line, place.column) == (1, 1)


def test_the_position_of_each_key_and_value_is_known() -> None:
    document = loads("source:\r\n  files: [a, {b: c}]\r\nname: x\r\n", file="f.yaml")
    assert str(document.location("source", "files")) == "f.yaml:2:3"
    assert str(document.location("source", "files", key=False)) == "f.yaml:2:10"
    assert str(document.location("source", "files", 1, "b", key=False)) == "f.yaml:2:18"
    assert document.location("source", "absent") is None
    place = document.location("name")
    assert place is not None and (place.source_line, place.length) == ("name: x", 4)


def test_a_position_is_found_again_after_the_marks_are_dropped() -> None:
    assert str(loads("a:\n  b: 1\n", file="f").compact().location("a", "b")) == "f:2:3"


def test_an_alias_repeats_what_its_anchor_names() -> None:
    assert loads("a: &x [1, 2]\nb: *x\n").value == {"a": [1, 2], "b": [1, 2]}


def test_a_duplicate_key_names_both_places() -> None:
    assert refused("name: a\nsource: {}\nname: b\n") == (
        "error[CONFIGURATION_ERROR]: duplicate key `name`: first written at job.yaml:1:1\n"
        " --> job.yaml:3:1\n"
        "  |\n"
        "3 | name: b\n"
        "  | ^^^^\n"
        "  = hint: keep one of the two"
    )


def test_a_tab_is_shown_where_it_stands() -> None:
    assert refused("source:\n\treader: csv\n") == (
        "error[CONFIGURATION_ERROR]: not valid YAML: found character that cannot start any token "
        "(while scanning for the next token from line 2)\n"
        " --> job.yaml:2:1\n"
        "  |\n"
        "2 | \treader: csv\n"
        "  | ^\n"
        "  = hint: indent with spaces; YAML allows no tab there"
    )


def test_a_quote_never_closed_is_shown_where_it_opens() -> None:
    assert " --> job.yaml:2:7\n" in refused("a: 1\nname: 'x\n")


def test_bytes_that_are_not_utf8_are_named_by_their_offset() -> None:
    text = refused(b"name: x\ndescription: caf\xe9\n")
    assert "job.yaml is not UTF-8: byte 0xe9 at offset 24" in text
    assert " --> job.yaml:2" in text


def test_a_control_character_is_named() -> None:
    text = refused("name: é\nother: a\x00b\n")
    assert "the character U+0000 is not allowed in YAML" in text
    assert " --> job.yaml:2:9" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\n---\nb: 2\n", "a second document in one file"),
        ("a: !!python/object/apply:os.system [x]\n", "the tag `!!python/object/apply:os.system` is not allowed"),
        ("a: !env X\n", "the tag `!env` is not allowed"),
        ("a: !!int x\n", "`x` is no int"),
        ("base: &b {x: 1}\na:\n  <<: *b\n", "merge keys (`<<`) are not part of YAML 1.2"),
        ("a: &x [*x]\n", "alias `*x` stands inside of what it names"),
        ("a: *x\n", "undefined alias|names no anchor"),
        ("? [a]\n: 1\n", "a key must be text, not a list or a mapping"),
        ("? \n: 1\n", "a key is missing before `:`"),
        ("a: &k x\n*k : 1\n", "an alias can't be a key"),
        ("a: " + "9" * 5000, "a number of 5000 characters"),
        ("[" * 100_000, f"nested deeper than {MAX_DEPTH} levels"),
        ("a: b: c\n", "mapping values are not allowed"),
        ("a: @x\n", "not valid YAML"),
        (b"x" * (1 << 20) + b"x", "job.yaml is larger than 1 MB"),
    ],
)
def test_what_a_job_file_never_needs_is_refused(text: str | bytes, message: str) -> None:
    said = refused(text)
    assert any(part in said for part in message.split("|"))
    assert "--> job.yaml" in said


def test_a_billion_laughs_are_refused_at_once() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{name}: &{name} [{', '.join(['*' + before] * 10)}]"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    started = time.perf_counter()
    assert "aliases expand to too much" in refused("\n".join(lines))
    assert time.perf_counter() - started < 5


def test_aliases_do_not_nest_deeper_than_a_document_may() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [[*a{n - 1}]]" for n in range(1, 200)]
    assert f"nested deeper than {MAX_DEPTH} levels" in refused("\n".join(lines))


_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Cn", "Zl", "Zp")), max_size=20)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(_VALUES)
def test_json_is_read_as_json(value: Any) -> None:
    import json

    assert loads(json.dumps(value, ensure_ascii=False)).value == value


@given(_VALUES)
def test_what_is_written_quoted_is_read_back(value: Any) -> None:
    text = pyyaml.safe_dump(value, default_style='"', allow_unicode=True)
    if "!!" not in text:
        assert loads(text).value == value


@given(st.text(max_size=60) | st.text(alphabet="ab:-[]{}&*!|>'\"%@`#,? \n\t0.~<", max_size=60))
def test_any_text_is_a_value_or_a_configuration_error(text: str) -> None:
    try:
        document = loads(text.encode("utf-8", "surrogatepass"), file="job.yaml")
    except ConfigurationError as error:
        assert "job.yaml" in render(error)
    else:
        assert document.location() is not None


@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_a_configuration_error(data: bytes) -> None:
    try:
        loads(data)
    except ConfigurationError as error:
        assert render(error)


def test_the_same_text_means_the_same_without_libyaml(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import importlib
    import sys

    from dativo_assets.config import yaml as fast

    monkeypatch.setattr(pyyaml, "__with_libyaml__", False)
    monkeypatch.delitem(sys.modules, "dativo_assets.config.yaml")
    try:
        slow = importlib.import_module("dativo_assets.config.yaml")
        text = "a: &x [1, no, {b: 'c'}]\nd: *x\ne: |\n  text\n"
        assert slow.loads(text).value == fast.loads(text).value
        assert slow.loads(text).location("a", 2, "b") == fast.loads(text).location("a", 2, "b")
        for wrong in ("a: [1,\n", "a: \x00\n", "a: 1\na: 2\n", "[" * 200):
            with pytest.raises(ConfigurationError):
                slow.loads(wrong)
    finally:
        sys.modules["dativo_assets.config.yaml"] = fast
