//! What a job may say about its files; the Python SDK's `CsvOptions` has the same names and defaults.

use dativo_plugin::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::words::Words;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// As its suffix says.
    Auto,
    /// Not at all.
    None,
    /// Gzip, any number of members.
    Gzip,
    /// Zstandard, any number of frames.
    Zstd,
    /// Bzip2, any number of streams.
    Bz2,
    /// XZ.
    Xz,
    /// A zip archive of exactly one file.
    Zip,
}

impl Compression {
    /// This compression, or what the suffix of `path` says for `Auto`.
    pub fn of(self, path: &str) -> Self {
        if self != Self::Auto {
            return self;
        }
        match path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "gz" | "gzip" => Self::Gzip,
            "zst" | "zstd" => Self::Zstd,
            "bz2" => Self::Bz2,
            "xz" => Self::Xz,
            "zip" => Self::Zip,
            _ => Self::None,
        }
    }
}

/// What to do with rows of another length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadLines {
    /// Stop.
    Error,
    /// Leave them out.
    Skip,
}

/// How texts stand for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BinaryFormat {
    /// Their own bytes.
    Raw,
    /// Two hexadecimal digits a byte, in any case.
    Hex,
    /// Base64 as RFC 4648 has it, padded.
    Base64,
}

impl BinaryFormat {
    /// The bytes that a text stands for.
    pub(crate) fn decode(self, text: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Raw => Some(text.to_vec()),
            Self::Hex => data_encoding::HEXLOWER_PERMISSIVE.decode(text).ok(),
            Self::Base64 => data_encoding::BASE64.decode(text).ok(),
        }
    }
}

/// What a job says, or leaves to be found in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Setting<T> {
    /// To be found.
    Auto(Auto),
    /// As said.
    Given(T),
}

/// The word for what is to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auto {
    /// It.
    Auto,
}

impl<T: Copy> Setting<T> {
    /// What the job says, if it does.
    pub fn given(&self) -> Option<T> {
        match self {
            Self::Auto(_) => None,
            Self::Given(value) => Some(*value),
        }
    }
}

impl Setting<Option<char>> {
    /// The character that the job says: `None` where it says nothing or that there is none.
    pub fn character(&self) -> Option<u8> {
        self.given().flatten().map(|character| character as u8)
    }
}

/// The options of `rust_csv`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CsvOptions {
    /// One ASCII character; found in the text where it is not given.
    pub delimiter: Setting<Option<char>>,
    /// One ASCII character; absent: quotes are ordinary characters.
    pub quote_char: Setting<Option<char>>,
    /// One ASCII character before a quote inside quotes.
    pub escape_char: Setting<Option<char>>,
    /// Whether the first row holds the column names.
    pub header: Setting<bool>,
    /// Names to use instead of (or without) a header.
    pub column_names: Option<Vec<String>>,
    /// The encoding's name, or `auto`; a BOM wins over it.
    pub encoding: String,
    /// Unquoted texts that mean null.
    pub null_values: Vec<String>,
    /// Texts that mean true, in any case.
    pub true_values: Vec<String>,
    /// Texts that mean false, in any case.
    pub false_values: Vec<String>,
    /// Before the fraction of a number; one ASCII character.
    pub decimal_separator: char,
    /// Between the thousands of a number; one ASCII character.
    pub thousands_separator: Option<char>,
    /// Forms of dates besides ISO 8601: strftime directives.
    pub date_formats: Vec<String>,
    /// Forms of points in time besides ISO 8601: strftime directives.
    pub timestamp_formats: Vec<String>,
    /// How texts stand for bytes.
    pub binary_format: BinaryFormat,
    /// A line that starts with this character is left out.
    pub comment: Option<char>,
    /// Lines to leave out before the header.
    pub skip_rows: u64,
    /// Drop spaces around unquoted values.
    pub trim: bool,
    /// What to do with rows of another length.
    pub bad_lines: BadLines,
    /// Whether types are inferred; else columns without a contract type are strings.
    pub infer_types: bool,
    /// Rows sampled over the input to infer types.
    pub infer_rows: usize,
    /// How the files are compressed.
    pub compression: Compression,
    /// A longer field is an error.
    pub max_field_bytes: usize,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            delimiter: Setting::Auto(Auto::Auto),
            quote_char: Setting::Given(Some('"')),
            escape_char: Setting::Given(None),
            header: Setting::Given(true),
            column_names: None,
            encoding: "utf-8".to_owned(),
            null_values: vec![String::new()],
            true_values: vec!["true".to_owned()],
            false_values: vec!["false".to_owned()],
            decimal_separator: '.',
            thousands_separator: None,
            date_formats: Vec::new(),
            timestamp_formats: Vec::new(),
            binary_format: BinaryFormat::Raw,
            comment: None,
            skip_rows: 0,
            trim: false,
            bad_lines: BadLines::Error,
            infer_types: true,
            infer_rows: 10_000,
            compression: Compression::Auto,
            max_field_bytes: 256 << 20,
        }
    }
}

