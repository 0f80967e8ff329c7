"""The error tree under its older import."""

from dativo_plugin_sdk.errors import (
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

__all__ = [
    "AuthenticationError",
    "ConfigurationError",
    "ConnectionError",
    "DativoError",
    "PluginError",
    "PluginVersionError",
    "RateLimitError",
    "SandboxError",
    "TransientError",
    "ValidationError",
    "get_error_code",
    "is_retryable_error",
    "wrap_exception",
]
