"""A plugin's own options: their base, and those that several plugins share, so that one can stand in for another."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from typing_extensions import Self

from .files import Compression


class Options(BaseModel):
    """Base of a plugin's own options: declare fields with types, defaults and descriptions. Unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class DirectoryOptions(Options):
    """What every format takes that DirectoryWriter puts into a directory."""

    target_file_bytes: int | None = Field(
        None, ge=1, description="a file ends once it is about this large; default: one file a worker and partition"
    )
    overwrite: Literal["table", "partitions"] = Field(
        "table", description="overwrite: the whole table, or only those partitions that new rows are in"
    )
    adopt: str | None = Field(
        None, description="the job whose table this was: its rows and its cursor are this job's from now on"
    )


class MergeOptions(Options):
    """What every target takes that merges by key."""

    delete_column: str | None = Field(
        None, description="merge: a boolean column; a row where it is true removes the row of its key"
    )
    duplicate_keys: Literal["last", "error"] = Field(
        "last",
        description="merge: of rows of one run that share a key the newest counts (and the rest are counted), or none",
    )


class ParquetDirectoryOptions(DirectoryOptions, MergeOptions):
    """What every writer of Parquet takes, however it makes its files."""


class CsvOptions(Options):
    """How a CSV file is written down. The Python and the native CSV reader take the same options."""

    delimiter: str | None = Field(None, description="one character; auto or absent: found among `,` `;` tab `|`")
    quote_char: str | None = Field('"', description="one character; null: quotes are ordinary characters; auto")
    escape_char: str | None = Field(None, description="one character before a quote inside quotes; auto; else doubling")
    header: bool | Literal["auto"] = Field(True, description="whether the first row holds the column names; auto")
    column_names: tuple[str, ...] | None = Field(None, description="names to use instead of (or without) a header")
    encoding: str = Field("utf-8", description="utf-8, latin-1, windows-1252, ..., auto; a BOM wins over it")
    null_values: tuple[str, ...] = Field(("",), description="unquoted texts that mean null")
    true_values: tuple[str, ...] = Field(("true",), description="texts that mean true, in any case")
    false_values: tuple[str, ...] = Field(("false",), description="texts that mean false, in any case")
    decimal_separator: str = Field(".", description="one character before the fraction of a number")
    thousands_separator: str | None = Field(None, description="one character between the thousands of a number")
    date_formats: tuple[str, ...] = Field((), description="strftime forms of dates besides ISO 8601")
    timestamp_formats: tuple[str, ...] = Field((), description="strftime forms of points in time besides ISO 8601")
    binary_format: Literal["raw", "hex", "base64"] = Field("raw", description="how texts stand for bytes")
    comment: str | None = Field(None, description="a line that starts with this character is left out")
    skip_rows: int = Field(0, ge=0, description="lines to leave out before the header")
    trim: bool = Field(False, description="drop spaces around unquoted values")
    bad_lines: Literal["error", "skip"] = Field("error", description="what to do with rows of another length")
    infer_types: bool = Field(True, description="false: every column without a contract type is a string")
    infer_rows: int = Field(
        10_000, ge=1, le=2**63 - 1, description="rows sampled over the input to infer types; rust_csv: of 8 MiB at most"
    )
    compression: Compression = Field("auto", description="auto: by the file's suffix")
    max_field_bytes: int = Field(256 << 20, ge=1, description="a longer field is an error (often a quote left open)")

    @field_validator("delimiter", "quote_char", "escape_char")
    @classmethod
    def _one_character_or_auto(cls, value: str | None) -> str | None:
        return value if value == "auto" else _one_character(value)

    @field_validator("comment", "decimal_separator", "thousands_separator")
    @classmethod
    def _one_character(cls, value: str | None) -> str | None:
        return _one_character(value)

    @model_validator(mode="after")
    def _different_separators(self) -> Self:
        if self.thousands_separator == self.decimal_separator:
            raise ValueError("decimal_separator and thousands_separator are the same")
        return self


def _one_character(value: str | None) -> str | None:
    if value is not None and (len(value) != 1 or value in "\r\n\0" or not value.isascii()):
        raise ValueError("must be one ASCII character, and no line break")
    return value
