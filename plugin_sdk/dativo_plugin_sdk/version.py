"""The plugin API version: one integer, raised when a plugin written for the older one would break."""

from __future__ import annotations

from .errors import PluginVersionError

API_VERSION = 1
MIN_API_VERSION = 1


def check_api_version(plugin: str, version: object) -> None:
    """Refuse a plugin made for another API version.

    Raises: PluginVersionError: naming the side that has to be upgraded.
    """
    if not isinstance(version, int) or isinstance(version, bool):
        raise PluginVersionError(
            f"plugin {plugin} declares api_version {version!r}, which is not an integer",
            hint=f"set api_version = {API_VERSION} on the class",
        )
    if version > API_VERSION:
        raise PluginVersionError(
            f"plugin {plugin} needs plugin API {version}; this installation provides {API_VERSION}",
            hint="upgrade dativo-assets and dativo-plugin-sdk",
        )
    if version < MIN_API_VERSION:
        raise PluginVersionError(
            f"plugin {plugin} was made for plugin API {version}; this installation needs {MIN_API_VERSION} or newer",
            hint=f"upgrade the plugin {plugin}",
        )
