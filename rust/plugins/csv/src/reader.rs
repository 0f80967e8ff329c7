//! The reader plugin: options in, plans and streams out.

use std::sync::Arc;

use dativo_plugin::{
    BatchStream, Check, Discovery, Error, ReadContext, ReadPlan, ReadRequest, Reader, ReaderPlugin, Result,
    SourceConfig, Split, type_name,
};
use serde_json::{Map, Value, json};

use crate::charset::Charset;
use crate::input::Input;
use crate::options::CsvOptions;
use crate::plan::plan;
use crate::stream::{CsvStream, Payload};

const MIN_BLOCK_BYTES: usize = 64 << 10;
const MAX_BLOCK_BYTES: usize = 1 << 20;
/// For each column of a wide table a block has so much more: too few rows would not be worth what a column's array costs.
const COLUMN_BYTES: usize = 4 << 10;

/// The plugin `rust_csv`.
pub struct CsvReaderPlugin;

impl ReaderPlugin for CsvReaderPlugin {
    const NAME: &'static str = "rust_csv";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const CAPABILITIES: &'static [&'static str] = &["columns", "limit", "schema", "splits", "widen"];
    type Reader = CsvReader;

    fn options_schema() -> Value {
        CsvOptions::json_schema()
    }

    fn from_config(config: SourceConfig) -> Result<CsvReader> {
        let options = CsvOptions::from_json(&config.options)?;
        Charset::named(&options.encoding)?;
        let input = Input { options: Arc::new(options), storage: config.storage };
        Ok(CsvReader { files: config.files, input, split_bytes: None, block_bytes: None })
    }
}

/// CSV files, explicitly named.
pub struct CsvReader {
    files: Vec<String>,
    input: Input,
    /// Instead of what the size of the input suggests.
    split_bytes: Option<u64>,
    /// Instead of what the batch size suggests.
    block_bytes: Option<usize>,
}

impl CsvReader {
    /// The same reader with splits and blocks of a given size, however small: to test that size does not matter.
    pub fn with_sizes(mut self, split_bytes: u64, block_bytes: usize) -> Self {
        self.split_bytes = Some(split_bytes.max(1));
        self.block_bytes = Some(block_bytes.max(1));
        self
    }
}

impl Reader for CsvReader {
    fn plan(&self, request: &ReadRequest, context: &ReadContext) -> Result<ReadPlan> {
        plan(&self.files, &self.input, request, context, self.split_bytes)
    }

    fn read(&self, split: &Split, context: &ReadContext) -> Result<Box<dyn BatchStream>> {
        let payload: Payload = serde_json::from_value(split.payload.clone())
            .map_err(|error| Error::plugin(format!("split {}: {error}", split.id)))?;
        // Text is about as large as the batch that comes of it; the block, its fields and the batch are held at once.
        let block_bytes = self.block_bytes.unwrap_or_else(|| {
            let budget = context.batch_bytes.min(context.memory_bytes / 4);
            let wide = (payload.columns.len() * COLUMN_BYTES).min(budget / 2);
            (budget / 4).clamp(MIN_BLOCK_BYTES, MAX_BLOCK_BYTES).max(wide)
        });
        Ok(Box::new(CsvStream::new(self.input.clone(), payload, context.clone(), block_bytes)?))
    }

    fn check(&self) -> Result<Check> {
        let mut bytes = 0;
        for path in &self.files {
            bytes += self.input.storage.open(path)?.size();
        }
        let message = format!("{} files, {bytes} bytes", self.files.len());
        Ok(Check { success: true, message, error_code: None, details: Map::new() })
    }

    fn discover(&self) -> Result<Discovery> {
        let mut objects = Vec::with_capacity(self.files.len());
        for path in &self.files {
            let request = ReadRequest { limit: Some(1), ..ReadRequest::default() };
            let plan = plan(std::slice::from_ref(path), &self.input, &request, &ReadContext::default(), None)?;
            let columns: Vec<Value> = plan
                .schema
                .iter()
                .flat_map(|schema| schema.fields().iter().cloned())
                .map(|field| json!({"name": field.name(), "type": type_name(field.data_type())}))
                .collect();
            let bytes: u64 = plan.splits.iter().filter_map(|split| split.bytes).sum();
            objects.push(json!({"name": path, "type": "csv", "columns": columns, "bytes": bytes}));
        }
        Ok(Discovery { objects, metadata: Map::new() })
    }
}
