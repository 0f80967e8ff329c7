//! A reader that takes what its host lends, and a format that looks at every value.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use arrow_array::{Array, BinaryArray, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use dativo_plugin::{
    Error, FileFormat, FileInfo, FileSink, ReadContext, Result, SimpleReader, SourceConfig, WriteContext,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize, JsonSchema)]
pub struct LinesOptions {
    /// Where to begin, from the end where it is negative.
    #[serde(default)]
    seek: i64,
    /// How much to read.
    #[serde(default)]
    size: u64,
}

/// The bytes of files by URI.
pub struct Lines(LinesOptions, SourceConfig);

impl SimpleReader for Lines {
    const NAME: &'static str = "lines";
    const VERSION: &'static str = "1";
    const FILES: bool = true;
    type Options = LinesOptions;

    fn new(options: LinesOptions, source: SourceConfig) -> Result<Self> {
        Ok(Self(options, source))
    }

    fn schema(&self) -> Result<SchemaRef> {
        Ok(Arc::new(Schema::new(vec![Field::new("line", DataType::Binary, true)])))
    }

    fn batches(&self, _: &ReadContext) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + 'static> {
        let (source, seek, size, schema) = (self.1.clone(), self.0.seek, self.0.size.min(1 << 16), self.schema()?);
        Ok(source.files.clone().into_iter().map(move |path| {
            let mut file = source.storage.open(&path)?;
            source.log.warning(format!("{path} has {} bytes\0", file.size()));
            let from = u64::try_from(seek).map_or(SeekFrom::End(seek), SeekFrom::Start);
            let mut found = Vec::new();
            file.seek(from).map_err(|error| Error::io(&error, &path))?;
            file.take(size).read_to_end(&mut found).map_err(|error| Error::io(&error, &path))?;
            Ok(RecordBatch::try_new(schema.clone(), vec![Arc::new(BinaryArray::from_vec(vec![&found]))])?)
        }))
    }
}

/// Nothing is written.
pub struct Looked(u64);

impl FileFormat for Looked {
    const NAME: &'static str = "looked";
    const VERSION: &'static str = "1";
    const EXTENSION: &'static str = "x";
    type Sink = Self;

    fn options_schema() -> Value {
        Value::Null
    }

    fn create(_: &Path, _: SchemaRef, _: &Value, _: WriteContext) -> Result<Self> {
        Ok(Self(0))
    }
}

impl FileSink for Looked {
    /// What was found to be sound, Arrow's own check finds so too, and it can be shown.
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.0 += batch.num_rows() as u64;
        for column in batch.columns() {
            column.to_data().validate_full().expect("sound");
        }
        assert!(!format!("{batch:?}").is_empty());
        Ok(())
    }

    fn bytes_written(&self) -> u64 {
        self.0
    }

    fn finish(self: Box<Self>) -> Result<FileInfo> {
        Ok(FileInfo { path: String::new(), rows: self.0, bytes: self.0, row_groups: 1 })
    }

    fn abort(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
