"""Errors as a person reads them."""

from __future__ import annotations

import errno
import pickle

import pytest
from dativo_plugin_sdk.errors import RateLimitError, to_text

from dativo_assets import errors
from dativo_assets.errors import (
    CancelledError,
    ConfigurationError,
    ConfigurationErrors,
    DativoError,
    Location,
    PluginError,
    TransientError,
    ValidationError,
    from_dict,
    render,
    to_dativo_error,
)


def test_a_mistake_in_a_file_is_shown_at_its_line() -> None:
    place = Location("jobs/flights.yaml", 14, 3, "  compresion: zstd", 9)
    error = ConfigurationError(
        "unknown key `compresion` in target.options", details=place.details(), hint="did you mean `compression`?"
    )
    assert render(error) == (
        "error[CONFIGURATION_ERROR]: unknown key `compresion` in target.options\n"
        "  --> jobs/flights.yaml:14:3\n"
        "   |\n"
        "14 |   compresion: zstd\n"
        "   |   ^^^^^^^^^\n"
        "   = hint: did you mean `compression`?"
    )


def test_a_failure_in_a_run_is_shown_at_its_row() -> None:
    error = ValidationError("`dep_delay` is no number", details={"job": "flights", "stage": "read"})
    error.at(split="data.csv[0]", row=1042)
    assert render(error) == (
        "error[VALIDATION_ERROR]: `dep_delay` is no number\n --> job flights, stage read, split data.csv[0], row 1042"
    )


def test_a_long_line_is_shown_around_what_is_wrong() -> None:
    line = "x" * 5_000 + "WRONG" + "y" * 5_000
    text = render(ConfigurationError("no", details=Location("f", 1, 5_001, line, 5).details()))
    assert max(map(len, text.splitlines())) < 140
    shown, marks = text.splitlines()[3:5]
    assert shown[marks.index("^") : marks.rindex("^") + 1] == "WRONG"


def test_several_mistakes_are_all_shown_and_survive_json_and_pickle() -> None:
    one = ConfigurationError("first", details={"file": "a.yaml", "line": 1})
    two = ConfigurationErrors.of([ConfigurationError("second"), ConfigurationError("third", hint="do")])
    error = ConfigurationErrors.of([one, two]).at(job="j")
    assert isinstance(error, ConfigurationErrors)
    assert [inner.message for inner in error.errors] == ["first", "second", "third"]
    assert {inner.details["job"] for inner in error.errors} == {"j"}
    for copy in (pickle.loads(pickle.dumps(error)), from_dict(error.to_dict())):
        assert render(copy) == render(error)
        assert render(copy).count("error[CONFIGURATION_ERROR]") == 3


def test_one_mistake_alone_is_itself() -> None:
    one = ConfigurationError("first")
    assert ConfigurationErrors.of([one]) is one


@pytest.mark.parametrize(
    ("raised", "kind", "code", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/w/x"), DativoError, "DISK_FULL", "free some space"),
        (RuntimeError("parquet: No space left on device (os error 28)"), DativoError, "DISK_FULL", "free some space"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/w"),
            DativoError,
            "PERMISSION_DENIED",
            "read and write /w",
        ),
        (FileNotFoundError(errno.ENOENT, "No such file", "a.csv"), DativoError, "FILE_NOT_FOUND", "relative"),
        (OSError(errno.EMFILE, "Too many open files"), DativoError, "TOO_MANY_FILES", "ulimit"),
        (MemoryError(), DativoError, "OUT_OF_MEMORY", "more memory"),
        (SystemExit(3), PluginError, "PLUGIN_ERROR", "asked the process to exit (status 3)"),
        (KeyboardInterrupt(), CancelledError, "CANCELLED", "interrupted"),
        (TimeoutError("30 s"), TransientError, "TRANSIENT_ERROR", "no answer in time"),
        (ConnectionRefusedError(111, "Connection refused"), errors.ConnectionError, "CONNECTION_ERROR", "refused"),
        (ValueError("bad"), PluginError, "PLUGIN_ERROR", "plugin shop failed: ValueError: bad"),
        (RecursionError("x"), PluginError, "PLUGIN_ERROR", "nest too deep"),
        (
            RuntimeError(f"Arrow: {to_text(RateLimitError('slow down'))} (ctx)"),
            RateLimitError,
            "RATE_LIMIT_ERROR",
            "slow",
        ),
    ],
)
def test_whatever_was_raised_becomes_one_of_the_tree(
    raised: BaseException, kind: type[DativoError], code: str, words: str
) -> None:
    error = to_dativo_error(raised, job="orders", stage="read", plugin="shop", split="0")
    assert type(error) is kind
    assert error.error_code == code
    assert words in render(error)
    assert error.__cause__ is raised
    assert error.details["job"] == "orders" and error.details["plugin"] == "shop"


def test_one_of_the_tree_stays_itself_and_keeps_its_own_place() -> None:
    error = ValidationError("x", details={"job": "inner"})
    assert to_dativo_error(error, job="outer", stage="write") is error
    assert error.details == {"job": "inner", "stage": "write"}


def test_a_pydantic_error_is_told_without_the_value() -> None:
    import pydantic

    class Options(pydantic.BaseModel):
        port: int

    with pytest.raises(pydantic.ValidationError) as caught:
        Options.model_validate({"port": "hunter2"})
    error = to_dativo_error(caught.value, plugin="shop")
    assert isinstance(error, ConfigurationError)
    assert "port" in error.message and "hunter2" not in render(error)


def test_exit_codes_are_those_that_scripts_rely_on() -> None:
    assert (errors.EXIT_ALL_DONE, errors.EXIT_SOME_FAILED, errors.EXIT_NONE_RAN) == (0, 1, 2)