impl CsvOptions {
    /// Options from JSON; `null` means all defaults.
    pub fn from_json(value: &Value) -> Result<Self> {
        if value.is_null() {
            return Ok(Self::default());
        }
        let options: Self = serde_json::from_value(value.clone())
            .map_err(|error| Error::configuration(format!("options of rust_csv: {error}")))?;
        let characters = [
            ("delimiter", options.delimiter.given().flatten()),
            ("quote_char", options.quote_char.given().flatten()),
            ("escape_char", options.escape_char.given().flatten()),
            ("comment", options.comment),
            ("decimal_separator", Some(options.decimal_separator)),
            ("thousands_separator", options.thousands_separator),
        ];
        for (name, character) in characters {
            if character.is_some_and(|character| !character.is_ascii() || "\r\n\0".contains(character)) {
                return Err(Error::configuration(format!(
                    "options of rust_csv: {name} must be one ASCII character, and no line break"
                )));
            }
        }
        let delimiter = options.delimiter.character();
        if delimiter.is_some() && delimiter == options.quote_char.character() {
            return Err(Error::configuration("options of rust_csv: delimiter and quote_char are the same"));
        }
        if options.thousands_separator == Some(options.decimal_separator) {
            return Err(Error::configuration(
                "options of rust_csv: decimal_separator and thousands_separator are the same",
            ));
        }
        Words::new(&options)?;
        Ok(options)
    }

    /// A JSON Schema of the options.
    pub fn json_schema() -> Value {
        let character = json!({"type": ["string", "null"], "minLength": 1, "maxLength": 1});
        let found = json!({"anyOf": [{"const": "auto"}, character]});
        let texts = json!({"type": "array", "items": {"type": "string"}});
        json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "delimiter": found,
                "quote_char": found,
                "escape_char": found,
                "header": {"enum": [true, false, "auto"], "default": true},
                "column_names": {"type": ["array", "null"], "items": {"type": "string"}},
                "encoding": {"type": "string", "default": "utf-8"},
                "null_values": texts,
                "true_values": texts,
                "false_values": texts,
                "decimal_separator": {"type": "string", "minLength": 1, "maxLength": 1, "default": "."},
                "thousands_separator": character,
                "date_formats": texts,
                "timestamp_formats": texts,
                "binary_format": {"enum": ["raw", "hex", "base64"], "default": "raw"},
                "comment": character,
                "skip_rows": {"type": "integer", "minimum": 0, "default": 0},
                "trim": {"type": "boolean", "default": false},
                "bad_lines": {"enum": ["error", "skip"], "default": "error"},
                "infer_types": {"type": "boolean", "default": true},
                "infer_rows": {"type": "integer", "minimum": 1, "default": 10_000},
                "compression": {"enum": ["auto", "none", "gzip", "zstd", "bz2", "xz", "zip"], "default": "auto"},
                "max_field_bytes": {"type": "integer", "minimum": 1},
            },
        })
    }
}
