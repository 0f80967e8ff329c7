"""What failed, where, and what to do next: errors as text, exit codes, and whatever was raised as one of the tree."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

from dativo_plugin_sdk.errors import (
    AuthenticationError,
    CancelledError,
    CommitConflictError,
    ConfigurationError,
    ConnectionError,
    DativoError,
    PluginError,
    PluginVersionError,
    RateLimitError,
    SandboxError,
    SchemaMismatchError,
    TransientError,
    ValidationError,
    from_dict,
    from_text,
)

if TYPE_CHECKING:
    import pydantic

__all__ = [
    "EXIT_ALL_DONE",
    "EXIT_NONE_RAN",
    "EXIT_SOME_FAILED",
    "AuthenticationError",
    "CancelledError",
    "CommitConflictError",
    "ConfigurationError",
    "ConfigurationErrors",
    "ConnectionError",
    "DativoError",
    "Location",
    "PluginError",
    "PluginVersionError",
    "RateLimitError",
    "SandboxError",
    "SchemaMismatchError",
    "TransientError",
    "ValidationError",
    "from_dict",
    "render",
    "to_dativo_error",
]

EXIT_ALL_DONE = 0
EXIT_SOME_FAILED = 1
EXIT_NONE_RAN = 2

_DEVICE = frozenset({errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE})
_NO_SPACE = re.compile(r"No space left on device|\(os error 28\)|Disk quota exceeded|\(os error 122\)")
_NO_ACCESS = re.compile(r"Permission denied|\(os error 13\)|Read-only file system|\(os error 30\)")
_TOO_LARGE = "(os error 27)"
_OURS = re.compile(r"[\\/](dativo_assets|dativo_plugin_sdk|dativo_rust_\w+|contextlib\.py|threading\.py)([\\/]|$)|^<")
_MAX_SHOWN_CHARACTERS = 120
_MARK_CHARACTERS = 200


@dataclass(frozen=True)
class Location:
    """A place in a file. line, column: from 1, None where only the file is known. length: characters to underline."""

    file: str
    line: int | None = None
    column: int | None = None
    source_line: str | None = None
    length: int = 1

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)

    def details(self) -> dict[str, Any]:
        """The keys of `DativoError.details` that say the same."""
        found = {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "source_line": self.source_line,
            "length": self.length if self.line is not None else None,
        }
        return {key: value for key, value in found.items() if value is not None}


class ConfigurationErrors(ConfigurationError):
    """Several mistakes in what a person wrote, each an error of its own in `errors`."""

    @classmethod
    def of(cls, errors: Iterable[ConfigurationError]) -> ConfigurationError:
        """One error that holds all of them; the error itself when there is one alone."""
        flat: list[DativoError] = []
        for error in errors:
            flat.extend(error.errors if isinstance(error, ConfigurationErrors) else (error,))
        if len(flat) == 1 and isinstance(flat[0], ConfigurationError):
            return flat[0]
        details: dict[str, Any] = {
            key: flat[0].details[key] for key in ("file", "job") if flat and key in flat[0].details
        }
        details["errors"] = [error.to_dict() for error in flat]
        return cls("; ".join(error.message for error in flat), details=details)

    @property
    def errors(self) -> tuple[DativoError, ...]:
        return tuple(from_dict(value) for value in self.details.get("errors", ()))

    def at(self, **details: Any) -> DativoError:
        """As `DativoError.at`, for each error inside too."""
        self.details["errors"] = [error.at(**details).to_dict() for error in self.errors]
        return super().at(**details)


def render(error: DativoError) -> str:
    """The error as plain text of several lines, as a good compiler writes it; no newline at the end."""
    if isinstance(error, ConfigurationErrors):
        return "\n\n".join(render(inner) for inner in error.errors)
    lines = [f"error[{error.error_code}]: {error.message}"]
    details = error.details
    number = details.get("line")
    gutter = " " * len(str(number)) if number is not None and details.get("source_line") is not None else " "
    for place in _places(details):
        lines.append(f"{gutter}--> {place}")
    if number is not None and details.get("source_line") is not None:
        text, column = _window(str(details["source_line"]), int(details.get("column") or 1))
        marks = "^" * max(1, min(int(details.get("length") or 1), len(text) - column + 1))
        # A tab stays a tab below the line, so that the marks stand under what they mark whatever its width is.
        indent = "".join("\t" if char == "\t" else " " for char in text[: column - 1])
        lines += [f"{gutter} |", f"{number} | {text}", f"{gutter} | {indent}{marks}"]
    if error.hint:
        first, *rest = error.hint.splitlines()
        lines.append(f"{gutter} = hint: {first}")
        lines += [f"{gutter}         {line}" for line in rest]
    return "\n".join(lines)


def _window(line: str, column: int) -> tuple[str, int]:
    """The part of a long line around a column, and the column within it."""
    if len(line) <= _MARK_CHARACTERS:
        return line, column
    start = max(0, column - 1 - _MAX_SHOWN_CHARACTERS // 2)
    part = line[start : start + _MAX_SHOWN_CHARACTERS]
    head = "..." if start else ""
    tail = "..." if start + _MAX_SHOWN_CHARACTERS < len(line) else ""
    return f"{head}{part}{tail}", column - start + len(head)


def _places(details: Mapping[str, Any]) -> list[str]:
    places = [] if details.get("declared") is None else [str(details["declared"])]
    if details.get("file") is not None:
        parts = (details["file"], details.get("line"), details.get("column"))
        places.append(":".join(str(part) for part in parts if part is not None))
    names = {"job": "job", "stage": "stage", "split": "split", "row": "row", "byte": "byte", "plugin": "plugin"}
    run = [f"{word} {details[key]}" for key, word in names.items() if details.get(key) is not None]
    # A mistake in a file is found by file and line alone: the job adds nothing to it.
    if run and (not places or set(details) & {"stage", "split", "row", "byte"}):
        places.append(", ".join(run))
    return places


def is_pydantic_error(error: BaseException) -> TypeGuard[pydantic.ValidationError]:
    """Whether a model has refused a value; known without pydantic."""
    return type(error).__module__.startswith("pydantic") and hasattr(error, "errors")


def to_dativo_error(
    error: BaseException,
    *,
    job: str | None = None,
    stage: str | None = None,
    plugin: str | None = None,
    split: str | None = None,
) -> DativoError:
    """Whatever was raised as one of the tree, with where it happened in `details` and the original as `__cause__`.

    plugin: the name of the plugin whose code was running, where it was one. An error that already is one of the tree is
    returned itself.
    """
    found = _translate(error, plugin)
    if found is not error and found.__cause__ is None:
        found.__cause__ = error
    return found.at(job=job, stage=stage, plugin=plugin, split=split)


def _translate(error: BaseException, plugin: str | None) -> DativoError:
    if isinstance(error, DativoError):
        return error
    text = _text(error)
    embedded = from_text(str(error))
    if embedded is not None:
        return embedded
    who = f"plugin {plugin}" if plugin else None
    details = {"original_type": type(error).__name__}
    if isinstance(error, KeyboardInterrupt):
        return CancelledError("the run was interrupted", details=details)
    if isinstance(error, SystemExit):
        return PluginError(
            f"{who or 'a plugin'} asked the process to exit (status {error.code})",
            details=details,
            hint="a plugin raises an error instead of calling exit()",
        )
    if isinstance(error, MemoryError):
        return DativoError(
            f"memory ran out{f' in {who}' if who else ''}",
            "OUT_OF_MEMORY",
            details,
            hint="give the run more memory, or lower the parallelism or the memory budget",
        )
    if system := _system_error(error, text, details):
        return system
    if is_pydantic_error(error):
        option = list(error.errors(include_input=False, include_url=False, include_context=False)[0]["loc"])
        return ConfigurationError(text, details={**details, "option": option})
    if isinstance(error, RecursionError):
        text = "its calls nest too deep (RecursionError)"
    if who is None:
        return DativoError(text, details=details)
    hint = "this error comes from the plugin's code, not from the job: mend it there, or tell its author"
    return PluginError(f"{who} failed: {text}", details={**details, **_raised_at(error)}, hint=hint)


def _raised_at(error: BaseException) -> dict[str, Any]:
    """The last line of somebody else's code that the error went through."""
    import traceback

    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _OURS.search(frame.filename)]
    return {"file": frames[-1].filename, "line": frames[-1].lineno} if frames else {}


