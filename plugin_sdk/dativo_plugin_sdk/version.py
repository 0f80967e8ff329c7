"""Versions of the plugin API: integers, raised when a plugin written for the older one would break. A plugin declares the one
that it was made for, or the oldest and the newest that it works with; so does an installation.
"""

from __future__ import annotations

from .errors import PluginVersionError

API_VERSION = 1
MIN_API_VERSION = 1

_PAIR = 2

ApiVersions = int | tuple[int, int]
"""As a plugin declares them: one, or the oldest and the newest."""


def api_range(declared: object) -> tuple[int, int]:
    """The oldest and the newest version of a declaration, which in JSON is a number or a list of two.

    Raises: ValueError: for anything else.
    """
    pair = declared if isinstance(declared, list | tuple) else (declared, declared)
    numbers = [item for item in pair if isinstance(item, int) and not isinstance(item, bool)]
    if len(pair) != _PAIR or len(numbers) != _PAIR or numbers[0] > numbers[1]:
        raise ValueError(f"{declared!r} is neither a version nor the oldest and the newest")
    return numbers[0], numbers[1]


def api_versions(declared: object) -> ApiVersions:
    """A declaration in its shortest form. Raises: ValueError."""
    oldest, newest = api_range(declared)
    return newest if oldest == newest else (oldest, newest)


def api_text(declared: object) -> str:
    """A declaration for a person: "1", or "1 to 3". Raises: ValueError."""
    oldest, newest = api_range(declared)
    return str(newest) if oldest == newest else f"{oldest} to {newest}"


def fits_api(declared: object) -> bool:
    """Whether this installation has a version that a plugin works with. Raises: ValueError."""
    oldest, newest = api_range(declared)
    return oldest <= API_VERSION and newest >= MIN_API_VERSION


def check_api_version(plugin: str, declared: object) -> None:
    """Refuse a plugin made for other versions than this installation has.

    Raises: PluginVersionError: naming the side that has to be upgraded.
    """
    try:
        oldest, _ = api_range(declared)
    except ValueError:
        raise PluginVersionError(
            f"plugin {plugin} declares api_version {declared!r}, which is neither an integer nor a pair of them",
            hint=f"set api_version = {API_VERSION} on the class, or (oldest, newest)",
        ) from None
    if oldest > API_VERSION:
        raise PluginVersionError(
            f"plugin {plugin} needs plugin API {api_text(declared)}; this installation provides {_provided()}",
            hint="upgrade dativo-assets and dativo-plugin-sdk",
        )
    if not fits_api(declared):
        raise PluginVersionError(
            f"plugin {plugin} was made for plugin API {api_text(declared)}; this installation provides {_provided()}",
            hint=f"upgrade the plugin {plugin}",
        )


def _provided() -> str:
    return api_text((MIN_API_VERSION, API_VERSION))
