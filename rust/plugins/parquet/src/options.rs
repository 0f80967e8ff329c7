//! What a job may say about the files; the Python side has the same model.

use std::collections::BTreeMap;

use dativo_plugin::{Error, Result};
use parquet::basic::{Compression as Codec, Encoding, GzipLevel, Type as PhysicalType, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::SchemaDescriptor;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::order::{SortKey, sorting_columns};
use crate::pages::PageOptions;

/// How pages are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Zstandard.
    Zstd,
    /// Snappy.
    Snappy,
    /// LZ4, raw blocks.
    Lz4Raw,
    /// Gzip.
    Gzip,
    /// Not at all.
    None,
}

/// Which readers the files are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compatibility {
    /// Those of today: data pages of version 2 and their encodings.
    Modern,
    /// Old ones: data pages of version 1, plain and dictionary encoding.
    Legacy,
}

/// How much is told about the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statistics {
    /// Nothing.
    None,
    /// Minimum, maximum and null count a column chunk.
    Chunk,
    /// The same a page, with a page index.
    Page,
}

/// The options of `rust_parquet`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ParquetOptions {
    /// How pages are compressed.
    pub compression: Compression,
    /// For zstd (1 to 22) and gzip (0 to 9); absent: 1, with less effort where more does not pay, and 6.
    pub compression_level: Option<u32>,
    /// Rows in a row group, at most.
    pub row_group_rows: usize,
    /// Encoded bytes in a row group, about at most.
    pub row_group_bytes: usize,
    /// Bytes in a data page before compression, about at most.
    pub page_bytes: usize,
    /// Rows in a data page, at most.
    pub page_rows: usize,
    /// Bytes of a dictionary before the column falls back to other encodings.
    pub dictionary_bytes: usize,
    /// How much is told about the values.
    pub statistics: Statistics,
    /// Whether every column gets a bloom filter.
    pub bloom_filter: bool,
    /// Which readers the files are for.
    pub compatibility: Compatibility,
    /// Key-value pairs for the footer.
    pub metadata: BTreeMap<String, String>,
    /// The order that the rows have, for readers that can use it.
    pub sorted_by: Vec<SortKey>,
}

impl Default for ParquetOptions {
    fn default() -> Self {
        Self {
            compression: Compression::Zstd,
            compression_level: None,
            row_group_rows: 122_880,
            row_group_bytes: 32 << 20,
            page_bytes: 1 << 20,
            page_rows: 20_000,
            dictionary_bytes: 64 << 10,
            statistics: Statistics::Page,
            bloom_filter: false,
            compatibility: Compatibility::Modern,
            metadata: BTreeMap::new(),
            sorted_by: Vec::new(),
        }
    }
}

impl ParquetOptions {
    /// Options from JSON.
    pub fn from_json(value: &Value) -> Result<Self> {
        let options: Self = serde_json::from_value(value.clone())
            .map_err(|error| Error::configuration(format!("options of rust_parquet: {error}")))?;
        let sizes = [
            ("row_group_rows", options.row_group_rows),
            ("row_group_bytes", options.row_group_bytes),
            ("page_bytes", options.page_bytes),
            ("page_rows", options.page_rows),
        ];
        match sizes.iter().find(|(_, size)| *size == 0) {
            Some((name, _)) => Err(Error::configuration(format!("options of rust_parquet: {name} must be above 0"))),
            None => Ok(options),
        }
    }

    /// Whether flat columns are encoded here. The parquet crate writes what older readers need, and bloom filters.
    pub(crate) fn own_encoders(&self) -> bool {
        self.compatibility == Compatibility::Modern && !self.bloom_filter
    }

    pub(crate) fn page_options(&self) -> Result<PageOptions> {
        Ok(PageOptions {
            rows: self.page_rows,
            bytes: self.page_bytes,
            dictionary_bytes: self.dictionary_bytes,
            compression: self.codec()?,
            adaptive: self.compression_level.is_none(),
            chunk_statistics: self.statistics != Statistics::None,
            page_statistics: self.statistics == Statistics::Page,
        })
    }

