"""Delimited text read natively: the reader `rust_csv`."""

from __future__ import annotations

from typing import Any, ClassVar

from dativo_plugin_sdk.native import NativeFileReader
from dativo_plugin_sdk.options import CsvOptions

from ._native import Reader

__all__ = ["RustCsvReader"]


class RustCsvReader(NativeFileReader):
    """CSV files, plain or compressed, straight into Arrow columns."""

    Options = CsvOptions
    suffixes = (".csv", ".tsv", ".txt", ".psv")
    remote = True
    native: ClassVar[Any] = Reader
