"""What a plugin author imports. Everything public is in `__all__`; the rest of the package is private.

Models of options, and what readers of web APIs use, are imported when they are asked for, and pydantic with them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .adapt import lift_reader, lift_writer
from .directory import DirectoryTable
from .directory_writer import DirectoryWriter, FileSink
from .errors import (
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
    get_error_code,
    is_retryable_error,
    wrap_exception,
)
from .file_news import InputFile
from .files import FileReader, open_input
from .models import (
    AssetDefinition,
    Checkpoint,
    Commit,
    Committable,
    ConnectionTestResult,
    DiscoveryResult,
    Incremental,
    MaintainReport,
    MaintainRequest,
    ReadPlan,
    ReadRequest,
    Snapshot,
    SourceConfig,
    Split,
    TargetConfig,
    Upstream,
    WriteRequest,
    WriteTask,
)
from .native import NativeFileReader, NativeReader, NativeSink, NativeWriter
from .parquet_writer import ParquetDirectoryWriter
from .partitions import Partition, parse_partitions
from .reader import BaseReader
from .rows import to_batches
from .version import API_VERSION, check_api_version
from .writer import BaseWriter, SplitWriter

if TYPE_CHECKING:
    from .apis import RateLimit, flatten, paginate, retry, retry_after_s
    from .options import CsvOptions, DirectoryOptions, MergeOptions, Options, ParquetDirectoryOptions

__version__ = "0.1.0"

__all__ = [
    "API_VERSION",
    "AssetDefinition",
    "AuthenticationError",
    "BaseReader",
    "BaseWriter",
    "CancelledError",
    "Checkpoint",
    "Commit",
    "CommitConflictError",
    "Committable",
    "ConfigurationError",
    "ConnectionError",
    "ConnectionTestResult",
    "CsvOptions",
    "DativoError",
    "DirectoryOptions",
    "DirectoryTable",
    "DirectoryWriter",
    "DiscoveryResult",
    "FileReader",
    "FileSink",
    "Incremental",
    "InputFile",
    "MaintainReport",
    "MaintainRequest",
    "MergeOptions",
    "NativeFileReader",
    "NativeReader",
    "NativeSink",
    "NativeWriter",
    "Options",
    "ParquetDirectoryOptions",
    "ParquetDirectoryWriter",
    "Partition",
    "PluginError",
    "PluginVersionError",
    "RateLimit",
    "RateLimitError",
    "ReadPlan",
    "ReadRequest",
    "SandboxError",
    "SchemaMismatchError",
    "Snapshot",
    "SourceConfig",
    "Split",
    "SplitWriter",
    "TargetConfig",
    "TransientError",
    "Upstream",
    "ValidationError",
    "WriteRequest",
    "WriteTask",
    "check_api_version",
    "flatten",
    "get_error_code",
    "is_retryable_error",
    "lift_reader",
    "lift_writer",
    "open_input",
    "paginate",
    "parse_partitions",
    "retry",
    "retry_after_s",
    "to_batches",
    "wrap_exception",
]


_OF_APIS = frozenset({"RateLimit", "flatten", "paginate", "retry", "retry_after_s"})


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(".apis" if name in _OF_APIS else ".options", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
