"""What looks like a secret in a line that is about to be shown."""

from __future__ import annotations

import re

MASK = "***"
_WORDS = r"pass(?:word|wd|phrase)?|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential|authorization"
_NAME = re.compile(rf"(?:^|[_\-.])(?:{_WORDS})s?(?:$|[_\-.])|(?:{_WORDS})s?$", re.IGNORECASE)
_PAIR = re.compile(
    rf"""(?P<key>["']?[\w.\-]*(?:{_WORDS})[\w.\-]*["']?\s*:\s*)(?P<value>\$\{{[^}}]*\}}|"[^"]*"|'[^']*'|[^,{{}}\[\]\s#][^,}}\]#]*)""",
    re.IGNORECASE,
)
_URL = re.compile(r"(?P<head>[A-Za-z][\w+.\-]*://[^\s:/@]*:)(?P<value>[^\s@/]+)(?=@)")
_REFERENCE = re.compile(r"""\s*["']?\$\{[^}]*\}["']?\s*""")


def is_secret_name(key: str) -> bool:
    """Whether a key by this name usually holds a secret: `password`, `api_key`, `client_secret`."""
    return _NAME.search(key) is not None


def mask_line(line: str, column: int = 0) -> str:
    """A line of YAML with the values of secret keys and passwords inside URLs masked; `${NAME}` stays.

    column: from 0; what stands there stays there, so that a mark below it still points at it.
    """

    def hide(match: re.Match[str]) -> str:
        value = match["value"]
        if _REFERENCE.fullmatch(value):
            return match[0]
        mask = MASK[: len(value)].ljust(len(value)) if match.end() <= column else MASK
        return match[0][: match.start("value") - match.start()] + mask

    return _URL.sub(hide, _PAIR.sub(hide, line))
