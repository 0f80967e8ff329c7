"""Every error a plugin or the platform raises on purpose.

    DativoError
    ├── ConfigurationError
    ├── ConnectionError
    │   └── AuthenticationError
    ├── ValidationError
    │   └── SchemaMismatchError
    ├── TransientError
    │   └── RateLimitError
    ├── PluginError
    │   ├── PluginVersionError
    │   └── SandboxError
    ├── CommitConflictError
    └── CancelledError

What recovers an error is in `retryable`; what a person does next is in `hint`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar


class DativoError(Exception):
    """The root of the tree.

    message: what failed, one sentence, no secret in it.
    details: where, as JSON values (`job`, `stage`, `split`, `file`, `line`, `column`, `row`, `byte`, ...).
    retryable: whether the same call may succeed later without a change by a person.
    """

    default_code: ClassVar[str] = "DATIVO_ERROR"
    default_retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str = "",
        error_code: str | None = None,
        details: Mapping[str, Any] | None = None,
        retryable: bool | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.error_code = error_code or self.default_code
        self.details: dict[str, Any] = dict(details or {})
        self.retryable = self.default_retryable if retryable is None else retryable
        self.hint = hint

    def __str__(self) -> str:
        return self.message

    def at(self, **details: Any) -> DativoError:
        """The same error with details added where it has none of that name; returns itself."""
        for key, value in details.items():
            if value is not None:
                self.details.setdefault(key, value)
        return self

    def to_dict(self) -> dict[str, Any]:
        """A JSON object: kind, error_code, message, retryable, hint, details."""
        return {
            "kind": type(self).__name__,
            "error_code": self.error_code,
            "message": self.message,
            "retryable": self.retryable,
            "hint": self.hint,
            "details": self.details,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.message, self.error_code, self.details, self.retryable, self.hint))


class ConfigurationError(DativoError):
    """A job, a project or a plugin's options are wrong; a person has to edit them."""

    default_code = "CONFIGURATION_ERROR"


class ConnectionError(DativoError):  # noqa: A001 - the field's word, and the older package's
    """A source or target can't be reached."""

    default_code = "CONNECTION_ERROR"
    default_retryable = True


class AuthenticationError(ConnectionError):
    """A source or target was reached and refused the credentials."""

    default_code = "AUTHENTICATION_ERROR"
    default_retryable = False


class ValidationError(DativoError):
    """Data does not fit what was declared or promised."""

    default_code = "VALIDATION_ERROR"


class SchemaMismatchError(ValidationError):
    """A value does not fit the type its column was given, or a column turned up late.

    The pipeline answers by starting the read again with `widen_to` for `column`; nothing was committed.

    column: name. widen_to: a type name of `dativo_plugin_sdk.arrow.parse_type`.
    """

    default_code = "SCHEMA_MISMATCH"

    def __init__(
        self,
        message: str = "",
        error_code: str | None = None,
        details: Mapping[str, Any] | None = None,
        retryable: bool | None = None,
        hint: str | None = None,
        *,
        column: str | None = None,
        widen_to: str | None = None,
    ) -> None:
        super().__init__(message, error_code, details, retryable, hint)
        if column is not None:
            self.details["column"] = column
        if widen_to is not None:
            self.details["widen_to"] = widen_to

    @property
    def column(self) -> str:
        return str(self.details.get("column", ""))

    @property
    def widen_to(self) -> str:
        return str(self.details.get("widen_to", "string"))


class TransientError(DativoError):
    """Something outside failed in a way that passes by itself."""

    default_code = "TRANSIENT_ERROR"
    default_retryable = True


class RateLimitError(TransientError):
    """A source asked for fewer requests. details["retry_after_s"]: seconds it asked to wait, where it said so."""

    default_code = "RATE_LIMIT_ERROR"


class PluginError(DativoError):
    """A plugin is missing, broken, or broke its side of the interface."""

    default_code = "PLUGIN_ERROR"


class PluginVersionError(PluginError):
    """A plugin was made for another version of the plugin API."""

    default_code = "PLUGIN_VERSION_ERROR"


class SandboxError(PluginError):
    """A plugin was stopped by the limits it runs under."""

    default_code = "SANDBOX_ERROR"


class CommitConflictError(DativoError):
    """Another run committed first. details["winner"]: the run_id that won; details["seq"]: its sequence."""

    default_code = "COMMIT_CONFLICT"


class CancelledError(DativoError):
    """The run was asked to stop; nothing of it is visible."""

    default_code = "CANCELLED"


def _tree(root: type[DativoError]) -> dict[str, type[DativoError]]:
    found = {root.__name__: root}
    for child in root.__subclasses__():
        found.update(_tree(child))
    return found


_JSON_MARK = '{"dativo_error":'


def from_dict(value: Mapping[str, Any]) -> DativoError:
    """The error a `to_dict` object describes; an unknown kind becomes a PluginError."""
    kind = _tree(DativoError).get(str(value.get("kind")), PluginError)
    return kind(
        str(value.get("message", "")),
        value.get("error_code"),
        value.get("details") or {},
        value.get("retryable"),
        value.get("hint"),
    )


def to_text(error: DativoError) -> str:
    """The error as one line of JSON, for channels that carry text alone (an Arrow stream's last error)."""
    return _JSON_MARK + json.dumps(error.to_dict(), default=str) + "}"


def from_text(text: str) -> DativoError | None:
    """The error inside a text made by `to_text` (anything may stand around it), or None."""
    start = text.find(_JSON_MARK)
    if start < 0:
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(text, start)
    except ValueError:
        return None
    inner = value.get("dativo_error")
    return from_dict(inner) if isinstance(inner, dict) else None


def get_error_code(error: BaseException) -> str:
    """The error's code; "UNKNOWN_ERROR" for errors outside the tree."""
    return error.error_code if isinstance(error, DativoError) else "UNKNOWN_ERROR"


def is_retryable_error(error: BaseException) -> bool:
    """Whether the same call may succeed later without a change by a person."""
    return isinstance(error, DativoError) and error.retryable


def wrap_exception(
    error: BaseException, error_class: type[DativoError] = DativoError, message: str | None = None
) -> DativoError:
    """`error` as one of the tree: itself when it already is one, else `error_class` with the original as its cause."""
    if isinstance(error, DativoError):
        return error
    found = from_text(str(error))
    if found is not None:
        found.__cause__ = error
        return found
    text = str(error) or type(error).__name__
    wrapped = error_class(
        f"{message}: {text}" if message else text,
        details={"original_type": type(error).__name__},
    )
    wrapped.__cause__ = error
    return wrapped