    fn codec(&self) -> Result<Codec> {
        let bad_level = |error: parquet::errors::ParquetError| {
            Error::configuration(format!("options of rust_parquet: compression_level: {error}"))
        };
        Ok(match self.compression {
            Compression::Zstd => {
                let level = i32::try_from(self.compression_level.unwrap_or(1)).unwrap_or(i32::MAX);
                Codec::ZSTD(ZstdLevel::try_new(level).map_err(bad_level)?)
            }
            Compression::Gzip => {
                Codec::GZIP(GzipLevel::try_new(self.compression_level.unwrap_or(6)).map_err(bad_level)?)
            }
            Compression::Snappy => Codec::SNAPPY,
            Compression::Lz4Raw => Codec::LZ4_RAW,
            Compression::None => Codec::UNCOMPRESSED,
        })
    }

    /// The parquet crate's properties for these options and a file's columns.
    pub(crate) fn properties(&self, columns: &SchemaDescriptor) -> Result<WriterProperties> {
        let statistics = match self.statistics {
            Statistics::None => EnabledStatistics::None,
            Statistics::Chunk => EnabledStatistics::Chunk,
            Statistics::Page => EnabledStatistics::Page,
        };
        let version = match self.compatibility {
            Compatibility::Modern => WriterVersion::PARQUET_2_0,
            Compatibility::Legacy => WriterVersion::PARQUET_1_0,
        };
        let metadata: Vec<KeyValue> =
            self.metadata.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())).collect();
        let mut properties = WriterProperties::builder()
            .set_created_by(format!("dativo rust_parquet {}", env!("CARGO_PKG_VERSION")))
            .set_writer_version(version)
            .set_compression(self.codec()?)
            .set_max_row_group_row_count(Some(self.row_group_rows))
            .set_data_page_size_limit(self.page_bytes)
            .set_data_page_row_count_limit(self.page_rows)
            .set_dictionary_page_size_limit(self.dictionary_bytes)
            .set_statistics_enabled(statistics)
            .set_bloom_filter_enabled(self.bloom_filter)
            .set_sorting_columns(sorting_columns(&self.sorted_by, columns)?)
            .set_key_value_metadata((!metadata.is_empty()).then_some(metadata));
        for column in columns.columns() {
            // What the crate would choose for these, DELTA_BYTE_ARRAY, is slow to read, and unknown to some readers.
            let encoding = match column.physical_type() {
                PhysicalType::FIXED_LEN_BYTE_ARRAY => Encoding::PLAIN,
                PhysicalType::BYTE_ARRAY if self.compatibility == Compatibility::Modern => {
                    Encoding::DELTA_LENGTH_BYTE_ARRAY
                }
                _ => continue,
            };
            properties = properties.set_column_encoding(column.path().clone(), encoding);
        }
        Ok(properties.build())
    }

    /// A JSON Schema of the options, for editors and for `describe`.
    pub fn json_schema() -> Value {
        let at_least_one = json!({"type": "integer", "minimum": 1});
        json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "compression": {"enum": ["zstd", "snappy", "lz4_raw", "gzip", "none"], "default": "zstd"},
                "compression_level": {"type": ["integer", "null"], "default": null},
                "row_group_rows": at_least_one,
                "row_group_bytes": at_least_one,
                "page_bytes": at_least_one,
                "page_rows": at_least_one,
                "dictionary_bytes": {"type": "integer", "minimum": 0},
                "statistics": {"enum": ["none", "chunk", "page"], "default": "page"},
                "bloom_filter": {"type": "boolean", "default": false},
                "compatibility": {"enum": ["modern", "legacy"], "default": "modern"},
                "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
                "sorted_by": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "additionalProperties": false,
                        "required": ["column"],
                        "properties": {
                            "column": {"type": "string"},
                            "descending": {"type": "boolean", "default": false},
                            "nulls_first": {"type": "boolean", "default": false},
                        },
                    },
                },
            },
        })
    }
}
