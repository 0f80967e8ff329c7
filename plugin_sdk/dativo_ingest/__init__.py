"""What plugins written for the earlier `dativo_ingest` import: the SDK's own classes in the shapes that those plugins know.

Nothing runs in here: the pipeline sees readers and writers of the SDK. New plugins import `dativo_plugin_sdk`.
"""

from dativo_plugin_sdk import __version__

from .exceptions import (
    AuthenticationError,
    ConfigurationError,
    ConnectionError,
    DativoError,
    PluginError,
    PluginVersionError,
    RateLimitError,
    SandboxError,
    TransientError,
    ValidationError,
    get_error_code,
    is_retryable_error,
    wrap_exception,
)
from .plugins import BaseReader, BaseWriter, ConnectionTestResult, DiscoveryResult, PluginLoader

__all__ = [
    "AuthenticationError",
    "BaseReader",
    "BaseWriter",
    "ConfigurationError",
    "ConnectionError",
    "ConnectionTestResult",
    "DativoError",
    "DiscoveryResult",
    "PluginError",
    "PluginLoader",
    "PluginVersionError",
    "RateLimitError",
    "SandboxError",
    "TransientError",
    "ValidationError",
    "__version__",
    "get_error_code",
    "is_retryable_error",
    "wrap_exception",
]
