"""The names a plugin author may import are a list in one file, and this pins it."""

from __future__ import annotations

import subprocess
import sys

import dativo_plugin_sdk

NAMES = """
API_VERSION AssetDefinition AuthenticationError BaseReader BaseWriter CancelledError Checkpoint Commit
CommitConflictError Committable ConfigurationError ConnectionError ConnectionTestResult CsvOptions DativoError
DirectoryOptions DirectoryTable DirectoryWriter DiscoveryResult FileReader FileSink Incremental InputFile MaintainReport
MaintainRequest MergeOptions NativeFileReader NativeReader NativeSink NativeWriter Options ParquetDirectoryOptions
ParquetDirectoryWriter Partition PluginError PluginVersionError RateLimit RateLimitError ReadPlan ReadRequest SandboxError
SchemaMismatchError Snapshot SourceConfig Split SplitWriter TargetConfig TransientError Upstream ValidationError
WriteRequest WriteTask check_api_version flatten get_error_code is_retryable_error lift_reader lift_writer open_input
paginate parse_partitions retry retry_after_s to_batches wrap_exception
"""


def test_the_public_names_are_these() -> None:
    assert sorted(dativo_plugin_sdk.__all__) == sorted(NAMES.split())
    assert all(hasattr(dativo_plugin_sdk, name) for name in dativo_plugin_sdk.__all__)


def test_importing_the_sdk_needs_pydantic_alone() -> None:
    script = "import sys, dativo_plugin_sdk; print([m for m in ('pyarrow', 'numpy', 'dagster') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
