//! What a job may say about its files; the Python SDK's `CsvOptions` has the same names and defaults.

use dativo_plugin::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};

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

/// The options of `rust_csv`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CsvOptions {
    /// One ASCII character; detected when absent.
    pub delimiter: Option<char>,
    /// One ASCII character; absent: quotes are ordinary characters.
    pub quote_char: Option<char>,
    /// One ASCII character before a quote inside quotes.
    pub escape_char: Option<char>,
    /// Whether the first row holds the column names.
    pub header: bool,
    /// Names to use instead of (or without) a header.
    pub column_names: Option<Vec<String>>,
    /// The encoding's name; a BOM wins over it.
    pub encoding: String,
    /// Unquoted texts that mean null.
    pub null_values: Vec<String>,
    /// Texts that mean true, in any case.
    pub true_values: Vec<String>,
    /// Texts that mean false, in any case.
    pub false_values: Vec<String>,
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
            delimiter: None,
            quote_char: Some('"'),
            escape_char: None,
            header: true,
            column_names: None,
            encoding: "utf-8".to_owned(),
            null_values: vec![String::new()],
            true_values: vec!["true".to_owned()],
            false_values: vec!["false".to_owned()],
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
            ("delimiter", options.delimiter),
            ("quote_char", options.quote_char),
            ("escape_char", options.escape_char),
            ("comment", options.comment),
        ];
        for (name, character) in characters {
            if character.is_some_and(|character| !character.is_ascii() || "\r\n\0".contains(character)) {
                return Err(Error::configuration(format!(
                    "options of rust_csv: {name} must be one ASCII character, and no line break"
                )));
            }
        }
        if options.delimiter.is_some() && options.delimiter == options.quote_char {
            return Err(Error::configuration("options of rust_csv: delimiter and quote_char are the same"));
        }
        Ok(options)
    }

    /// A JSON Schema of the options.
    pub fn json_schema() -> Value {
        let character = json!({"type": ["string", "null"], "minLength": 1, "maxLength": 1});
        let texts = json!({"type": "array", "items": {"type": "string"}});
        json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "delimiter": character,
                "quote_char": character,
                "escape_char": character,
                "header": {"type": "boolean", "default": true},
                "column_names": {"type": ["array", "null"], "items": {"type": "string"}},
                "encoding": {"type": "string", "default": "utf-8"},
                "null_values": texts,
                "true_values": texts,
                "false_values": texts,
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
