"""References are resolved late, and what they stand for is shown nowhere."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dativo_assets.config import Redactor, load_project, references, resolve
from dativo_assets.config.masking import mask_line
from dativo_assets.errors import ConfigurationError, render


def test_references_are_replaced_in_every_text_of_a_value() -> None:
    value = {"dsn": "postgres://${USER}:${PASS}@h/${DB:-main}", "list": ["${USER}", 1, None], "tuple": ("$${USER}",)}
    assert resolve(value, {"USER": "ann", "PASS": "hunter22"}) == {
        "dsn": "postgres://ann:hunter22@h/main",
        "list": ["ann", 1, None],
        "tuple": ("${USER}",),
    }
    assert list(references(value)) == ["USER", "PASS", "DB", "USER"]


def test_an_empty_variable_takes_the_default_as_in_a_shell() -> None:
    assert resolve("${A:-x}${B}", {"A": "", "B": ""}) == "x"


def test_an_unset_variable_is_named_at_its_line_and_no_value_is(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    text = "source:\n  reader: csv\n  options:\n    a: ${FOUND}\n    b: [x, '${NOT_SET}']\ntarget: {writer: csv}\n"
    (tmp_path / "jobs/j.yaml").write_text(text)
    job = load_project(tmp_path).jobs["j"]
    with pytest.raises(ConfigurationError) as caught:
        resolve(job.source.options, {"FOUND": "hunter22"}, locate=partial(job.location, "source", "options"))
    assert render(caught.value) == (
        "error[CONFIGURATION_ERROR]: the variable NOT_SET is not set\n"
        " --> jobs/j.yaml:5:12\n"
        "  |\n"
        "5 |     b: [x, '${NOT_SET}']\n"
        "  |            ^^^^^^^^^^^^\n"
        "  = hint: set NOT_SET, or write ${NOT_SET:-default}"
    )


@pytest.mark.parametrize("text", ["${}", "${A-B}", "${1A}", "${A", "${A:=b}"])
def test_what_looks_like_a_reference_and_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="refers to no variable"):
        resolve(text, {"A": "1"})


def test_whatever_was_resolved_is_masked_in_every_form() -> None:
    redactor = Redactor()
    resolve({"url": "x://u:${P}@h"}, {"P": 'p@ss"w/rd'}, redactor)
    for text in ('it is p@ss"w/rd', "p%40ss%22w%2Frd", '{"a": "p@ss\\"w/rd"}'):
        masked = redactor.redact(text)
        assert "***" in masked and "ss" not in masked


def test_secrets_written_out_are_masked_too() -> None:
    redactor = Redactor()
    resolve({"user": "ann", "password": "literal1", "auth": {"api_key": 123456}, "dsn": "x://u:inurl@h"}, {}, redactor)
    assert redactor.redact("ann literal1 123456 inurl") == "ann *** *** ***"


def test_a_short_secret_does_not_garble_other_words() -> None:
    redactor = Redactor()
    redactor.add("a1")
    assert redactor.redact("a1 and ba1c, 'a1'") == "*** and ba1c, '***'"


def test_the_longer_of_two_secrets_is_masked_whole() -> None:
    redactor = Redactor()
    redactor.add("secret")
    redactor.add("secret-and-more")
    assert redactor.redact("x secret-and-more y") == "x *** y"


def test_no_secret_is_in_a_redactor_that_travels() -> None:
    redactor = Redactor()
    redactor.add("hunter22")
    assert b"hunter22" not in pickle.dumps(redactor)
    assert "hunter22" not in repr(redactor)


def test_no_secret_is_in_the_repr_or_pickle_of_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P", "hunter22")
    (tmp_path / "jobs").mkdir()
    text = "source: {reader: csv, connection: {password: '${P}', user: literal-user}}\ntarget: {writer: csv}\n"
    (tmp_path / "jobs/j.yaml").write_text(text)
    job = load_project(tmp_path).jobs["j"]
    assert b"hunter22" not in pickle.dumps(job)
    assert "literal-user" not in repr(job) and "hunter22" not in repr(job)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("  password: hunter2", "  password: ***"),
        ("{user: a, api_key: 'x y', port: 1}", "{user: a, api_key: ***, port: 1}"),
        ("  dsn: postgres://u:pw@h/db", "  dsn: postgres://u:***@h/db"),
        ("  password: ${P}", "  password: ${P}"),
        ("  dsn: postgres://u:${P}@h/db", "  dsn: postgres://u:${P}@h/db"),
        ("  description: tokens of the market", "  description: tokens of the market"),
    ],
)
def test_a_line_is_shown_without_its_secrets(line: str, shown: str) -> None:
    assert mask_line(line) == shown


@given(st.text(), st.dictionaries(st.sampled_from("ABC"), st.text()))
def test_any_text_resolves_or_is_a_configuration_error(text: str, environment: dict[str, str]) -> None:
    try:
        found = resolve(text, environment)
    except ConfigurationError:
        assert "${" in text
    else:
        assert found == text or "${" in text


@given(st.text(min_size=4).filter(str.strip), st.text(), st.text())
def test_a_masked_value_is_never_left_in_a_text(secret: str, before: str, after: str) -> None:
    redactor = Redactor()
    redactor.add(secret)
    masked = redactor.redact(before + secret + after)
    assert secret not in masked or secret in "***"
