"""The word that was probably meant."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    import difflib

    words = list(known)
    lowered = {name.lower().replace("-", "_"): name for name in words}
    folded = word.lower().replace("-", "_")
    if folded in lowered:
        return lowered[folded]
    found = difflib.get_close_matches(folded, lowered, n=1, cutoff=0.6)
    return lowered[found[0]] if found else None
