"""Delimited text read natively: the reader `rust_csv`."""

from __future__ import annotations

from typing import Any, ClassVar

from dativo_plugin_sdk.deferred import deferred
from dativo_plugin_sdk.native import NativeFileReader

from ._native import Reader

__all__ = ["RustCsvReader"]


class RustCsvReader(NativeFileReader):
    """CSV files, plain or compressed, straight into Arrow columns."""

    Options = deferred("dativo_plugin_sdk.options:CsvOptions")
    suffixes = (".csv", ".tsv", ".txt", ".psv")
    remote = True
    native: ClassVar[Any] = Reader