def _system_error(error: BaseException, text: str, details: dict[str, Any]) -> DativoError | None:
    code = error.errno if isinstance(error, OSError) else None
    path = str(error.filename) if isinstance(error, OSError) and error.filename is not None else None
    where = f" {path}" if path else ""
    if code in (errno.ENOSPC, errno.EDQUOT) or _NO_SPACE.search(text):
        return DativoError(
            f"the disk is full: {text}",
            "DISK_FULL",
            details,
            hint=f"free some space for{where or ' the target'}, then run the job again; nothing of this run is visible",
        )
    if code in (errno.EACCES, errno.EPERM, errno.EROFS) or (code is None and _NO_ACCESS.search(text)):
        return DativoError(
            f"no permission: {text}",
            "PERMISSION_DENIED",
            details,
            hint=f"let this user read and write{where or ' there'}, or choose another path",
        )
    if code in (errno.EMFILE, errno.ENFILE):
        return DativoError(text, "TOO_MANY_FILES", details, hint="raise the limit of open files (ulimit -n)")
    if code == errno.EFBIG or _TOO_LARGE in text:
        return DativoError(text, "FILE_TOO_LARGE", details, hint="raise the limit of a file's size (ulimit -f)")
    if isinstance(error, FileNotFoundError):
        message = f"file not found:{where}" if path else text
        return DativoError(message, "FILE_NOT_FOUND", details, hint="paths are relative to the project's folder")
    if isinstance(error, TimeoutError):
        return TransientError(f"no answer in time: {text}", details=details)
    if code in _DEVICE:
        details = {**details, "file": path} if path else details
        return TransientError(
            f"{where.strip() or 'a file'} can't be read or written: {text}",
            "IO_ERROR",
            details,
            hint=f"look at the disk or mount of{where or ' the job'}, then run it again",
        )
    if isinstance(error, OSError) and _is_builtin_connection_error(error):
        return ConnectionError(text, details=details)
    return None


def _is_builtin_connection_error(error: OSError) -> bool:
    return any(kind.__name__ == "ConnectionError" and kind.__module__ == "builtins" for kind in type(error).__mro__)


def _text(error: BaseException) -> str:
    """The error's own words. A pydantic error is told without the values it saw: one of them may be a secret."""
    if is_pydantic_error(error):
        found = error.errors(include_input=False, include_url=False, include_context=False)
        return "; ".join(f"{'.'.join(map(str, item['loc'])) or 'value'}: {item['msg']}" for item in found)
    words = str(error)
    name = type(error).__name__
    return f"{name}: {words}" if words else name
